// A picture of rows: lines over time, bars by name, points where two numbers meet.

import { element, svg } from "/console/page.js";
import { isNumber, isTime } from "/console/grid.js";

const WIDTH = 900;
const HEIGHT = 340;
const MARGIN = { left: 70, right: 20, top: 15, bottom: 45 };
const POINTS = 2000;
const BARS = 60;

/** What the types of the columns call for; null if there is no number. */
export function suited(columns) {
  const numbers = columns.flatMap(({ type }, at) => (isNumber(type) ? [at] : []));
  if (numbers.length === 0) return null;
  const time = columns.findIndex(({ type }) => isTime(type));
  if (time >= 0) return { kind: "line", x: time, y: numbers[0] };
  const name = columns.findIndex(({ type }) => !isNumber(type));
  if (name >= 0) return { kind: "bar", x: name, y: numbers.at(-1) };
  if (numbers.length > 1) return { kind: "scatter", x: numbers[0], y: numbers[1] };
  return { kind: "bar", x: numbers[0], y: numbers[0] };
}

/** A chart with the choices above it. */
export function chart(columns, rows) {
  const choice = suited(columns);
  if (!choice) return element("p", { class: "none" }, "There is no column of numbers to draw.");
  const picture = element("div", { class: "picture" });
  const draw = () => picture.replaceChildren(drawn(columns, rows, choice));
  const pick = (label, key, options) => {
    const select = element("select", { "aria-label": label }, ...options.map(([value, text]) => element("option", { value }, text)));
    select.value = String(choice[key]);
    select.addEventListener("change", () => {
      choice[key] = key === "kind" ? select.value : Number(select.value);
      draw();
    });
    return element("label", {}, label, select);
  };
  const named = columns.map(({ name }, at) => [String(at), name]);
  const numbers = named.filter(([at]) => isNumber(columns[at].type));
  draw();
  return element(
    "div",
    { class: "chart" },
    element(
      "div",
      { class: "bar" },
      pick("Kind", "kind", [["line", "Line"], ["bar", "Bar"], ["scatter", "Scatter"]]),
      pick("Across", "x", named),
      pick("Up", "y", numbers),
    ),
    picture,
  );
}

function drawn(columns, rows, { kind, x, y }) {
  const limit = kind === "bar" ? BARS : POINTS;
  const points = rows.filter((row) => row[y] !== null && row[x] !== null).map((row) => ({ x: row[x], y: Number(row[y]) }));
  const shown = points.filter((point) => Number.isFinite(point.y)).slice(0, limit);
  if (shown.length === 0) return element("p", { class: "none" }, "There is nothing to draw.");
  const type = columns[x].type;
  const across = kind !== "bar" && (isNumber(type) || isTime(type)) ? measured(shown, type) : named(shown);
  const up = scale(shown.map((point) => point.y), kind !== "scatter");
  const toY = (value) => HEIGHT - MARGIN.bottom - up.part(value) * (HEIGHT - MARGIN.top - MARGIN.bottom);
  const marks = { line, bar, scatter }[kind](shown, across, toY, up);
  const title = `${columns[y].name} by ${columns[x].name}`;
  const left = shown.length < points.length ? `, the first ${shown.length} of ${points.length}` : "";
  return svg(
    "svg",
    { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": `${kind} chart of ${title}${left}`, "data-kind": kind },
    svg("title", {}, title + left),
    ...up.ticks.flatMap((tick) => [
      svg("line", { class: "rule", x1: MARGIN.left, x2: WIDTH - MARGIN.right, y1: toY(tick), y2: toY(tick) }),
      svg("text", { x: MARGIN.left - 8, y: toY(tick) + 4, "text-anchor": "end" }, short(tick)),
    ]),
    ...across.ticks.map(({ at, text }) => svg("text", { x: at, y: HEIGHT - MARGIN.bottom + 18, "text-anchor": "middle" }, text)),
    svg("text", { x: (WIDTH + MARGIN.left) / 2, y: HEIGHT - 6, "text-anchor": "middle", class: "axis" }, columns[x].name),
    ...marks,
  );
}

const inner = WIDTH - MARGIN.left - MARGIN.right;

function measured(points, type) {
  const value = isTime(type) ? (point) => Date.parse(point.x) : (point) => Number(point.x);
  const { part, ticks } = isTime(type) ? span(points.map(value)) : scale(points.map(value), false);
  const at = (number) => MARGIN.left + part(number) * inner;
  const text = isTime(type) ? (tick) => new Date(tick).toISOString().slice(0, 19).replace("T", " ").replace(/(?: 00:00)?:00$/, "") : short;
  return { of: (point) => at(value(point)), ticks: ticks.map((tick) => ({ at: at(tick), text: text(tick) })), sorts: value };
}

/** From the first to the last time, with a few whole seconds, hours or days between them. */
function span(times) {
  const [low, high] = [times.reduce((one, other) => Math.min(one, other)), times.reduce((one, other) => Math.max(one, other))];
  const length = high - low || 1;
  const step = STEPS.find((step) => length / step <= 6) ?? STEPS.at(-1) * Math.ceil(length / STEPS.at(-1) / 6);
  const first = Math.ceil(low / step);
  const ticks = Array.from({ length: Math.floor(high / step) - first + 1 }, (_, at) => (first + at) * step);
  return { ticks, part: (time) => (high === low ? 0.5 : (time - low) / length) };
}

const [SECOND, MINUTE, HOUR, DAY] = [1000, 60_000, 3_600_000, 86_400_000];
const STEPS = [
  ...[1, 5, 15, 30].map((count) => count * SECOND),
  ...[1, 5, 15, 30].map((count) => count * MINUTE),
  ...[1, 3, 6, 12].map((count) => count * HOUR),
  ...[1, 2, 7, 14, 30, 90, 180, 365].map((count) => count * DAY),
];

function named(points) {
  const width = inner / points.length;
  const of = (_, at) => MARGIN.left + (at + 0.5) * width;
  const each = Math.max(1, Math.ceil(points.length / 12));
  const ticks = points.flatMap((point, at) => (at % each ? [] : [{ at: of(point, at), text: cut(String(point.x)) }]));
  return { of, ticks, width };
}

function line(points, across, toY) {
  const sorted = across.sorts ? points.toSorted((one, other) => across.sorts(one) - across.sorts(other)) : points;
  const path = sorted.map((point, at) => `${at ? "L" : "M"}${across.of(point, at).toFixed(1)} ${toY(point.y).toFixed(1)}`);
  return [svg("path", { class: "line", d: path.join("") })];
}

function bar(points, across, toY, up) {
  const width = Math.max(1, across.width * 0.7);
  const zero = toY(Math.max(0, up.low));
  return points.map((point, at) => {
    const y = toY(point.y);
    const box = { x: across.of(point, at) - width / 2, y: Math.min(y, zero), width, height: Math.abs(zero - y) };
    return svg("rect", { class: "mark", ...box }, svg("title", {}, `${point.x}: ${point.y}`));
  });
}

function scatter(points, across, toY) {
  return points.map((point, at) =>
    svg("circle", { class: "mark", cx: across.of(point, at), cy: toY(point.y), r: 3.5 }, svg("title", {}, `${point.x}, ${point.y}`)),
  );
}

/** Round numbers around the values. */
function scale(values, withZero) {
  let low = values.reduce((least, value) => Math.min(least, value), withZero ? 0 : Infinity);
  let high = values.reduce((most, value) => Math.max(most, value), withZero ? 0 : -Infinity);
  if (low === high) [low, high] = [low - 1, high + 1];
  const rough = (high - low) / 5;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((step) => step >= rough);
  const first = Math.floor(low / step);
  const last = Math.ceil(high / step);
  const ticks = Array.from({ length: last - first + 1 }, (_, at) => (first + at) * step);
  [low, high] = [ticks[0], ticks.at(-1)];
  return { low, high, ticks, part: (value) => (value - low) / (high - low) };
}

function short(number) {
  return Math.abs(number) >= 10_000
    ? new Intl.NumberFormat("en", { notation: "compact" }).format(number)
    : String(Number(number.toPrecision(6)));
}

const cut = (text) => (text.length > 14 ? `${text.slice(0, 13)}…` : text);
