"""The clips page in a browser: choice, order, both tables, the scatter, search, and deep links."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from browser_kit import Clips, Visit, ordered, until
from synthetic import HOSTILE_IDS, HOSTILE_TEXTS

COUNT = re.compile(r"([\d,]+) rows of ([\d,]+) clips\.")


@pytest.fixture(scope="module")
def clips(report: Path) -> Clips:
    return Clips(report)


def count(visit: Visit) -> int:
    found = COUNT.search(visit.status)
    assert found, visit.status
    return int(found[1].replace(",", ""))


def shown(visit: Visit) -> list[tuple[str, str]]:
    """Clip and system of the rows of the paged table."""
    pairs = visit.page.locator("table.clips tbody tr").evaluate_all(
        "rows => rows.map(row => [row.cells[0].textContent, row.cells[1].textContent])"
    )
    return [(clip, system) for clip, system in pairs]


def named(clips: Clips, pairs: list[tuple[int, int]]) -> list[tuple[str, str]]:
    return [(clips.ids[i], clips.section["rows"][k]["label"]) for k, i in pairs]


def test_the_first_page_shows_the_first_rows(visit: Visit, clips: Clips) -> None:
    visit.open("clips.html")
    assert count(visit) == len(clips.asked())
    assert shown(visit) == named(clips, clips.asked()[:50])


@pytest.mark.parametrize("down", [False, True])
def test_every_column_sorts_as_python_does(visit: Visit, clips: Clips, down: bool) -> None:
    for number, column in enumerate(clips.section["columns"]):
        if not (column["per_clip"] and column["headline"]):
            continue
        values = [clips.values(k, number) for k in range(len(clips.section["rows"]))]
        visit.open("clips.html", sort=f"{'-' if down else ''}{number}")
        expected = ordered(clips.asked(), lambda pair: values[pair[0]][pair[1]], down)  # noqa: B023 - used at once
        assert shown(visit) == named(clips, expected[:50]), column["heading"]


def test_difference_orders_clips_by_how_far_two_systems_lie_apart(visit: Visit, clips: Clips) -> None:
    column = clips.column("PESQ")
    a, b = clips.values(2, column), clips.values(5, column)

    def apart(pair: tuple[int, int]) -> float | None:
        x, y = a[pair[1]], b[pair[1]]
        return None if x is None or y is None else abs(x - y)

    visit.open("clips.html", sort=f"-d{column}", a=2, b=5, sys="2,5")
    pairs = [pair for pair in clips.asked() if pair[0] in (2, 5)]
    assert shown(visit) == named(clips, ordered(pairs, apart, True)[:50])


def test_filters_count_what_python_counts(visit: Visit, clips: Clips) -> None:
    asked = clips.asked()
    column = clips.column("PESQ")
    values = [clips.values(k, column) for k in range(len(clips.section["rows"]))]
    speaker = clips.speakers[3]
    cases = [
        ({"sys": "1,3"}, [p for p in asked if p[0] in (1, 3)]),
        ({"speaker": speaker}, [p for p in asked if clips.speakers[p[1]] == speaker]),
        ({"status": "failed"}, [p for p in asked if clips.state(*p) == "failed"]),
        ({"status": "pending"}, [p for p in asked if clips.state(*p) == "pending"]),
        ({f"m{column}": "2.5..3.5"}, [p for p in asked if 2.5 <= (values[p[0]][p[1]] or 0) <= 3.5]),
        ({f"m{column}": "..2"}, [p for p in asked if (v := values[p[0]][p[1]]) is not None and v <= 2]),
        ({"status": "ok", "sys": "4"}, [p for p in asked if p[0] == 4 and clips.state(*p) == "ok"]),
    ]
    for state, expected in cases:
        visit.open("clips.html", **state)
        assert expected, state
        assert count(visit) == len(expected), state
        assert shown(visit) == named(clips, expected[:50]), state


def test_search_reads_ids_references_and_what_was_heard(visit: Visit, clips: Clips) -> None:
    page = visit.open("clips.html")
    page.keyboard.press("/")
    page.keyboard.type("wrong")
    until(page, "document.getElementById('status').textContent.match(/^\\d/)")
    until(page, "location.hash.includes('q=wrong')")
    page.wait_for_timeout(200)
    everything = len(clips.asked())
    assert 0 < count(visit) < everything
    assert {system for _, system in shown(visit)} & {"ground-truth"} == set()  # heard without a fault
    for text in (HOSTILE_IDS[0], HOSTILE_TEXTS[0], "שלום"):
        visit.open("clips.html", q=text)
        matching = {i for i in range(clips.n) if text in clips.ids[i] or text in (clips.texts[i] or "")}
        assert count(visit) == len([p for p in clips.asked() if p[1] in matching]) > 0, text


def test_fields_of_the_form_write_the_address_and_read_it(visit: Visit, clips: Clips) -> None:
    page = visit.open("clips.html")
    page.get_by_label("Status", exact=True).select_option("failed")
    failed = count(visit)
    assert "status=failed" in page.url
    page.get_by_text("Systems:").click()
    page.get_by_role("button", name="None").click()
    assert count(visit) == 0
    page.get_by_role("button", name="All", exact=True).click()
    assert count(visit) == failed
    page.get_by_role("button", name="Clear").click()
    until(page, "!location.hash.includes('status')")
    page.wait_for_timeout(100)
    assert count(visit) == len(clips.asked())
    page.go_back()
    page.wait_for_timeout(100)
    assert count(visit) == failed
    assert page.get_by_label("Status", exact=True).input_value() == "failed"


def test_the_long_table_draws_only_what_is_seen(visit: Visit, clips: Clips) -> None:
    page = visit.open("clips.html", view="scroll")
    table = page.get_by_role("table")
    assert table.get_attribute("aria-rowcount") == str(len(clips.asked()) + 1)
    assert page.locator(".vbody .vrow").count() < 60
    page.locator(".vport").evaluate("port => { port.scrollTop = port.scrollHeight; }")
    page.wait_for_timeout(100)
    last = page.locator(".vbody .vrow").last
    assert last.get_attribute("aria-rowindex") == str(len(clips.asked()) + 1)
    clip, system = named(clips, clips.asked()[-1:])[0]
    assert last.locator("> *").nth(0).inner_text() == clip
    assert last.locator("> *").nth(1).inner_text() == system


def test_pages_turn_and_stay_in_the_address(visit: Visit, clips: Clips) -> None:
    page = visit.open("clips.html")
    page.get_by_role("button", name="Next").click()
    assert shown(visit) == named(clips, clips.asked()[50:100])
    page.reload()
    visit.settled()
    assert shown(visit) == named(clips, clips.asked()[50:100])
    page.go_back()
    page.wait_for_timeout(100)
    assert shown(visit) == named(clips, clips.asked()[:50])


def test_a_point_of_the_scatter_opens_its_clip_by_keys_and_by_mouse(visit: Visit, clips: Clips) -> None:
    x, y = clips.column("PESQ"), clips.column("MCD")
    page = visit.open("clips.html", view="scatter", x=x, y=y, sys="2")
    ones, others = clips.values(2, x), clips.values(2, y)
    drawn = [i for i in range(clips.n) if ones[i] is not None and others[i] is not None]
    least = clips.ids[min(drawn, key=lambda i: ones[i])]
    assert f"{len(drawn)} points" in page.locator("#view").inner_text()
    page.get_by_role("application").focus()
    page.keyboard.press("ArrowRight")
    assert least in visit.status
    at = page.locator(".ring").bounding_box()
    page.keyboard.press("Enter")
    page.wait_for_url("**/clip.html*")
    visit.settled()
    assert page.locator("#app h2").first.inner_text() == least
    page.go_back()
    visit.settled()
    page.mouse.click(at["x"] + at["width"] / 2, at["y"] + at["height"] / 2)
    page.wait_for_url("**/clip.html*")
    visit.settled()
    assert page.locator("#app h2").first.inner_text() == least


def test_a_bin_of_a_histogram_leads_to_its_clips(visit: Visit, clips: Clips) -> None:
    page = visit.open("distributions.html")
    link = page.locator("svg.hist a").first
    target = link.get_attribute("href") or ""
    assert target.startswith("clips.html#")
    link.focus()
    page.keyboard.press("Enter")
    page.wait_for_url("**/clips.html*")
    visit.settled()
    assert 0 < count(visit) < len(clips.asked())


def test_curves_of_a_distribution_are_drawn_on_demand(visit: Visit) -> None:
    page = visit.open("distributions.html")
    page.locator("section.dist button").first.click()
    page.wait_for_selector("section.dist .plot canvas")
    assert page.locator("section.dist .plot:visible").count() == 1
