"""The leaderboard in a browser: sort, filter, the state in the address, and what stands there without scripts."""

from __future__ import annotations

import html
from pathlib import Path
from typing import Any

import pytest
from browser_kit import Visit, index, ordered

BOARD = "section.board"


def rows(page: Any, place: int = 0) -> list[int]:
    """The numbers of the visible rows of a table, in order."""
    found = page.locator(BOARD).nth(place).locator("table.leaderboard tbody tr:visible")
    return [int(number) for number in found.evaluate_all("rows => rows.map(row => row.dataset.row)")]


def test_every_column_sorts_both_ways_as_python_does(visit: Visit) -> None:
    page = visit.open("index.html")
    section = index(visit.folder)["sections"][0]
    start = rows(page)
    for number, column in enumerate(section["columns"]):
        press = page.locator(BOARD).first.locator(f'th[data-column="{number}"] button.sort')
        if not press.count():
            continue  # not a headline column: the tables leave it out
        value = lambda k, number=number: (section["rows"][k]["cells"][number] or {}).get("value")  # noqa: E731
        first = column["direction"] == "higher"
        for down, word in ((first, None), (not first, None)):
            press.click()
            assert rows(page) == ordered(start, value, down), (column["heading"], down)
            word = "descending" if down else "ascending"
            head = page.locator(BOARD).first.locator(f'th[data-column="{number}"]')
            assert head.get_attribute("aria-sort") == word
            assert visit.status == f"Sorted by {column['heading']}, {word}."
        press.click()
        assert rows(page) == start


def test_sorting_by_name_ignores_case_and_takes_hostile_names_for_text(visit: Visit) -> None:
    page = visit.open("index.html")
    section = index(visit.folder)["sections"][0]
    page.locator(BOARD).first.locator('th[data-sort="label"] button').click()
    shown = (
        page.locator(BOARD)
        .first.locator("tbody th")
        .evaluate_all("cells => cells.map(c => c.textContent.trim().toLowerCase())")
    )
    assert shown == sorted(shown)
    assert len(shown) == len(section["rows"])


def test_filters_leave_the_tables_and_rows_that_the_index_names(visit: Visit) -> None:
    page = visit.open("index.html")
    sections = index(visit.folder)["sections"]
    page.get_by_label("Task").select_option("a2v")
    visible = page.locator(f"{BOARD}:visible")
    assert visible.evaluate_all("all => all.map(one => one.dataset.section)") == [
        section["id"] for section in sections if section["group"]["task"] == "a2v"
    ]
    page.get_by_label("Task").select_option("")
    page.get_by_label("Tier").select_option("control")
    for place, section in enumerate(sections):
        assert rows(page, place) == [k for k, row in enumerate(section["rows"]) if row["tier"] == "control"]
    count = sum(row["tier"] == "control" for section in sections for row in section["rows"])
    assert visit.status == f"{count} rows in {len(sections)} tables."


def test_the_address_keeps_the_view_over_reload_and_back(visit: Visit) -> None:
    page = visit.open("index.html")
    page.locator(BOARD).first.locator("th[data-column] button.sort").first.click()
    after_sort = rows(page)
    page.get_by_label("Tier").select_option("control")
    after_filter = rows(page)
    assert after_filter != after_sort
    page.reload()
    visit.settled()
    assert rows(page) == after_filter
    assert page.get_by_label("Tier").input_value() == "control"
    page.go_back()
    assert rows(page) == after_sort
    assert page.get_by_label("Tier").input_value() == ""


def test_the_table_is_complete_without_scripts(browser: Any, report: Path) -> None:
    section = index(report)["sections"][0]
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto((report / "index.html").as_uri())
    text = page.locator("main").inner_text()
    for row in section["rows"]:
        assert row["label"] in text
    shown = [cell["text"] for row in section["rows"] for cell in row["cells"] if cell and cell["value"] is not None]
    headline = [i for i, column in enumerate(section["columns"]) if column["headline"]]
    shown = [row["cells"][i]["text"] for row in section["rows"] for i in headline if row["cells"][i]]
    assert shown
    for cell in shown:
        assert html.unescape(cell) in text
    context.close()


@pytest.mark.parametrize("prefix", ["", "a/b/"])
def test_any_static_server_will_do_under_any_prefix(browser: Any, report: Path, tmp_path: Path, prefix: str) -> None:
    from functools import partial
    from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
    from threading import Thread

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *words: object) -> None:
            """Nothing on the terminal."""

    root = tmp_path / "site"
    (root / prefix).mkdir(parents=True, exist_ok=True)
    target = root / prefix / "report"
    target.symlink_to(report, target_is_directory=True)
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(root))) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        context = browser.new_context()
        page = context.new_page()
        failed: list[str] = []
        page.on("response", lambda answer: failed.append(answer.url) if answer.status >= 400 else None)
        page.goto(f"http://127.0.0.1:{server.server_port}/{prefix}report/clips.html")
        page.wait_for_selector("table.clips tbody tr")
        assert [url for url in failed if not url.endswith("favicon.ico")] == []
        context.close()
        server.shutdown()
