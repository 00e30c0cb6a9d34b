"""The built site in a browser, from disk: `make test-docs` builds it and runs this, with a Chromium of the system.

Screenshots are left in build/site/screenshots.
"""

import json
import shutil
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import byzsim
import numpy as np
import pytest

sync_api = pytest.importorskip("playwright.sync_api")

pytestmark = [pytest.mark.browser, pytest.mark.slow]
ROOT = Path(__file__).parent.parent
SITE = ROOT / "site"
SHOTS = ROOT / "build" / "site" / "screenshots"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
PAGES = sorted(
    {path.relative_to(SITE).as_posix() for path in SITE.rglob("*.html")} - {"404.html"}
)  # that is for servers
PHONE = {"width": 390, "height": 844}
DESKTOP = {"width": 1280, "height": 900}
SHOWN = {
    "index.html": "light",
    "catalogue/index.html": "light",
    "catalogue/rules/krum.html": "dark",
    "catalogue/tasks/octopus.html": "light",
    "results/leaderboard.html": "light",
    "explorer.html": "dark",
    "catalogue/compare.html": "light",
    "reference/calls.html": "light",
    "results/which-rule.html": "dark",
}


@pytest.fixture(scope="module")
def browser():
    if CHROMIUM is None or not PAGES:
        pytest.skip("there is no Chromium, or no site: `make docs`")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def page(browser):
    """A page that fails the test on an error in its console or a request to elsewhere."""
    wrong = []
    page = browser.new_page(viewport=DESKTOP)
    page.on("console", lambda said: wrong.append(said.text) if said.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("requestfailed", lambda request: failed(request) and wrong.append(f"{request.url}: {request.failure}"))
    page.on("request", lambda request: request.url.startswith(("file:", "data:")) or wrong.append(request.url))
    yield page
    page.close()
    assert not wrong


def failed(request):
    """Not one that a next page has put an end to."""
    return "ERR_ABORTED" not in (request.failure or "")


def address(name):
    return (SITE / name).as_uri()


class Links(HTMLParser):
    """The links and the ids of a page."""

    def __init__(self, path):
        super().__init__()
        self.links, self.ids = [], set()
        self.feed(path.read_text("utf-8"))

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.ids |= {given[key] for key in ("id", "name") if given.get(key)}
        self.links += [given[key] for key in ("href", "src") if given.get(key)]


@pytest.mark.skipif(not PAGES, reason="no site: `make docs`")
def test_no_link_is_broken():
    found = {name: Links(SITE / name) for name in PAGES}
    broken = []
    for name, links in found.items():
        for link in links.links:
            parts = urlsplit(link)
            if parts.scheme in ("http", "https", "mailto", "data"):
                continue
            target = ((SITE / name).parent / unquote(parts.path)).resolve() if parts.path else (SITE / name).resolve()
            target = target / "index.html" if target.is_dir() else target
            if not target.is_file():
                broken.append(f"{name}: {link}")
            elif parts.fragment and target.suffix == ".html":
                ids = found[target.relative_to(SITE.resolve()).as_posix()].ids
                if unquote(parts.fragment) not in ids and not link.startswith("#__") and "compare.html" not in link:
                    broken.append(f"{name}: {link}")
    assert not broken


def test_every_page_opens_without_an_error_and_fits_a_phone(page):
    page.set_viewport_size(PHONE)
    wide = []
    for name in PAGES:
        page.goto(address(name))
        assert page.title()
        if page.evaluate("document.documentElement.scrollWidth") > PHONE["width"]:
            wide.append(name)
    assert not wide


def test_search_finds_krum(page):
    page.goto(address("index.html"))
    page.locator("input[name=query]").click()
    page.locator("input[name=query]").press_sequentially("krum", delay=30)
    first = page.locator(".md-search-result__item a").first
    first.wait_for()
    titles = page.locator(".md-search-result__item h1").all_inner_texts()
    assert any("krum" in title.lower() for title in titles[:5])
    first.click()
    assert "krum" in page.locator("main").inner_text().lower()


def numbers(page):
    """(rows, f, rule -> what the page shows)."""
    place = page.locator("#plane")
    shown = {row["rule"]: (float(row["x"]), float(row["y"])) for row in page.locator("#plane tbody tr").evaluate_all(
        "rows => rows.map((row) => ({...row.dataset}))")}  # fmt: skip
    return np.array(json.loads(place.get_attribute("data-rows"))), int(place.get_attribute("data-f")), shown


def check_numbers(page):
    rows, f, shown = numbers(page)
    variants = page.evaluate("window.byzsimRules.VARIANTS")
    assert len(shown) == 6
    for name, found in shown.items():
        options = {"variant": variants[name]} if name in variants else {}
        theirs = byzsim.aggregate(name, rows, f=0 if name == "mean" else f, **options)
        np.testing.assert_allclose(found, theirs, atol=2e-3, err_msg=name)
    return rows, shown


def test_the_explorer_shows_what_the_library_computes(page):
    page.goto(address("explorer.html"))
    before, was = check_numbers(page)
    attacker = page.locator("#plane circle.byzantine").first
    box = attacker.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] - 40, box["y"] + 60, steps=4)
    page.mouse.up()
    after, now = check_numbers(page)
    assert (before[0] != after[0]).any() and (before[1:] == after[1:]).all()
    assert was["mean"] != now["mean"]


def test_the_index_sorts_and_filters(page):
    page.goto(address("catalogue/index.html"))
    rows = page.locator("table[data-kind~=filtered] tbody tr")
    total = rows.count()
    assert total >= len(byzsim.AGGREGATORS)
    page.get_by_label("name or words").fill("krum")
    assert 0 < rows.filter(visible=True).count() < total
    page.get_by_label("name or words").fill("")
    page.locator(".filters button.chip", has_text="stateful").click()
    stateful = {name for name, spec in byzsim.AGGREGATORS.items() if "stateful" in spec.traits}
    assert {row.split()[0] for row in rows.filter(visible=True).all_inner_texts()} == stateful
    page.locator(".filters button.chip", has_text="stateful").click()
    page.locator("th", has_text="largest f").click()
    bounds = [int(text) for text in page.locator("table[data-kind~=filtered] tbody td:nth-child(2)").all_inner_texts()]
    assert bounds == sorted(bounds, reverse=True)


def test_two_rules_stand_side_by_side(page):
    page.goto(address("catalogue/compare.html") + "#brsgd,aksel")
    assert page.locator("#compare thead").first.inner_text().split() == ["brsgd", "aksel"]
    page.locator("#compare select").first.select_option("mean")
    assert page.locator("#compare thead").first.inner_text().split() == ["mean", "aksel"] and page.url.endswith(
        "#mean,aksel"
    )
    page.locator("#compare summary").first.click()


def test_the_leaderboard_filters_and_leads_to_records(page):
    page.goto(address("results/leaderboard.html"))
    page.get_by_label("table", exact=True).select_option("zoo")
    assert page.locator("h2").filter(visible=True).count() == 1
    page.locator("table[data-kind~=sticky]").filter(visible=True).locator("tbody tr td:nth-child(2) a").first.click()
    opened = page.locator("details[open]")
    assert opened.count() == 1 and '"rule"' in opened.inner_text()


@pytest.mark.parametrize("name", SHOWN)
def test_pages_are_looked_at(page, name):
    """Screenshots for people to look at."""
    SHOTS.mkdir(parents=True, exist_ok=True)
    page.emulate_media(color_scheme=SHOWN[name])
    page.goto(address(name))
    page.screenshot(path=SHOTS / f"{name.replace('/', '-').removesuffix('.html')}.png")
    page.set_viewport_size(PHONE)
    page.screenshot(path=SHOTS / f"{name.replace('/', '-').removesuffix('.html')}-phone.png")
