// A table of any length: only the rows that are seen are elements of the page.

import { asText, copy } from "/console/csv.js";
import { element, say } from "/console/page.js";

const ROW = 26;
const SPARE = 12;
/** Taller elements than this are cut off by browsers. */
const TALLEST = 15_000_000;
const SAMPLE = 200;
let made = 0;

export class Grid {
  /** Where the cursor stands, and where what is selected began. */
  cursor = { row: 0, column: 0 };
  anchor = { row: 0, column: 0 };
  /** The rows that the widths of the columns come from. */
  measured = -1;

  constructor(columns, rows) {
    this.number = ++made;
    this.columns = columns;
    this.rows = rows;
    this.isNumber = columns.map(({ type }) => isNumber(type));
    const heads = columns.map(({ name, type }, at) =>
      element("div", { role: "columnheader", class: this.isNumber[at] ? "number" : "", title: `${name}: ${type}` }, name),
    );
    this.head = element("div", { role: "row", class: "head", "aria-rowindex": "1" }, ...heads);
    this.body = element("div", { role: "rowgroup", class: "rows" });
    this.root = element(
      "div",
      { role: "grid", class: "grid", tabindex: "0", "aria-label": "Rows", "aria-colcount": columns.length },
      element("div", { role: "rowgroup" }, this.head),
      this.body,
    );
    this.root.addEventListener("scroll", () => this.paint());
    this.root.addEventListener("keydown", (event) => this.key(event));
    this.root.addEventListener("mousedown", (event) => this.click(event));
    this.root.addEventListener("copy", (event) => this.copied(event));
    new ResizeObserver(() => this.paint()).observe(this.root);
    this.grown();
  }

  /** There are more rows than there were. */
  grown() {
    if (this.measured < SAMPLE) this.measure();
    this.body.style.height = `${Math.min(this.rows.length * ROW, TALLEST)}px`;
    this.root.setAttribute("aria-rowcount", this.rows.length + 1);
    this.paint();
  }

  measure() {
    const sample = this.rows.slice(0, SAMPLE);
    this.measured = sample.length;
    const widths = this.columns.map(({ name }, at) => {
      const lengths = sample.map((row) => asText(row[at]).length);
      return Math.min(Math.max(name.length + 1, 4, ...lengths), 60);
    });
    const template = widths.map((width) => `calc(${width}ch + 1.25rem)`).join(" ");
    this.root.style.setProperty("--columns", template);
  }

  get seen() {
    return Math.ceil(this.root.clientHeight / ROW);
  }

  paint() {
    const first = Math.max(0, Math.floor(this.root.scrollTop / ROW) - SPARE);
    const last = Math.min(this.rows.length, first + this.seen + 2 * SPARE);
    const lines = [];
    for (let at = first; at < last; at += 1) lines.push(this.line(at));
    this.body.replaceChildren(...lines);
    if (this.rows.length > 0) this.root.setAttribute("aria-activedescendant", this.idOf(this.cursor));
  }

  idOf({ row, column }) {
    return `cell-${this.number}-${row}-${column}`;
  }

  line(at) {
    const cells = this.rows[at].map((value, column) => this.cell(value, at, column));
    const line = element("div", { role: "row", class: at % 2 ? "odd" : "even", "aria-rowindex": at + 2 }, ...cells);
    line.style.transform = `translateY(${at * ROW}px)`;
    return line;
  }

  cell(value, row, column) {
    const kinds = [this.isNumber[column] && "number", value === null && "null", this.isSelected(row, column) && "selected"];
    const text = value === null ? "NULL" : asText(value);
    return element(
      "div",
      {
        role: "gridcell",
        id: this.idOf({ row, column }),
        class: kinds.filter(Boolean).join(" "),
        "data-row": row,
        "data-column": column,
        title: text.length > 40 ? text.slice(0, 2000) : null,
        "aria-selected": String(this.isSelected(row, column)),
      },
      text.slice(0, 1000),
    );
  }

  get range() {
    const { cursor, anchor } = this;
    const between = (one, other) => [Math.min(one, other), Math.max(one, other)];
    return { rows: between(cursor.row, anchor.row), columns: between(cursor.column, anchor.column) };
  }

  isSelected(row, column) {
    const { rows, columns } = this.range;
    return rows[0] <= row && row <= rows[1] && columns[0] <= column && column <= columns[1];
  }

  click(event) {
    const cell = event.target.closest("[role=gridcell]");
    if (!cell) return;
    this.go({ row: Number(cell.dataset.row), column: Number(cell.dataset.column) }, event.shiftKey);
  }

  key(event) {
    const { row, column } = this.cursor;
    const end = { row: this.rows.length - 1, column: this.columns.length - 1 };
    const jump = event.ctrlKey || event.metaKey;
    const to = {
      ArrowDown: { row: jump ? end.row : row + 1, column },
      ArrowUp: { row: jump ? 0 : row - 1, column },
      ArrowRight: { row, column: jump ? end.column : column + 1 },
      ArrowLeft: { row, column: jump ? 0 : column - 1 },
      PageDown: { row: row + this.seen - 2, column },
      PageUp: { row: row - this.seen + 2, column },
      Home: { row: jump ? 0 : row, column: 0 },
      End: { row: jump ? end.row : row, column: end.column },
    }[event.key];
    if (to) {
      event.preventDefault();
      this.go(to, event.shiftKey);
    } else if (jump && event.key === "a") {
      event.preventDefault();
      this.anchor = { row: 0, column: 0 };
      this.go(end, true);
    }
  }

  go({ row, column }, extend) {
    const within = (value, length) => Math.min(Math.max(value, 0), Math.max(length - 1, 0));
    this.cursor = { row: within(row, this.rows.length), column: within(column, this.columns.length) };
    if (!extend) this.anchor = this.cursor;
    const top = this.cursor.row * ROW;
    const visible = this.root.clientHeight - 2 * ROW;
    if (top < this.root.scrollTop) this.root.scrollTop = top;
    else if (top > this.root.scrollTop + visible) this.root.scrollTop = top - visible;
    this.paint();
    document.getElementById(this.idOf(this.cursor))?.scrollIntoView({ block: "nearest", inline: "nearest" });
  }

  copied(event) {
    event.preventDefault();
    const { rows, columns } = this.range;
    const lines = this.rows.slice(rows[0], rows[1] + 1);
    const text = lines.map((row) => row.slice(columns[0], columns[1] + 1).map(asText).join("\t")).join("\n");
    event.clipboardData ? event.clipboardData.setData("text/plain", text) : copy(text);
    say("Copied");
  }
}

export function isNumber(type) {
  return /^(?:u?int\d+|float\d+|decimal\d+)/i.test(type);
}

export function isTime(type) {
  return /^(?:date|timestamp)/i.test(type);
}
