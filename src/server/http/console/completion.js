// Words that may go on from what was typed: keywords, functions, and the names of the tree.

import { names } from "/console/catalogs.js";
import { element } from "/console/page.js";
import { identifier, parts, path, statementAt } from "/console/sql.js";

const OFFERS = 12;
const WORD = /(?:[\p{L}\p{N}_$]+|"(?:[^"]|"")*"?)(?:\.(?:[\p{L}\p{N}_$]+|"(?:[^"]|"")*"?)?)*$/u;

export class Completion {
  words = { keywords: [], functions: [] };
  found = [];
  chosen = 0;
  /** Whether Enter means the offer: it was asked for, or gone to. Otherwise it is the end of a line. */
  isMeant = false;
  asked = 0;

  constructor(editor, place) {
    this.editor = editor;
    this.list = element("ul", { id: "offers", role: "listbox", "aria-label": "Completions", hidden: true });
    place.append(this.list);
    editor.area.setAttribute("aria-controls", "offers");
    editor.area.setAttribute("aria-autocomplete", "list");
    editor.area.addEventListener("input", (event) => {
      if (event.inputType === "insertText" && /^[\p{L}_."]$/u.test(event.data ?? "")) this.open();
      else if (this.isOpen && event.inputType === "deleteContentBackward") this.open();
      else this.close();
    });
    editor.area.addEventListener("blur", () => this.close());
    editor.area.addEventListener("keydown", (event) => this.key(event));
  }

  get isOpen() {
    return !this.list.hidden;
  }

  key(event) {
    if (event.key === " " && event.ctrlKey) {
      event.preventDefault();
      this.isMeant = true;
      this.open();
      return;
    }
    if (!this.isOpen) return;
    const go = {
      ArrowDown: () => this.goTo((this.chosen + 1) % this.found.length),
      ArrowUp: () => this.goTo((this.chosen + this.found.length - 1) % this.found.length),
      Enter: this.isMeant && (() => this.accept()),
      Tab: () => this.accept(),
      Escape: () => this.close(),
    }[event.key];
    if (event.key === "ArrowLeft" || event.key === "ArrowRight") this.close();
    if (!go || event.ctrlKey) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    go();
  }

  async open() {
    const asked = ++this.asked;
    const { text, cursor } = this.editor;
    if (inText(text, cursor)) return this.close();
    const word = WORD.exec(text.slice(0, cursor))?.[0] ?? "";
    const found = await this.candidates(text, cursor, word).catch(() => []);
    if (asked !== this.asked || this.editor.cursor !== cursor) return;
    this.word = word;
    this.found = found.filter((offer) => offer.text !== word).slice(0, OFFERS);
    this.found.length > 0 ? this.show() : this.close();
  }

  async candidates(text, cursor, word) {
    const tables = await names.all().catch(() => []);
    const statement = statementAt(text, cursor);
    const sql = statement ? text.slice(statement.start, statement.end) : "";
    const columns = await columnsOf(sql, tables);
    const dot = lastDot(word);
    const [before, prefix] = dot < 0 ? ["", word] : [word.slice(0, dot), word.slice(dot + 1)];
    const offers = new Map();
    const add = (name, kind, whole = name) => {
      if (starts(name, prefix) && !offers.has(whole)) offers.set(whole, { text: whole, kind });
    };
    if (before) {
      for (const { qualifiers, name } of columns) {
        if (qualifiers.includes(before)) add(identifier(name), "column", `${before}.${identifier(name)}`);
      }
      for (const { catalog, schema, table } of tables) {
        if (path(catalog) === before) add(identifier(schema), "schema", path(catalog, schema));
        if (path(catalog, schema) === before) add(identifier(table), "table", path(catalog, schema, table));
      }
    } else {
      for (const { name } of columns) add(identifier(name), "column");
      for (const { catalog } of tables) add(identifier(catalog), "catalog");
      for (const { catalog, schema, table } of tables) add(identifier(table), "table", path(catalog, schema, table));
      if (word) {
        const isLower = /^[a-z]/.test(word);
        for (const keyword of this.words.keywords) add(isLower ? keyword.toLowerCase() : keyword, "keyword");
        for (const name of this.words.functions) add(name, "function", `${name}(`);
      }
    }
    return [...offers.values()];
  }

  show() {
    this.list.replaceChildren(
      ...this.found.map((offer, at) =>
        element(
          "li",
          {
            id: `offer-${at}`,
            role: "option",
            onmousedown: (event) => {
              event.preventDefault();
              this.choose(at);
              this.accept();
            },
          },
          element("span", {}, offer.text),
          element("span", { class: "kind" }, offer.kind),
        ),
      ),
    );
    const point = this.editor.pointOf(this.editor.cursor - this.word.length);
    this.list.style.left = `${Math.max(0, point.left)}px`;
    this.list.style.top = `${point.top}px`;
    this.list.hidden = false;
    this.choose(0);
  }

  goTo(at) {
    this.isMeant = true;
    this.choose(at);
  }

  choose(at) {
    this.chosen = at;
    [...this.list.children].forEach((item, place) => item.setAttribute("aria-selected", String(place === at)));
    this.list.children[at]?.scrollIntoView({ block: "nearest" });
    this.editor.area.setAttribute("aria-activedescendant", `offer-${at}`);
  }

  accept() {
    const offer = this.found[this.chosen];
    const end = this.editor.cursor;
    this.close();
    this.editor.replace(end - this.word.length, end, offer.text);
  }

  close() {
    this.asked += 1;
    this.isMeant = false;
    this.list.hidden = true;
    this.editor.area.removeAttribute("aria-activedescendant");
  }
}

const starts = (name, prefix) => name.slice(0, prefix.length).toLowerCase() === prefix.toLowerCase();

function lastDot(word) {
  let isQuoted = false;
  let dot = -1;
  [...word].forEach((letter, at) => {
    if (letter === '"') isQuoted = !isQuoted;
    else if (letter === "." && !isQuoted) dot = at;
  });
  return dot;
}

/** Whether a place is inside a comment or a text, where nothing is offered. */
function inText(text, place) {
  return parts(text).some(({ kind, start, end }) => ["comment", "text"].includes(kind) && start < place && place < end);
}

const AFTER_TABLE = new Set(
  "on where group order limit join left right inner outer full cross using natural union having set values as".split(" "),
);

/** The columns of the tables that a statement names, with what may stand before them. */
async function columnsOf(sql, tables) {
  const pieces = parts(sql).filter(({ kind }) => kind !== "space" && kind !== "comment");
  const texts = pieces.map(({ start, end }) => sql.slice(start, end));
  const named = [];
  for (let at = 0; at < pieces.length; at += 1) {
    if (!["word", "name"].includes(pieces[at].kind)) continue;
    let end = at;
    while (texts[end + 1] === "." && ["word", "name"].includes(pieces[end + 2]?.kind)) end += 2;
    const name = texts.slice(at, end + 1).join("");
    const meant = tables.find(({ catalog, schema, table }) =>
      [path(catalog, schema, table), path(catalog, table), path(schema, table), path(table)].includes(name),
    );
    if (meant) {
      const next = texts[end + 1]?.toLowerCase() === "as" ? end + 2 : end + 1;
      const alias = pieces[next]?.kind === "word" && !AFTER_TABLE.has(texts[next].toLowerCase()) ? texts[next] : null;
      named.push({ meant, qualifiers: [name, path(meant.table), alias].filter(Boolean) });
    }
    at = end;
  }
  const found = await Promise.all(
    named.map(async ({ meant, qualifiers }) => {
      const columns = await names.columnsOf(meant.catalog, meant.schema, meant.table).catch(() => []);
      return columns.map(({ column }) => ({ qualifiers, name: column }));
    }),
  );
  return found.flat();
}
