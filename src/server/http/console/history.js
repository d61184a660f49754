// Statements that were run in this browser, newest first.

import { byId, button, count, duration, element } from "/console/page.js";

const KEY = "polder.history";
const KEPT = 200;

export function past() {
  try {
    const kept = JSON.parse(localStorage.getItem(KEY) ?? "[]");
    return Array.isArray(kept) ? kept : [];
  } catch {
    return [];
  }
}

/** A statement that holds a password is not for a browser to keep. */
export function isSecret(sql) {
  const named = /(?:password|secret|token)\w*\s*=\s*'(?!env:|file:)/i;
  const inAddress = /:\/\/[^/\s']*:[^/\s']*@/;
  return named.test(sql) || inAddress.test(sql);
}

export function note(entry) {
  if (isSecret(entry.sql)) return;
  const others = past().filter((other) => other.sql !== entry.sql);
  localStorage.setItem(KEY, JSON.stringify([entry, ...others].slice(0, KEPT)));
}

export class History {
  at = -1;

  constructor(editor) {
    this.editor = editor;
    this.dialog = byId("past");
    byId("history").addEventListener("click", () => this.open());
    editor.area.addEventListener("keydown", (event) => {
      if (!event.altKey || !["ArrowUp", "ArrowDown"].includes(event.key)) return;
      event.preventDefault();
      this.step(event.key === "ArrowUp" ? 1 : -1);
    });
  }

  /** Steps through what was run, in place of the whole text. */
  step(by) {
    const entries = past();
    this.at = Math.min(Math.max(this.at + by, 0), entries.length - 1);
    if (entries[this.at]) this.editor.replace(0, this.editor.text.length, entries[this.at].sql);
  }

  open() {
    const entries = past();
    const list = element("ul", { class: "past" });
    const show = (wanted) => {
      const found = entries.filter(({ sql }) => sql.toLowerCase().includes(wanted.toLowerCase()));
      list.replaceChildren(...found.map((entry) => this.line(entry)));
      if (found.length === 0) list.append(element("li", { class: "none" }, "nothing"));
    };
    const search = element("input", { type: "search", "aria-label": "Search", placeholder: "Search" });
    search.addEventListener("input", () => show(search.value));
    const forget = () => {
      localStorage.removeItem(KEY);
      this.dialog.close();
    };
    this.dialog.replaceChildren(
      element("h2", { id: "past-title" }, "History"),
      search,
      list,
      element("p", { class: "bar" }, button("Close", () => this.dialog.close()), button("Forget all", forget)),
    );
    show("");
    this.dialog.showModal();
    search.focus();
  }

  line({ sql, at, milliseconds, rows, state }) {
    const outcome = state ? `failed with ${state}` : rows === undefined ? "" : `${count(rows)} rows`;
    const told = [new Date(at).toLocaleString(), duration(milliseconds), outcome].filter(Boolean).join(", ");
    const use = () => {
      this.dialog.close();
      this.editor.replace(0, this.editor.text.length, sql);
    };
    return element("li", {}, button(sql, use, { class: "statement" }), element("small", {}, told));
  }
}
