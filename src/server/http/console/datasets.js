// Tables and topics: which are written first, which follow, and how far they are behind. Asked again while it is looked at.

import { byId, bytes, count, duration, element } from "/console/page.js";
import { table } from "/console/server.js";

const REFRESH = 2000;
const QUERY = "SELECT * FROM polder.system.datasets ORDER BY dataset";

export class Datasets {
  timer = null;

  constructor() {
    this.root = byId("datasets-page");
    this.lines = element("tbody");
    this.told = element("p", { role: "status", class: "told" });
    const heads = ["dataset", "kind", "state", "record", "inputs", "behind", "frontier", "size"];
    this.root.append(
      element(
        "main",
        {},
        element("h2", {}, "Datasets"),
        this.told,
        element(
          "table",
          { class: "datasets" },
          element("thead", {}, element("tr", {}, ...heads.map((head) => element("th", { scope: "col", class: ["behind", "size"].includes(head) ? "number" : null }, head)))),
          this.lines,
        ),
      ),
    );
  }

  show(isShown) {
    clearTimeout(this.timer);
    this.root.hidden = !isShown;
    if (isShown) this.refresh();
  }

  async refresh() {
    try {
      const rows = await table(QUERY);
      this.lines.replaceChildren(...rows.map(line));
      const stalled = rows.filter((row) => row.state === "stalled").length;
      const trouble = stalled ? `, ${stalled} stalled` : "";
      this.told.textContent = `${count(rows.length)} datasets${trouble}, as of ${new Date().toLocaleTimeString()}`;
    } catch (error) {
      this.told.textContent = `${error.message}; trying again`;
    }
    if (!this.root.hidden) this.timer = setTimeout(() => this.refresh(), REFRESH);
  }
}

function line(row) {
  const behind = row.lag_entries === null ? "" : `${count(Number(row.lag_entries))} entries, ${duration(Number(row.lag_ms))}`;
  const state = element("span", { class: `state ${row.state.replaceAll(" ", "-")}`, title: row.reason }, row.state);
  return element(
    "tr",
    {},
    element("th", { scope: "row" }, row.dataset),
    element("td", {}, row.kind),
    element("td", {}, state, row.reason ? element("small", {}, row.reason) : null),
    element("td", {}, row.record),
    element("td", {}, row.inputs ?? ""),
    element("td", { class: "number" }, row.lag_entries === "0" ? "nothing" : behind),
    element("td", { class: "code" }, row.frontier ?? ""),
    element("td", { class: "number" }, row.size_bytes === null ? "" : bytes(Number(row.size_bytes))),
  );
}
