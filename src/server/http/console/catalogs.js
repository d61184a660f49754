// The tree of catalogs, schemas, tables and columns, asked for as it is opened; and the names that completion offers.

import { byId, element } from "/console/page.js";
import { get, table } from "/console/server.js";
import { path } from "/console/sql.js";

const listing = (...names) => `/v1/catalogs/${names.map(encodeURIComponent).join("/")}`;

/** Names that were asked for once. */
class Names {
  tables = null;
  columns = new Map();

  /** Catalog, schema and table of everything. */
  all() {
    this.tables ??= table("SHOW TABLES")
      .then((rows) => rows.filter((row) => row.table !== null))
      .catch((error) => {
        this.tables = null;
        throw error;
      });
    return this.tables;
  }

  columnsOf(catalog, schema, name) {
    const key = path(catalog, schema, name);
    if (!this.columns.has(key)) {
      const asked = get(`${listing(catalog)}/schemas/${encodeURIComponent(schema)}/tables/${encodeURIComponent(name)}`);
      asked.catch(() => this.columns.delete(key));
      this.columns.set(key, asked);
    }
    return this.columns.get(key);
  }

  forget() {
    this.tables = null;
    this.columns.clear();
  }
}

export const names = new Names();

export class Catalogs {
  constructor(insert) {
    this.insert = insert;
    this.root = byId("catalogs");
    this.root.addEventListener("keydown", (event) => this.key(event));
    byId("reload").addEventListener("click", () => this.load());
  }

  async load() {
    names.forget();
    const open = new Set([...this.root.querySelectorAll("[aria-expanded=true]")].map((item) => item.dataset.path));
    try {
      const catalogs = await get("/v1/catalogs");
      this.root.replaceChildren(...catalogs.map((line) => this.catalog(line)));
    } catch (error) {
      this.root.replaceChildren(element("p", { class: "fault" }, error.message));
      return;
    }
    this.root.querySelector("[role=treeitem]")?.setAttribute("tabindex", "0");
    for (const item of this.root.querySelectorAll("[role=treeitem]")) {
      if (open.has(item.dataset.path)) await this.reopen(item, open);
    }
  }

  async reopen(item, open) {
    await this.expand(item);
    for (const below of item.querySelectorAll("[role=treeitem]")) {
      if (open.has(below.dataset.path)) await this.reopen(below, open);
    }
  }

  catalog({ catalog, connector }) {
    return this.item(catalog, connector ?? "built in", path(catalog), async () => {
      const schemas = await get(`${listing(catalog)}/schemas`);
      const tables = await get(`${listing(catalog)}/tables`);
      return schemas.map(({ schema }) =>
        this.item(schema, "schema", path(catalog, schema), async () =>
          tables.filter((line) => line.schema === schema && line.table !== null).map((line) => this.table(line)),
        ),
      );
    });
  }

  table({ catalog, schema, table: name, kind }) {
    const full = path(catalog, schema, name);
    const columns = async () => {
      const lines = await names.columnsOf(catalog, schema, name);
      return lines.map((line) => this.item(line.column, line.native_type ?? line.type, path(line.column), null, true));
    };
    return this.item(name, kind, full, columns, true);
  }

  /** `children` tells what is below; `inserts` says that a click writes the name. */
  item(name, kind, text, children, inserts = false) {
    const item = element("div", {
      role: "treeitem",
      tabindex: "-1",
      "aria-expanded": children ? "false" : null,
      "data-path": text,
    });
    item.children_ = children;
    const use = () => (inserts ? this.insert(text) : this.toggle(item));
    const twist = children
      ? element("span", { class: "twist", "aria-hidden": "true", onclick: () => this.toggle(item) })
      : element("span", { class: "leaf", "aria-hidden": "true" });
    item.use = use;
    item.append(
      element(
        "div",
        { class: "line" },
        twist,
        element("span", { class: "label", title: `${text} (${kind})`, onclick: use }, name),
        element("span", { class: "kind" }, kind),
      ),
    );
    return item;
  }

  toggle(item) {
    return item.getAttribute("aria-expanded") === "true" ? this.collapse(item) : this.expand(item);
  }

  async expand(item) {
    if (!item.children_ || item.getAttribute("aria-expanded") === "true") return;
    item.setAttribute("aria-expanded", "true");
    item.querySelector(":scope > [role=group]")?.remove();
    let below;
    try {
      below = await item.children_();
    } catch (error) {
      below = [element("p", { class: "fault", title: error.hint }, error.message)];
    }
    if (below.length === 0) below = [element("p", { class: "none" }, "nothing here")];
    item.querySelector(":scope > [role=group]")?.remove();
    item.append(element("div", { role: "group" }, ...below));
  }

  collapse(item) {
    item.setAttribute("aria-expanded", "false");
    item.querySelector(":scope > [role=group]")?.remove();
  }

  key(event) {
    const item = event.target.closest("[role=treeitem]");
    if (!item) return;
    const shown = [...this.root.querySelectorAll("[role=treeitem]")];
    const at = shown.indexOf(item);
    const isOpen = item.getAttribute("aria-expanded") === "true";
    const go = {
      ArrowDown: () => this.focus(shown[at + 1]),
      ArrowUp: () => this.focus(shown[at - 1]),
      Home: () => this.focus(shown[0]),
      End: () => this.focus(shown.at(-1)),
      ArrowRight: () => (isOpen ? this.focus(item.querySelector("[role=treeitem]")) : this.expand(item)),
      ArrowLeft: () => (isOpen ? this.collapse(item) : this.focus(item.parentElement.closest("[role=treeitem]"))),
      Enter: () => item.use(),
      " ": () => item.use(),
    }[event.key];
    if (!go) return;
    event.preventDefault();
    go();
  }

  focus(item) {
    if (!item) return;
    this.root.querySelectorAll("[tabindex='0']").forEach((other) => other.setAttribute("tabindex", "-1"));
    item.setAttribute("tabindex", "0");
    item.focus();
  }
}
