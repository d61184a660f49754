// Checks a server through node-postgres: `node.js ADDRESS`. NODE_PATH tells where the package is.

"use strict";

const assert = require("node:assert");
const pg = require("pg");

const url = `postgresql://ada@${process.argv[2]}/polder`;
// node-postgres gives dates and times as local ones unless it is told to leave them as they came.
for (const type of [1082, 1114, 1184]) pg.types.setTypeParser(type, (text) => text);

async function refused(code, run) {
  await assert.rejects(run, (error) => {
    assert.strictEqual(error.code, code, error.message);
    return true;
  });
}

async function types(client) {
  const { rows, fields } = await client.query(
    "SELECT true AS a, 1::int AS b, 9007199254740993 AS c, 0.25::double AS d, 1.50::decimal(10, 2) AS e, 'it''s' AS f, NULL AS g, " +
      "X'00ff' AS h, DATE '2024-02-29' AS i, TIMESTAMP '2024-02-29 01:02:03.5' AS j, TIMESTAMPTZ '2024-02-29T01:02:03+02' AS k, " +
      "make_array(1, 2) AS l",
  );
  const wanted = {
    a: true,
    b: 1,
    c: "9007199254740993",
    d: 0.25,
    e: "1.50",
    f: "it's",
    g: null,
    h: Buffer.from([0, 255]),
    i: "2024-02-29",
  };
  for (const [name, value] of Object.entries(wanted)) assert.deepStrictEqual(rows[0][name], value, name);
  assert.match(rows[0].j, /^2024-02-29 01:02:03\.5/);
  assert.match(rows[0].k, /^2024-02-28 23:02:03(\.0+)?\+00/);
  assert.strictEqual(rows[0].l.length, 2);
  assert.deepStrictEqual(fields.map((field) => field.name).join(""), "abcdefghijkl");
}

async function statements(client) {
  await client.query("CREATE TABLE node_orders (id BIGINT PRIMARY KEY, name TEXT, price DECIMAL(10, 2), at TIMESTAMPTZ, data BYTEA)");
  const values = [1, "one", "1.50", new Date("2024-02-29T01:02:03Z"), Buffer.from("abc")];
  const inserted = await client.query("INSERT INTO node_orders VALUES ($1, $2, $3, $4, $5), (2, NULL, 2, NULL, NULL)", values);
  assert.strictEqual(inserted.command, "INSERT");
  assert.strictEqual(inserted.rowCount, 2);
  for (let round = 0; round < 3; round++) {
    const text = "SELECT id, data FROM node_orders WHERE price < $1 AND name = $2";
    const { rows } = await client.query({ name: "by price", text, values: ["2.00", "one"] });
    assert.deepStrictEqual(rows, [{ id: "1", data: Buffer.from("abc") }]);
  }
  const several = await client.query("SELECT 1 AS a; SELECT 2 AS b");
  assert.deepStrictEqual(several.map((result) => Object.values(result.rows[0])[0]).map(Number), [1, 2]);
}

async function transactions(client) {
  await client.query("BEGIN");
  await client.query("DELETE FROM node_orders");
  await refused("42P01", () => client.query("SELECT * FROM nothing"));
  await refused("25P02", () => client.query("SELECT 1"));
  await client.query("ROLLBACK");
  const { rows } = await client.query("SELECT count(*) AS n FROM node_orders");
  assert.strictEqual(rows[0].n, "2");
  await refused("23505", () => client.query("INSERT INTO node_orders (id) VALUES ($1)", [1]));
  await refused("22012", () => client.query("SELECT $1::int / 0", [1]));
}

async function cancels() {
  const client = new pg.Client({ connectionString: url, statement_timeout: 500 });
  await client.connect();
  await refused("57014", () =>
    client.query("SELECT count(*) FROM generate_series(1, 1000000) a, generate_series(1, 1000000) b"),
  );
  await client.end();
}

async function pools() {
  const pool = new pg.Pool({ connectionString: url, max: 5 });
  const asked = Array.from({ length: 50 }, (_, number) => pool.query("SELECT $1::bigint AS n", [number]));
  const told = await Promise.all(asked);
  assert.deepStrictEqual(told.map(({ rows }) => Number(rows[0].n)), Array.from({ length: 50 }, (_, number) => number));
  await pool.end();
}

async function main() {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  await types(client);
  await statements(client);
  await transactions(client);
  await client.end();
  await cancels();
  await pools();
  console.log("done");
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
