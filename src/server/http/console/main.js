// The console: what the keys and buttons do, and what runs.

import { Catalogs } from "/console/catalogs.js";
import { Completion } from "/console/completion.js";
import { Datasets } from "/console/datasets.js";
import { Editor } from "/console/editor.js";
import { History, note } from "/console/history.js";
import { offerLogOut } from "/console/login.js";
import { byId, say } from "/console/page.js";
import { Results } from "/console/results.js";
import { get, run } from "/console/server.js";
import { placeOf, statementAt, statements } from "/console/sql.js";

const editor = new Editor(byId("editor"));
const completion = new Completion(editor, byId("editor"));
const catalogs = new Catalogs((name) => editor.insert(name));
const datasets = new Datasets();
const results = new Results();
new History(editor);

/** What ends that which runs; null while nothing does. */
let running = null;

/** Runs statements of the editor one after the other, until one fails. */
async function runAll(places, { prefix = "" } = {}) {
  if (places.length === 0) return say("There is no statement to run");
  running?.abort();
  const mine = new AbortController();
  running = mine;
  byId("cancel").disabled = false;
  editor.show(null);
  results.clear();
  say("Running");
  let outcome = "Done";
  for (const { start, end } of places) {
    const sql = editor.text.slice(start, end);
    if (!(await runOne(sql, start, prefix, mine.signal))) {
      outcome = mine.signal.aborted ? "Cancelled" : "Failed";
      break;
    }
  }
  if (running !== mine) return;
  running = null;
  byId("cancel").disabled = true;
  say(outcome);
}

async function runOne(sql, start, prefix, signal) {
  const part = results.add(prefix + sql);
  const entry = { sql, at: Date.now() };
  try {
    const outcome = await run(prefix + sql, signal);
    if (outcome.tag !== undefined) part.tag(outcome.tag);
    else if (prefix) part.plan((await outcome.rows.all())[0][0]);
    else await part.read(outcome, signal);
    if (!prefix) note({ ...entry, milliseconds: part.elapsed, rows: outcome.columns && part.rows.length });
    if (/^\s*(?:create|drop|alter)\b/i.test(sql)) catalogs.load();
    return true;
  } catch (error) {
    part.fail(error, signal.aborted);
    if (signal.aborted) return false;
    if (!prefix) note({ ...entry, milliseconds: part.elapsed, state: error.state ?? "an error" });
    const place = placeOf(error, prefix + sql);
    const shift = start - prefix.length;
    if (place && place.end > prefix.length) {
      editor.show({ start: Math.max(place.start + shift, start), end: place.end + shift });
    }
    editor.fault.textContent = error.message;
    return false;
  }
}

/** The selection's statements, or the one at the cursor. */
function chosen() {
  const { selection, text, cursor } = editor;
  if (!selection) return [statementAt(text, cursor)].filter(Boolean);
  const inside = statements(text.slice(selection.start, selection.end));
  return inside.map(({ start, end }) => ({ start: start + selection.start, end: end + selection.start }));
}

const runChosen = () => runAll(chosen());
const runEvery = () => runAll(statements(editor.text));
const explain = () => runAll(explainable(), { prefix: "EXPLAIN (FORMAT JSON) " });
const analyze = () => runAll(explainable(), { prefix: "EXPLAIN (ANALYZE, FORMAT JSON) " });
const cancel = () => running?.abort();

/** What is explained already is explained anew, as a picture. */
function explainable() {
  return chosen().map(({ start, end }) => {
    const head = /^explain\b\s*(?:\([^)]*\)|(?:analyze\b|verbose\b|format\s+\w+|\s)*)\s*/i.exec(editor.text.slice(start, end));
    return { start: start + (head ? head[0].length : 0), end };
  });
}

byId("run").addEventListener("click", runChosen);
byId("run-all").addEventListener("click", runEvery);
byId("explain").addEventListener("click", explain);
byId("analyze").addEventListener("click", analyze);
byId("cancel").addEventListener("click", cancel);

document.addEventListener("keydown", (event) => {
  if (byId("query-page").hidden || document.querySelector("dialog[open]")) return;
  const isControl = event.ctrlKey || event.metaKey;
  const key = event.key.toLowerCase();
  if (isControl && key === "enter") event.shiftKey ? runEvery() : runChosen();
  else if (isControl && key === "e") event.shiftKey ? analyze() : explain();
  else if (key === "escape" && running) cancel();
  else return;
  event.preventDefault();
});

function current(id, isCurrent) {
  if (isCurrent) byId(id).setAttribute("aria-current", "page");
  else byId(id).removeAttribute("aria-current");
}

function turn() {
  const isDatasets = location.hash === "#datasets";
  byId("query-page").hidden = isDatasets;
  datasets.show(isDatasets);
  current("to-query", !isDatasets);
  current("to-datasets", isDatasets);
  if (!isDatasets) editor.area.focus();
}

addEventListener("hashchange", turn);
turn();
offerLogOut();
catalogs.load();
get("/v1/words").then(
  (words) => {
    completion.words = words;
    editor.know(words);
  },
  (error) => say(error.message),
);
