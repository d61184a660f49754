// The text of statements: what its parts are, and where one ends. As much of PostgreSQL's lexical rules as that takes.

const PARTS = [
  ["space", /\s+/y],
  ["comment", /--[^\n]*/y],
  ["text", /[eE]'(?:[^'\\]|\\[^]|'')*(?:'|$)/y],
  ["text", /'(?:[^']|'')*(?:'|$)/y],
  ["name", /"(?:[^"]|"")*(?:"|$)/y],
  ["parameter", /\$\d+/y],
  ["number", /\d+(?:\.\d*)?(?:[eE][+-]?\d+)?|\.\d+/y],
  ["word", /[\p{L}_][\p{L}\p{N}_$]*/uy],
  ["end", /;/y],
  ["sign", /[^]/y],
];

/** The parts of a text, in order: kind, start and end. */
export function parts(text) {
  const found = [];
  let at = 0;
  while (at < text.length) {
    const part = nested(text, at) ?? quoted(text, at) ?? plain(text, at);
    found.push(part);
    at = part.end;
  }
  return found;
}

function plain(text, start) {
  for (const [kind, pattern] of PARTS) {
    pattern.lastIndex = start;
    if (pattern.test(text)) return { kind, start, end: pattern.lastIndex };
  }
}

/** A comment in which others may be. */
function nested(text, start) {
  if (!text.startsWith("/*", start)) return null;
  let depth = 0;
  let at = start;
  do {
    if (text.startsWith("/*", at)) [depth, at] = [depth + 1, at + 2];
    else if (text.startsWith("*/", at)) [depth, at] = [depth - 1, at + 2];
    else at += 1;
  } while (depth > 0 && at < text.length);
  return { kind: "comment", start, end: Math.min(at, text.length) };
}

/** A text between dollars. */
function quoted(text, start) {
  const opening = /\$(?:[\p{L}_][\p{L}\p{N}_]*)?\$/uy;
  opening.lastIndex = start;
  const tag = opening.exec(text)?.[0];
  if (!tag) return null;
  const closing = text.indexOf(tag, start + tag.length);
  return { kind: "text", start, end: closing < 0 ? text.length : closing + tag.length };
}

/** The statements of a text, without their semicolons: start and end of each that says something. */
export function statements(text) {
  const found = [];
  let start = null;
  let end = 0;
  for (const part of parts(text)) {
    if (part.kind === "end") {
      if (start !== null) found.push({ start, end, semicolon: part.end });
      start = null;
    } else if (part.kind !== "space" && part.kind !== "comment") {
      start ??= part.start;
      end = part.end;
    }
  }
  if (start !== null) found.push({ start, end, semicolon: text.length });
  return found;
}

/** The statement at a place: the one around it, or else the one before it. */
export function statementAt(text, place) {
  const all = statements(text);
  return all.find((statement) => place <= statement.semicolon && place >= statement.start)
    ?? all.filter((statement) => statement.start <= place).at(-1)
    ?? all[0];
}

/** A name as it must be typed. */
export function identifier(name) {
  return /^[a-z_][a-z0-9_]*$/.test(name) ? name : `"${name.replaceAll('"', '""')}"`;
}

export const path = (...names) => names.map(identifier).join(".");

/** Where the server found fault: in the words of its detail, or at the name that its message has. */
export function placeOf(problem, sql) {
  const told = /at line (\d+), column (\d+)/.exec(problem.detail ?? "");
  if (told) {
    const lines = sql.split("\n");
    const before = lines.slice(0, told[1] - 1).reduce((length, line) => length + line.length + 1, 0);
    const start = Math.min(before + Number(told[2]) - 1, sql.length);
    const part = parts(sql).find((part) => part.start <= start && start < part.end);
    return part ? { start: part.start, end: part.end } : { start: Math.max(0, sql.length - 1), end: sql.length };
  }
  const said = `${problem.message} ${problem.detail ?? ""}`;
  for (const named of said.matchAll(/"((?:[^"]|"")+)"|'([^']+)'|\b(?:table|column|function|schema|catalog) ([\w.]+)/g)) {
    const name = (named[1] ?? named[2] ?? named[3]).split(".").at(-1).toLowerCase();
    const part = parts(sql).find(
      (part) => ["word", "name"].includes(part.kind) && sql.slice(part.start, part.end).replaceAll('"', "").toLowerCase() === name,
    );
    if (part) return { start: part.start, end: part.end };
  }
  return null;
}
