// What statements gave: a part for each of them, with its rows, chart and plan, or what is wrong with it.

import { chart, suited } from "/console/chart.js";
import { copy, csv, download } from "/console/csv.js";
import { Grid } from "/console/grid.js";
import { button, byId, bytes, counted, duration, element, say } from "/console/page.js";
import { plan } from "/console/plan.js";

/** Rows that are read before the reader is asked whether there shall be more. */
const BOUND = 10_000;

export class Results {
  constructor() {
    this.root = byId("results");
  }

  clear() {
    this.root.replaceChildren();
  }

  /** A new part for a statement. */
  add(sql) {
    const part = new Result(sql);
    this.root.append(part.root);
    return part;
  }
}

class Result {
  rows = [];

  constructor(sql) {
    this.began = performance.now();
    this.told = element("p", { class: "told", role: "status" }, "running…");
    this.tabs = element("div", { class: "tabs", role: "tablist", "aria-label": "Views of the result" });
    this.panel = element("div", { class: "panel", role: "tabpanel" });
    const first = sql.split("\n")[0];
    const head = element("code", { class: "sql", title: sql }, first.length < sql.length ? `${first} …` : first);
    this.actions = element("div", { class: "actions" });
    this.root = element(
      "article",
      { class: "result" },
      element("div", { class: "bar" }, head, this.told),
      element("div", { class: "bar" }, this.tabs, this.actions),
      this.panel,
    );
  }

  get elapsed() {
    return performance.now() - this.began;
  }

  tag(text) {
    this.told.textContent = `${text}, ${duration(this.elapsed)}`;
  }

  plan(text) {
    this.told.textContent = duration(this.elapsed);
    this.tabs.append(this.tab("Plan", () => plan(text)));
    this.tabs.firstChild.click();
  }

  fail(error, isCancelled) {
    this.root.classList.add("failed");
    const kept = this.rows.length > 0 ? `, after ${counted(this.rows.length, "row")} that are not the whole` : "";
    this.told.textContent = isCancelled ? `cancelled after ${duration(this.elapsed)}${kept}` : `failed${kept}`;
    this.actions.querySelector(".more")?.remove();
    if (isCancelled) return;
    const { state, message, detail, hint } = error;
    const lines = [["detail", detail], ["hint", hint]].filter(([, text]) => text);
    this.panel.before(
      element(
        "div",
        { class: "problem", role: "alert" },
        element("p", {}, element("strong", {}, message), state ? element("code", { class: "state" }, state) : null),
        ...lines.map(([term, text]) => element("p", { class: term }, element("b", {}, `${term}: `), text)),
      ),
    );
  }

  /** Reads rows until the end, or until the bound and then as far as is asked for. */
  async read({ columns, rows }, signal) {
    this.columns = columns;
    this.grid = new Grid(columns, this.rows);
    this.tabs.append(this.tab("Rows", () => this.grid.root));
    if (suited(columns)) this.tabs.append(this.tab("Chart", () => chart(columns, this.rows)));
    this.tabs.firstChild.click();
    this.actions.append(
      button("Copy CSV", () => copy(csv(columns, this.rows)).then(() => say("Copied"))),
      button("Download CSV", () => download("polder.csv", csv(columns, this.rows))),
    );
    let bound = BOUND;
    while (!rows.end) {
      for (const row of await rows.some(bound - this.rows.length)) this.rows.push(row);
      this.grid.grown();
      if (this.rows.length === bound && !(await rows.isOver())) {
        await this.more(signal);
        bound += BOUND;
      } else {
        this.told.textContent = `${counted(this.rows.length, "row")}, ${duration(this.elapsed)}…`;
      }
    }
    this.finish(rows.end);
  }

  /** Resolves once more is wanted, and fails if it is cancelled. Until then the server waits with its rows. */
  more(signal) {
    this.told.textContent = `the first ${counted(this.rows.length, "row")}, ${duration(this.elapsed)}; there are more`;
    return new Promise((resolve, reject) => {
      signal.addEventListener("abort", () => reject(signal.reason), { once: true });
      const more = button("More", () => {
        more.remove();
        resolve();
      }, { class: "more primary" });
      this.actions.prepend(more);
    });
  }

  finish({ sources, notices }) {
    const sent = sources.map((source) => `${source.catalog} sent ${counted(source.rows, "row")} (${bytes(source.bytes)})`);
    const told = [counted(this.rows.length, "row"), duration(this.elapsed), ...sent].join(", ");
    this.told.textContent = told;
    notices.forEach((notice) => this.panel.before(element("p", { class: "notice" }, notice)));
    const selected = this.tabs.querySelector("[aria-selected=true]");
    if (selected?.textContent === "Chart") selected.click();
  }

  tab(name, make) {
    const tab = button(name, () => {
      for (const other of this.tabs.children) {
        other.setAttribute("aria-selected", String(other === tab));
        other.setAttribute("tabindex", other === tab ? "0" : "-1");
      }
      this.panel.setAttribute("aria-label", name);
      this.panel.replaceChildren(make());
      this.grid?.paint();
    }, { role: "tab" });
    tab.addEventListener("keydown", (event) => {
      const next = { ArrowRight: tab.nextSibling, ArrowLeft: tab.previousSibling }[event.key];
      if (!next) return;
      next.click();
      next.focus();
    });
    return tab;
  }
}
