"""Uses the console as a person would, in headless Chromium: `console.py ADDRESS PART [ARGUMENT]...`."""

import json
import os
import re
import sys
import time
from pathlib import Path

import psycopg
from PIL import Image, ImageChops, ImageStat
from playwright.sync_api import expect, sync_playwright

address, part, arguments = sys.argv[1], sys.argv[2], sys.argv[3:]
ORIGIN = f"http://{address}"
JOIN = """SELECT c.country, count(*) AS orders, sum(o.amount) AS revenue
FROM shop.public.customers c
JOIN lake.public.orders o ON o.customer_id = c.id
WHERE o.ordered_at >= DATE '2024-01-01'
GROUP BY c.country
ORDER BY revenue DESC"""
# Computes for hours and never gives way.
LONG = "SELECT count(*) FROM range(1000000) a, range(1000000) b WHERE a.value + b.value < 0"
SIZE = {"width": 1280, "height": 860}
TALL = {"width": 1280, "height": 1040}

expect.set_options(timeout=30_000)


class Console:
    """A page of the console; what a browser should never see is kept."""

    def __init__(self, browser, allowed=(), **options):
        self.context = browser.new_context(**{"viewport": SIZE, **options})
        self.context.grant_permissions(["clipboard-read", "clipboard-write"], origin=ORIGIN)
        self.page = self.context.new_page()
        self.wrong, self.requests, self.allowed = [], [], allowed
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("pageerror", lambda error: self.wrong.append(str(error)))
        self.page.on("console", lambda told: self.wrong.append(told.text) if told.type in ("error", "warning") else None)

    def open(self):
        answer = self.page.goto(f"{ORIGIN}/")
        assert "default-src 'self'" in answer.headers["content-security-policy"], answer.headers
        assert "unsafe" not in answer.headers["content-security-policy"], answer.headers
        self.editor = self.page.get_by_label("SQL", exact=True)
        expect(self.page.get_by_role("treeitem").first).to_be_visible()
        return self

    def type(self, sql):
        self.editor.fill("")
        self.page.keyboard.type(sql)
        self.page.keyboard.press("Escape")

    def run(self, sql, key="Control+Enter"):
        self.editor.fill(sql)
        self.page.keyboard.press(key)
        expect(self.page.locator("#status")).to_have_text(re.compile("Done|Failed"))

    def rows(self):
        lines = self.page.locator("[role=grid] .rows [role=row]").all()
        return [[cell.inner_text() for cell in line.get_by_role("gridcell").all()] for line in lines]

    def close(self):
        elsewhere = [url for url in self.requests if not url.startswith((f"{ORIGIN}/", "blob:"))]
        assert len(self.requests) > 10 and not elsewhere, elsewhere
        wrong = [text for text in self.wrong if not any(re.search(allowed, text) for allowed in self.allowed)]
        assert not wrong, wrong
        self.context.close()


def query(browser):
    """A join over two stores: typed, completed, run, drawn, explained."""
    console = Console(browser).open()
    page = console.page
    # What is typed is completed: a catalog, a schema, a table, and a column behind an alias.
    console.editor.fill("")
    page.keyboard.type("SELECT * FROM sho")
    offers = page.get_by_role("listbox", name="Completions")
    expect(offers.get_by_role("option").first).to_contain_text("shop")
    page.keyboard.press("Tab")
    page.keyboard.type(".pub")
    expect(offers.get_by_role("option").first).to_contain_text("shop.public")
    page.keyboard.press("Tab")
    page.keyboard.type(".cu")
    expect(offers.get_by_role("option").first).to_contain_text("shop.public.customers")
    page.keyboard.press("Tab")
    page.keyboard.type(" c WHERE c.cou")
    expect(offers.get_by_role("option").first).to_contain_text("c.country")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    assert console.editor.input_value() == "SELECT * FROM shop.public.customers c WHERE c.country"
    page.keyboard.type(" = 'NL' AND c.name = uppe")
    expect(offers.get_by_role("option").first).to_contain_text("upper(")
    page.keyboard.press("Escape")
    expect(offers).to_be_hidden()
    # The keys of the editor's own still undo.
    page.keyboard.press("Control+z")

    console.type(JOIN)
    page.keyboard.press("Control+Enter")
    told = page.locator(".result .told")
    expect(told).to_contain_text("shop sent 3 rows")
    expect(told).to_contain_text("lake sent")
    heads = page.get_by_role("columnheader").all_inner_texts()
    assert heads == ["country", "orders", "revenue"], heads
    assert console.rows() == [["FR", "1", "310.0"], ["NL", "2", "140.5"]], console.rows()
    assert page.locator("pre .keyword").first.inner_text() == "SELECT"

    # Cells are walked over and copied; all is copied and downloaded as CSV.
    page.get_by_role("grid").focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Shift+End")
    page.keyboard.press("Control+c")
    assert page.evaluate("navigator.clipboard.readText()") == "NL\t2\t140.5"
    page.get_by_role("button", name="Copy CSV").click()
    csv = "country,orders,revenue\nFR,1,310.0\nNL,2,140.5\n"
    assert page.evaluate("navigator.clipboard.readText()") == csv
    with page.expect_download() as download:
        page.get_by_role("button", name="Download CSV").click()
    assert Path(download.value.path()).read_text() == csv

    # The chart follows from the types: names and numbers are bars, times are lines, numbers alone are points.
    page.get_by_role("tab", name="Chart").click()
    expect(page.locator(".picture svg")).to_have_attribute("data-kind", "bar")
    heights = [float(bar.get_attribute("height")) for bar in page.locator(".picture rect").all()]
    assert len(heights) == 2 and abs(heights[0] / heights[1] - 310 / 140.5) < 0.01, heights
    page.get_by_label("Kind", exact=True).select_option("line")
    expect(page.locator(".picture path.line")).to_have_count(1)
    console.run("SELECT ordered_at, amount FROM lake.public.orders ORDER BY ordered_at")
    page.get_by_role("tab", name="Chart").click()
    expect(page.locator(".picture svg")).to_have_attribute("data-kind", "line")
    console.run("SELECT value AS a, value * value AS b FROM range(50)")
    page.get_by_role("tab", name="Chart").click()
    expect(page.locator(".picture svg circle")).to_have_count(50)

    # The plan: what each source is asked, and, once it ran, what it sent.
    console.run(JOIN, "Control+e")
    operators = page.locator(".operator")
    assert "Scan" in operators.last.inner_text(), operators.all_inner_texts()
    sends = " ".join(page.locator(".operator dd").all_inner_texts())
    assert 'FROM "public"."customers"' in sends, sends
    expect(page.locator(".sent")).to_have_count(0)
    console.run(JOIN, "Control+Shift+e")
    sent = page.locator(".sent tbody tr").all_inner_texts()
    assert sorted(line.split()[:2] for line in sent) == [["lake", "4"], ["shop", "3"]], sent
    join = page.locator(".operator", has_text="HashJoin")
    join.locator("summary").click()
    expect(join.get_by_text("its rows come from lake and shop")).to_be_visible()
    # A statement that explains is drawn, too.
    console.run(f"EXPLAIN ANALYZE {JOIN}", "Control+e")
    expect(page.locator(".sent")).to_have_count(0)
    assert page.locator(".operator").count() > 3
    console.close()


def tree(browser):
    """Catalogs, schemas, tables and columns, by mouse and by keys."""
    console = Console(browser, allowed=["status of 503"]).open()
    page = console.page
    console.editor.fill("SELECT * FROM ")
    catalogs = page.get_by_role("tree")
    shop = catalogs.locator("[data-path=shop]")
    shop.locator(".label").first.click()
    schema = catalogs.locator("[data-path='shop.public']")
    schema.locator(".label").first.click()
    table = catalogs.locator("[data-path='shop.public.customers']")
    table.locator(".label").first.click()
    assert console.editor.input_value() == "SELECT * FROM shop.public.customers"
    table.locator(".twist").first.click()
    columns = table.get_by_role("treeitem")
    expect(columns).to_have_count(3)
    assert [column.locator(".label").inner_text() for column in columns.all()] == ["id", "name", "country"]
    # From the keyboard alone: up to its catalog, and closed.
    table.focus()
    for key in ["ArrowLeft", "ArrowLeft", "ArrowLeft", "ArrowLeft", "ArrowLeft"]:
        page.keyboard.press(key)
    expect(shop).to_have_attribute("aria-expanded", "false")
    assert page.evaluate("document.activeElement.dataset.path") == "shop"
    page.keyboard.press("ArrowRight")
    expect(shop).to_have_attribute("aria-expanded", "true")
    # A source that is down says so at its place, and the others are there.
    catalogs.locator("[data-path=down] .label").first.click()
    expect(catalogs.locator("[data-path=down] .fault")).to_contain_text("down")
    # What is created is there.
    console.run("CREATE TABLE made_here (id BIGINT PRIMARY KEY, \"Odd Name\" TEXT)")
    catalogs.locator("[data-path=polder] .label").first.click()
    catalogs.locator("[data-path='polder.public'] .label").first.click()
    made = catalogs.locator("[data-path='polder.public.made_here']")
    made.locator(".twist").first.click()
    console.editor.fill("SELECT ")
    made.locator(".label", has_text="Odd Name").click()
    assert console.editor.input_value() == 'SELECT "Odd Name"'
    console.close()


def errors(browser):
    """What is wrong is said with its state and hint, and marked where it stands."""
    console = Console(browser, allowed=["status of 400"]).open()
    page = console.page
    marked = lambda: "".join(page.locator("pre .fault").all_inner_texts())
    console.run("SELECT 1;\n\nSELECT id,\n  title FROM shop.public.customers")
    expect(page.locator(".problem .state")).to_have_text("42703")
    assert marked() == "title", marked()
    at = console.editor.evaluate("area => area.value.slice(area.selectionStart)")
    assert at.startswith("title FROM"), at
    console.run("SELECT (1\n  FROM shop.public.customers")
    expect(page.locator(".problem .state")).to_have_text("42601")
    assert marked() == "FROM", marked()
    console.run("SELECT * FROM shop.public.customer")
    expect(page.locator(".problem .state")).to_have_text("42P01")
    expect(page.locator(".problem .hint")).to_contain_text("customers")
    assert marked() == "customer", marked()
    # Typing on takes the mark away.
    page.keyboard.press("End")
    page.keyboard.type("s")
    expect(page.locator("pre .fault")).to_have_count(0)
    # Of several statements, those before the fault have their rows, and those behind it are not run.
    console.run("SELECT 1 AS a; SELECT * FROM nowhere; SELECT 2 AS b", "Control+Shift+Enter")
    expect(page.locator(".result")).to_have_count(2)
    expect(page.locator(".result").first.get_by_role("gridcell")).to_have_text(["1"])
    expect(page.locator("#status")).to_have_text("Failed")
    # What fails behind the first rows: they are shown as what they are.
    console.editor.fill("SELECT 1 / (value - 99999) AS n FROM range(200000)")
    page.keyboard.press("Control+Enter")
    more, problem = page.get_by_role("button", name="More"), page.locator(".problem .state")
    while expect(more.or_(problem)).to_be_visible() or more.is_visible():
        more.click()
    expect(problem).to_have_text("22012")
    expect(page.locator(".result .told")).to_contain_text("that are not the whole")
    # What a session would need is refused with what to do instead.
    console.run("SET pushdown = off")
    expect(page.locator(".problem .hint")).to_contain_text("headers")
    # Only what is selected runs.
    console.editor.fill("SELECT 1 AS a, 2 AS b")
    console.editor.evaluate("area => area.setSelectionRange(0, 13)")
    page.keyboard.press("Control+Enter")
    expect(page.get_by_role("columnheader")).to_have_text(["a"])
    console.close()


def statements(browser):
    """A text is cut into statements where the server would cut it, and names are typed as SQL reads them."""
    console = Console(browser, allowed=["status of 40"]).open()
    call = lambda name, *given: console.page.evaluate(
        "([name, given]) => import('/console/sql.js').then((module) => module[name](...given))", [name, list(given)]
    )
    cases = {
        "SELECT 1; SELECT 2": ["SELECT 1", "SELECT 2"],
        " ; ;\n-- nothing; here\n/* nor /* here; */ ; */": [],
        "SELECT ';', E'\\';', \";\" -- ;\n, 1;SELECT 2": ["SELECT ';', E'\\';', \";\" -- ;\n, 1", "SELECT 2"],
        "CREATE PROCEDURE p() AS $$ UPDATE t SET a = 1; $$; CALL p()": [
            "CREATE PROCEDURE p() AS $$ UPDATE t SET a = 1; $$",
            "CALL p()",
        ],
        "SELECT $a$;$$;$a$, $1; x": ["SELECT $a$;$$;$a$, $1", "x"],
        "SELECT 'open; text": ["SELECT 'open; text"],
    }
    for text, wanted in cases.items():
        found = [text[place["start"] : place["end"]] for place in call("statements", text)]
        assert found == wanted, (text, found)
        parts = call("parts", text)
        assert "".join(text[part["start"] : part["end"]] for part in parts) == text, text
    assert call("path", "shop", "Odd \"Name\"", "a_1") == 'shop."Odd ""Name""".a_1'
    secret = lambda sql: console.page.evaluate(
        "(sql) => import('/console/history.js').then((module) => module.isSecret(sql))", sql
    )
    assert secret("CREATE CATALOG a USING postgres WITH (password = 'hunter2')")
    assert secret("CREATE CATALOG a USING postgres WITH (url = 'postgres://ada:hunter2@db/shop')")
    assert not secret("CREATE CATALOG a USING postgres WITH (url = 'postgres://ada@db/shop', password = 'env:SHOP')")
    console.close()


def hostile(browser):
    """Texts of users are texts, in every place where they are shown."""
    console = Console(browser, allowed=["status of 400"]).open()
    page = console.page
    bad = "<img src=x onerror=alert(1)>"
    console.run(f"""SELECT '{bad}' AS "{bad}", 1 AS n""")
    assert console.rows() == [[bad, "1"]], console.rows()
    page.get_by_role("tab", name="Chart").click()
    console.run(f"""SELECT * FROM "{bad}" """)
    expect(page.locator(".problem strong")).to_contain_text(bad)
    console.run(f"SELECT '{bad}' AS a", "Control+Shift+e")
    console.editor.fill(f"-- {bad}")
    assert page.locator("img[src=x]").count() == 0
    # Numbers keep every digit, and what is nothing is told from what is empty.
    console.run("SELECT 9223372036854775807 AS a, 12.50 AS b, 0.1 + 0.2 AS c, NULL AS d, '' AS e, [1, 2] AS f")
    assert console.rows() == [["9223372036854775807", "12.50", "0.3", "NULL", "", "[1,2]"]], console.rows()
    # Two columns of one name are two columns.
    console.run("SELECT a.value, b.value FROM range(1) a, range(1) b")
    expect(page.get_by_role("columnheader")).to_have_text(["value", "value"])
    console.close()


def cancel(browser):
    """What runs long is ended, here and at the source."""
    [url] = arguments
    console = Console(browser).open()
    page = console.page
    sleeps = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%pg_sleep(600)%' AND pid <> pg_backend_pid()"

    def wait_for(wanted):
        with psycopg.connect(url, autocommit=True) as postgres:
            until = time.monotonic() + 60
            while (count := postgres.execute(sleeps).fetchone()[0]) != wanted:
                assert time.monotonic() < until, count
                time.sleep(0.05)

    console.editor.fill("SELECT * FROM query('shop', 'SELECT pg_sleep(600)')")
    page.keyboard.press("Control+Enter")
    wait_for(1)
    page.get_by_role("button", name="Cancel").click()
    expect(page.locator("#status")).to_have_text("Cancelled")
    wait_for(0)
    # What only computes, by the keyboard; the next statement runs.
    console.editor.fill(LONG)
    page.keyboard.press("Control+Enter")
    expect(page.locator("#status")).to_have_text("Running")
    page.keyboard.press("Escape")
    expect(page.locator("#status")).to_have_text("Cancelled")
    expect(page.locator(".result .told")).to_contain_text("cancelled")
    console.run("SELECT 1 AS n")
    assert console.rows() == [["1"]]
    # A large result is read up to a bound, and further when it is asked for; few of its rows are elements of the page.
    console.editor.fill("SELECT value FROM range(100000000)")
    page.keyboard.press("Control+Enter")
    told = page.locator(".result .told")
    expect(told).to_contain_text("there are more")
    first = int(re.search(r"the first ([\d,]+) rows", told.inner_text())[1].replace(",", ""))
    assert first == 10_000, first
    page.get_by_role("button", name="More").click()
    expect(told).to_contain_text("the first 20,000 rows")
    grid = page.get_by_role("grid")
    assert page.locator("[role=grid] .rows [role=row]").count() < 200
    grid.focus()
    page.keyboard.press("Control+End")
    count = int(grid.get_attribute("aria-rowcount")) - 1
    assert count == 20_000, count
    expect(page.locator("[role=gridcell].selected")).to_have_text(str(count - 1))
    page.get_by_role("button", name="Cancel").click()
    expect(told).to_contain_text("cancelled")
    # One that ends at the bound is whole.
    console.run("SELECT value FROM range(10000)")
    expect(told).to_contain_text("10,000 rows")
    expect(told).not_to_contain_text("more")
    console.close()


def datasets(browser):
    """What follows the log, how far it is, and that it is asked again."""
    console = Console(browser).open()
    page = console.page
    page.get_by_role("link", name="Datasets").click()
    lines = page.locator(".datasets tbody tr")
    notes = lines.filter(has_text="docs.public.notes")
    expect(notes).to_contain_text("derived")
    expect(notes.locator(".state")).to_have_text("current")
    expect(lines.filter(has_text="polder.public.accounts")).to_contain_text("system of record")
    page.request.post(
        f"{ORIGIN}/v1/sql",
        headers={"Content-Type": "application/json"},
        data=json.dumps({"sql": "CREATE TABLE appears (id BIGINT PRIMARY KEY)"}),
    )
    expect(lines.filter(has_text="polder.public.appears")).to_have_count(1)
    page.get_by_role("link", name="Query").click()
    expect(console.editor).to_be_focused()
    # What was run is kept in this browser, without passwords; and so is what was typed.
    console.run("SELECT 41 + 1 AS answer")
    console.run("DROP TABLE appears")
    page.get_by_role("button", name="History").click()
    past = page.locator(".past .statement")
    expect(past).to_have_text(["DROP TABLE appears", "SELECT 41 + 1 AS answer"])
    page.get_by_label("Search").fill("answer")
    past.click()
    assert console.editor.input_value() == "SELECT 41 + 1 AS answer"
    page.reload()
    expect(console.editor).to_have_value("SELECT 41 + 1 AS answer")
    page.keyboard.press("Alt+ArrowUp")
    expect(console.editor).to_have_value("DROP TABLE appears")
    console.close()


def login(browser):
    """A server that asks for a login gets one, from this tab alone."""
    console = Console(browser, allowed=["status of 401"])
    seen = []

    def guard(route):
        sent = route.request.headers.get("authorization")
        seen.append(sent)
        if sent in ("Basic YWRhOmPDtnJyZWN0", "Bearer token-of-ada"):
            return route.continue_()
        problem = {"type": "about:blank", "title": "log in", "status": 401, "sqlstate": "28000"}
        headers = {"WWW-Authenticate": 'Basic realm="polder", Bearer', "Content-Type": "application/problem+json"}
        return route.fulfill(status=401, headers=headers, body=json.dumps(problem))

    page = console.page
    page.route("**/v1/**", guard)
    page.goto(f"{ORIGIN}/")
    form = page.get_by_role("dialog", name="Log in")
    form.get_by_label("User", exact=True).fill("ada")
    form.get_by_label("Password").fill("wrong")
    page.keyboard.press("Enter")
    expect(form.get_by_role("alert")).to_be_visible()
    form.get_by_label("User", exact=True).fill("ada")
    form.get_by_label("Password").fill("cörrect")
    page.keyboard.press("Enter")
    expect(form).to_be_hidden()
    expect(page.get_by_role("treeitem").first).to_be_visible()
    assert seen[-1] == "Basic YWRhOmPDtnJyZWN0", seen
    # It lasts as long as the tab, and stands in no store that outlives it.
    page.reload()
    expect(page.get_by_role("treeitem").first).to_be_visible()
    assert "polder.authorization" not in page.evaluate("Object.keys(localStorage)")
    page.get_by_role("button", name="Log out").click()
    form.get_by_label("Password").fill("token-of-ada")
    page.keyboard.press("Enter")
    expect(page.get_by_role("treeitem").first).to_be_visible()
    assert seen[-1] == "Bearer token-of-ada", seen
    console.close()


def picture(browser):
    """How it looks, by day and by night: where the colors are, and beside the picture that is kept."""
    kept, folder = Path(arguments[0]), Path(arguments[1])
    looks = {}
    for scheme in ["light", "dark"]:
        console = Console(browser, color_scheme=scheme, viewport=TALL).open()
        page = console.page
        for path in ["shop", "shop.public", "lake", "lake.public"]:
            page.locator(f"[data-path='{path}'] .label").first.click()
            expect(page.locator(f"[data-path='{path}'] [role=group]").first).to_be_visible()
        console.run(JOIN, "Control+Shift+e")
        expect(page.locator(".sent tbody tr")).to_have_count(2)
        page.mouse.move(640, 400)
        file = folder / f"{scheme}.png"
        page.screenshot(path=file)
        image = looks[scheme] = Image.open(file).convert("RGB")
        assert image.size == (TALL["width"], TALL["height"]), image.size
        share = lambda box, wanted: share_of(image.crop(box), wanted)
        paper = {"light": (255, 255, 255), "dark": (20, 25, 28)}[scheme]
        everything = (0, 0, *image.size)
        assert 0.3 < share(everything, paper) < 0.9, share(everything, paper)
        accent = {"light": (11, 95, 115), "dark": (108, 197, 216)}[scheme]
        run = box_of(page.get_by_role("button", name="Run", exact=True))
        assert share(run, accent) > 0.4, share(run, accent)
        # Each source has its color, at the head of its box.
        for name, color in [("lake", None), ("shop", None)]:
            operator = page.locator(".operator", has=page.locator(f".badge:text-is('{name}')")).first
            color = rgb(operator.evaluate("box => getComputedStyle(box).borderTopColor"))
            left, top, right, _ = box_of(operator)
            head = (left + 6, top, right - 6, top + 4)
            assert share(head, color) > 0.7, (name, color, share(head, color))
        heads = {rgb(box.evaluate("box => getComputedStyle(box).borderTopColor")) for box in page.locator(".operator").all()}
        assert len(heads) == 3, heads
        # Nothing is cut off, or written over something else.
        for name in ["Run", "Run all", "Explain", "Explain analyze", "History"]:
            box = box_of(page.get_by_role("button", name=name, exact=True))
            assert box[0] >= 0 and box[2] <= SIZE["width"], (name, box)
        console.close()
    if os.environ.get("POLDER_UPDATE"):
        looks["light"].quantize(128).save(kept, optimize=True)
    known = small(Image.open(kept).convert("RGB"))
    distance = lambda image: sum(ImageStat.Stat(ImageChops.difference(known, small(image))).mean) / 3
    assert distance(looks["light"]) < 6, f"{kept} is {distance(looks['light'])} away: POLDER_UPDATE=1 takes a new picture"
    assert distance(looks["dark"]) > 60, distance(looks["dark"])


def share_of(image, wanted):
    """How much of a picture has a color."""
    pixels = image.width * image.height
    is_near = lambda color: max(abs(one - other) for one, other in zip(color, wanted)) <= 3
    return sum(count for count, color in image.getcolors(pixels) if is_near(color)) / pixels


def small(image):
    return image.resize((64, 52), Image.Resampling.BOX)


def box_of(locator):
    box = locator.bounding_box()
    return tuple(round(at) for at in (box["x"], box["y"], box["x"] + box["width"], box["y"] + box["height"]))


def rgb(text):
    return tuple(int(number) for number in re.findall(r"\d+", text)[:3])


with sync_playwright() as playwright:
    browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
    globals()[part](browser)
    browser.close()
