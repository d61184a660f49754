// A text area under which the same text stands in color: typing, selecting, undoing and speaking aloud stay the browser's.

import { isSecret } from "/console/history.js";
import { element } from "/console/page.js";
import { parts } from "/console/sql.js";

const DRAFT = "polder.draft";

export class Editor {
  keywords = new Set();
  functions = new Set();
  mark = null;

  constructor(place) {
    this.area = element("textarea", {
      "aria-label": "SQL",
      autocapitalize: "off",
      autocomplete: "off",
      autocorrect: "off",
      spellcheck: "false",
      wrap: "off",
    });
    this.colors = element("pre", { "aria-hidden": "true" });
    this.fault = element("p", { class: "sr-only", role: "alert" });
    place.append(this.colors, this.area, this.fault);
    this.area.value = localStorage.getItem(DRAFT) ?? "";
    this.area.addEventListener("input", () => {
      this.mark = null;
      if (!isSecret(this.text)) localStorage.setItem(DRAFT, this.text);
      this.paint();
    });
    this.area.addEventListener("scroll", () => {
      this.colors.scrollTop = this.area.scrollTop;
      this.colors.scrollLeft = this.area.scrollLeft;
    });
    this.paint();
  }

  get text() {
    return this.area.value;
  }

  get cursor() {
    return this.area.selectionStart;
  }

  /** What is selected; null if nothing is. */
  get selection() {
    const { selectionStart: start, selectionEnd: end } = this.area;
    return start === end ? null : { start, end };
  }

  know({ keywords, functions }) {
    this.keywords = new Set(keywords.map((word) => word.toLowerCase()));
    this.functions = new Set(functions);
    this.paint();
  }

  /** Puts a text in place of a range; the browser can undo it. */
  replace(start, end, text) {
    this.area.focus();
    this.area.setSelectionRange(start, end);
    if (!document.execCommand("insertText", false, text)) {
      this.area.setRangeText(text, start, end, "end");
      this.area.dispatchEvent(new Event("input"));
    }
  }

  insert(text) {
    const { start, end } = this.selection ?? { start: this.cursor, end: this.cursor };
    const before = this.text[start - 1];
    const space = before === undefined || /[\s.(,]/.test(before) ? "" : " ";
    this.replace(start, end, space + text);
  }

  /** Underlines where a statement is wrong, and goes there. */
  show(mark) {
    this.mark = mark;
    this.paint();
    if (mark) {
      this.area.focus();
      this.area.setSelectionRange(mark.start, mark.start);
    }
  }

  paint() {
    const { text, mark } = this;
    const made = [];
    const add = (kind, start, end) => {
      if (start < end) made.push(element("span", { class: kind }, text.slice(start, end)));
    };
    for (const { kind, start, end } of parts(text)) {
      const shown = kind === "word" ? this.kindOf(text.slice(start, end).toLowerCase()) : kind;
      if (!mark || mark.end <= start || end <= mark.start) {
        add(shown, start, end);
        continue;
      }
      add(shown, start, Math.max(start, mark.start));
      add(`${shown} fault`, Math.max(start, mark.start), Math.min(end, mark.end));
      add(shown, Math.min(end, mark.end), end);
    }
    // The last line has its height although nothing is on it.
    this.colors.replaceChildren(...made, "\n");
  }

  kindOf(word) {
    if (this.keywords.has(word)) return "keyword";
    return this.functions.has(word) ? "function" : "word";
  }

  /** Where a place of the text stands, in pixels from the corner of the editor. */
  pointOf(place) {
    const before = this.text.slice(0, place).split("\n");
    const style = getComputedStyle(this.area);
    const line = parseFloat(style.lineHeight);
    const probe = element("span", { class: "probe" }, before.at(-1));
    this.colors.append(probe);
    const width = probe.getBoundingClientRect().width;
    probe.remove();
    return {
      left: parseFloat(style.paddingLeft) + width - this.area.scrollLeft,
      top: parseFloat(style.paddingTop) + before.length * line - this.area.scrollTop,
    };
  }
}
