"""Every page for everybody: axe-core in both colour schemes, the keyboard, a phone's width, print, and no scripts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from browser_kit import Clips, Visit, index
from synthetic import EMPTY

#: Pages that are complete without scripts, and a system that each names.
STATIC = {"index": EMPTY, "distributions": "anchor", "failures": EMPTY, "about": EMPTY}
PAGES = ("index", "distributions", "clips", "clips scroll", "clips scatter", "clip", "compare", "failures", "about")


def show(visit: Visit, page: str) -> Any:
    name, _, view = page.partition(" ")
    return visit.open(f"{name}.html", s=index(visit.folder)["sections"][0]["id"], **({"view": view} if view else {}))


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("page", PAGES)
def test_axe_finds_nothing(browser: Any, report: Path, page: str, scheme: str) -> None:
    with Visit(browser, report, color_scheme=scheme) as visit:
        show(visit, page)
        assert visit.violations() == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_among_players_and_open_lists(browser: Any, played: Path, scheme: str) -> None:
    with Visit(browser, played, color_scheme=scheme) as visit:
        show(visit, "clip")
        assert visit.violations() == []
        visit.page.keyboard.press("?")
        assert visit.violations() == []
    with Visit(browser, played, color_scheme=scheme) as visit:
        show(visit, "clips")
        for summary in visit.page.locator("#choose summary").all():
            summary.click()
        assert visit.violations() == []


@pytest.mark.parametrize("page", PAGES)
def test_a_phone_s_width_needs_no_scrolling_sideways(browser: Any, report: Path, page: str) -> None:
    with Visit(browser, report, viewport={"width": 360, "height": 740}) as visit:
        shown = show(visit, page)
        assert shown.evaluate("document.documentElement.scrollWidth") == 360
        small = shown.evaluate(
            "[...document.querySelectorAll('button, select, input')].filter(n => n.offsetWidth && n.type !== 'checkbox'"
            " && (n.offsetHeight < 24 || n.offsetWidth < 24)).map(n => n.outerHTML.slice(0, 80))"
        )
        assert small == []


def test_the_page_grows_with_the_reader_s_letters(browser: Any, report: Path) -> None:
    with Visit(browser, report, viewport={"width": 640, "height": 450}) as visit:  # 1280 px at 200 %
        for page in PAGES:
            shown = show(visit, page)
            assert shown.evaluate("document.documentElement.scrollWidth") <= 640, page


@pytest.mark.parametrize("page", ["index", "clips", "clip", "compare"])
def test_tab_reaches_every_control_in_reading_order(visit: Visit, page: str) -> None:
    shown = show(visit, page)
    shown.keyboard.press("Tab")
    assert shown.evaluate("document.activeElement.className") == "skip"
    walk: list[int] = []
    nodes = "[...document.querySelectorAll('a[href], button:not(:disabled), select, input, summary, [tabindex=\"0\"]')]"
    wanted = shown.evaluate(f"{nodes}.filter(n => n.checkVisibility() && n.tabIndex >= 0).length")
    for _ in range(min(wanted, 60) - 1):
        shown.keyboard.press("Tab")
        walk.append(shown.evaluate(f"{nodes}.indexOf(document.activeElement)"))
    assert walk == sorted(walk)
    assert len(set(walk)) == len(walk)
    assert -1 not in walk


def test_the_skip_link_leads_past_the_navigation(visit: Visit) -> None:
    page = show(visit, "index")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"


@pytest.mark.parametrize("page", [*STATIC, "clips", "clip", "compare"])
def test_pages_say_something_without_scripts(browser: Any, report: Path, page: str) -> None:
    context = browser.new_context(java_script_enabled=False)
    shown = context.new_page()
    shown.goto((report / f"{page}.html").as_uri())
    text = shown.locator("main").inner_text()
    assert STATIC.get(page, "scripts are switched off") in text
    assert shown.locator("h1").inner_text()
    context.close()


def test_the_leaderboard_prints_whole(browser: Any, report: Path) -> None:
    with Visit(browser, report) as visit:
        page = show(visit, "index")
        page.emulate_media(media="print")
        page.set_viewport_size({"width": 1030, "height": 720})  # A4 landscape within its margins
        wide = page.evaluate(
            "[...document.querySelectorAll('table.leaderboard')].map(t => t.getBoundingClientRect().right)"
        )
        assert max(wide) <= 1030
        assert not page.locator("#filters form").is_visible()
        assert len(page.pdf(prefer_css_page_size=True)) > 10_000


def test_no_page_breaks_its_policy(browser: Any, report: Path) -> None:
    with Visit(browser, report) as visit:
        for page in PAGES:
            shown = show(visit, page)
            policy = shown.locator("meta[http-equiv='Content-Security-Policy']").get_attribute("content")
            assert "default-src 'none'" in policy and "script-src 'self';" in policy and "unsafe" not in policy
            inline = shown.evaluate(
                "[...document.querySelectorAll('script:not([src]):not([type=\"application/json\"])')].length"
            )
            assert inline == 0


def test_the_policy_stops_what_a_page_must_not_do(browser: Any, report: Path) -> None:
    """The visit's own checks can fail: a foreign image and an inline script are refused and noticed."""
    visit = Visit(browser, report)
    page = visit.open("index.html")
    page.evaluate(
        "() => { const i = document.createElement('img'); i.src = 'https://elsewhere.invalid/x.png';"
        " document.body.append(i); }"
    )
    page.evaluate(
        "() => { const s = document.createElement('script'); s.textContent = 'window.bench_hacked = 1';"
        " document.body.append(s); }"
    )
    page.wait_for_timeout(200)
    assert sum("Content Security Policy" in line for line in visit.said) == 2
    assert not page.evaluate("'bench_hacked' in window")
    visit.context.close()


def test_every_name_of_a_clip_is_a_link_that_works(visit: Visit) -> None:
    clips = Clips(visit.folder)
    page = visit.open("clips.html", sys="0")
    hrefs = page.locator("table.clips tbody th a").evaluate_all("all => all.map(a => [a.textContent, a.href])")
    assert [name for name, _ in hrefs] == clips.ids[:50]
    assert all(href.startswith(visit.base + "/clip.html#") for _, href in hrefs)
