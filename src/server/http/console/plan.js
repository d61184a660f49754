// A plan as a picture: a box for each operator, its inputs below it, each source in a color of its own.

import { bytes, count, duration, element } from "/console/page.js";

/** Colors that the style sheet has. */
const COLORS = 6;

export function plan(text) {
  const [{ Plan: root, Sources: sources = [], "Execution Time": time }] = JSON.parse(text);
  const catalogs = [...new Set(all(root).map((node) => node.Catalog).filter(Boolean))];
  const color = (catalog) => `source-${catalogs.indexOf(catalog) % COLORS}`;
  return element(
    "div",
    { class: "plan" },
    time === undefined ? null : summary(sources, time, color),
    element("ul", { class: "operators", "aria-label": "Plan" }, node(root, color)),
  );
}

const all = (node) => [node, ...(node.Plans ?? []).flatMap(all)];

/** What each source sent. */
function summary(sources, time, color) {
  const most = Math.max(1, ...sources.map((source) => source["Actual Bytes"]));
  const lines = sources.map((source) => {
    const meter = element("meter", { min: 0, max: most, value: source["Actual Bytes"], "aria-label": "share of bytes" });
    return element(
      "tr",
      {},
      element("th", { scope: "row" }, element("span", { class: `badge ${color(source.Catalog)}` }, source.Catalog)),
      element("td", { class: "number" }, count(source["Actual Rows"])),
      element("td", { class: "number" }, bytes(source["Actual Bytes"])),
      element("td", {}, meter),
    );
  });
  const heads = ["source", "rows", "bytes", ""].map((text, at) =>
    element("th", { scope: "col", class: at === 1 || at === 2 ? "number" : null }, text),
  );
  return element(
    "table",
    { class: "sent" },
    element("caption", {}, `What each source sent, in ${duration(time)}`),
    element("thead", {}, element("tr", {}, ...heads)),
    element("tbody", {}, ...lines),
  );
}

function node(operator, color) {
  const below = operator.Plans ?? [];
  const catalog = operator.Catalog;
  const notes = [
    ["sends", operator.Request],
    ["does", operator.Detail],
    ["here because", operator.Local],
    ...(operator.Keys ?? []).map((keys) => ["keys", keys]),
    ...(operator["Awaited Keys"] ? [["keys, once known", operator["Awaited Keys"].join(", ")]] : []),
    ...(operator["Kept Local"] ?? []).map((kept) => [`${kept.What} here`, `${kept.Expression ?? ""} ${kept.Reason}`.trim()]),
  ].filter(([, text]) => text);
  const measured = [
    operator["Actual Rows"] === undefined ? null : `${count(operator["Actual Rows"])} rows`,
    operator["Actual Bytes"] === undefined ? null : bytes(operator["Actual Bytes"]),
    operator["Actual Total Time"] === undefined ? null : duration(operator["Actual Total Time"]),
    operator["Compute Time"] === undefined ? null : `${duration(operator["Compute Time"])} computing`,
  ].filter(Boolean);
  const box = element(
    "details",
    { class: `operator ${catalog ? color(catalog) : "here"}`, open: Boolean(catalog) },
    element(
      "summary",
      {},
      element("strong", {}, operator["Node Type"]),
      element("span", { class: "badge" }, catalog ?? "here"),
      measured.length > 0 ? element("span", { class: "measured" }, measured.join(", ")) : null,
    ),
    element("dl", {}, ...notes.flatMap(([term, text]) => [element("dt", {}, term), element("dd", {}, text)])),
  );
  return element("li", {}, box, below.length > 0 ? element("ul", {}, ...below.map((input) => node(input, color))) : null);
}
