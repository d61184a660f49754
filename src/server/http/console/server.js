// What the server is asked: statements, and documents of /v1. Nothing here touches the page.

import { authorization, logIn } from "/console/login.js";

const ROWS = "application/vnd.polder.rows+ndjson";

/** An error of the server, with its SQLSTATE, detail and hint. */
export class Problem extends Error {
  constructor(document) {
    super(document.title ?? "the server answered with an error");
    this.state = document.sqlstate;
    this.detail = document.detail;
    this.hint = document.hint;
  }
}

async function ask(path, options) {
  for (;;) {
    const sent = authorization();
    const headers = { ...options.headers, ...(sent && { Authorization: sent }) };
    let response;
    try {
      // Without credentials of the browser's own, a 401 is ours to answer, and no window of the browser's opens.
      response = await fetch(path, { ...options, headers, credentials: "omit", cache: "no-store" });
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new Problem({ title: "the server does not answer", detail: String(error.message ?? error) });
    }
    if (response.status === 401) {
      await logIn(response.headers.get("WWW-Authenticate") ?? "", sent);
      continue;
    }
    if (!response.ok) throw new Problem(await problem(response));
    return response;
  }
}

async function problem(response) {
  const text = await response.text();
  try {
    return JSON.parse(text);
  } catch {
    return { title: text.trim() || `the server answered with ${response.status}` };
  }
}

export async function get(path) {
  const response = await ask(path, { headers: { Accept: "application/json" } });
  return response.json();
}

/** Numbers that JavaScript would round stay as they were written. */
function exact(key, value, context) {
  return typeof value === "number" && context !== undefined && String(value) !== context.source ? context.source : value;
}

/** What a statement gives: a tag, or columns and rows that are read as they are asked for. */
export async function run(sql, signal) {
  const response = await ask("/v1/sql", {
    method: "POST",
    headers: { "Content-Type": "application/json", Accept: ROWS },
    body: JSON.stringify({ sql }),
    signal,
  });
  const position = response.headers.get("Polder-Position");
  if (!response.headers.get("Content-Type")?.startsWith(ROWS)) {
    return { tag: (await response.json()).tag, position };
  }
  const lines = new Lines(response.body.getReader());
  const columns = JSON.parse(await lines.next()).columns;
  return { columns, rows: new Rows(lines), position };
}

/** All rows of a small result, as objects. */
export async function table(sql, signal) {
  const { columns, rows } = await run(sql, signal);
  const found = await rows.all();
  return found.map((row) => Object.fromEntries(columns.map((column, at) => [column.name, row[at]])));
}

class Rows {
  /** What the server said behind the last row. */
  end = null;
  /** Why there is no such end; said once the rows before it are taken. */
  failure = null;

  constructor(lines) {
    this.lines = lines;
  }

  /** The next rows, not more than `most`; perhaps none, if `end` is told then. */
  async some(most = Infinity) {
    if (this.failure) throw this.failure;
    const rows = [];
    for (const line of await this.lines.some(most)) {
      const value = JSON.parse(line, exact);
      if (Array.isArray(value)) rows.push(value);
      else if (value.error) this.failure = new Problem(value.error);
      else if (value.end) this.end = value.end;
    }
    if (this.failure && rows.length === 0) throw this.failure;
    return rows;
  }

  /** Whether the last row was read. */
  async isOver() {
    if (!this.end && !this.failure && !(await this.lines.peek()).startsWith("[")) await this.some(1);
    return this.end !== null;
  }

  /** All that are left, of a result that is known to be small. */
  async all() {
    const rows = [];
    while (!this.end) rows.push(...(await this.some()));
    return rows;
  }
}

/** Whole lines of a body that comes in pieces. */
class Lines {
  decoder = new TextDecoder();
  rest = "";
  ready = [];

  constructor(reader) {
    this.reader = reader;
  }

  async peek() {
    while (this.ready.length === 0) this.ready = await this.read();
    return this.ready[0];
  }

  async next() {
    await this.peek();
    return this.ready.shift();
  }

  async some(most) {
    if (this.ready.length === 0) this.ready = await this.read();
    return this.ready.splice(0, most);
  }

  async read() {
    let piece;
    try {
      piece = await this.reader.read();
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw broken();
    }
    if (piece.done) throw broken();
    const lines = (this.rest + this.decoder.decode(piece.value, { stream: true })).split("\n");
    this.rest = lines.pop();
    return lines;
  }
}

function broken() {
  return new Problem({ title: "the answer was broken off", detail: "what came before is not the whole result" });
}
