"""The page of one clip: deep links, steps, scores, transcripts; the comparison and the list of failures."""

from __future__ import annotations

from pathlib import Path

import pytest
from browser_kit import Clips, Visit, data, until
from synthetic import EMPTY, HOSTILE_IDS, HOSTILE_SYSTEM


@pytest.fixture(scope="module")
def clips(report: Path) -> Clips:
    return Clips(report)


@pytest.mark.parametrize("name", HOSTILE_IDS, ids=range(len(HOSTILE_IDS)))
def test_a_deep_link_opens_the_clip_whatever_its_name(visit: Visit, clips: Clips, name: str) -> None:
    page = visit.open("clip.html", s=clips.section["id"], id=name)
    assert page.locator("#app h2").first.text_content() == name
    text = clips.texts[clips.ids.index(name)]
    assert (page.locator(".card .transcript").first.text_content() or "").strip() == (text or "").strip()
    assert page.locator("main img[src='x'], main script, main b").count() == 0


def test_a_hostile_system_is_shown_as_text_everywhere(visit: Visit, clips: Clips) -> None:
    for name in (
        "index.html",
        "clips.html",
        "clip.html",
        "compare.html",
        "failures.html",
        "distributions.html",
        "about.html",
    ):
        page = visit.open(name, s=clips.section["id"])
        assert HOSTILE_SYSTEM in (page.locator("body").text_content() or ""), name
        assert page.locator("img[src='x']").count() == 0, name


def test_an_unknown_clip_is_said_to_be_unknown(visit: Visit) -> None:
    page = visit.open("clip.html", id="no-such-clip")
    assert "no such clip" in page.locator("#app").inner_text()
    assert "no-such-clip" in page.locator("#app").inner_text()


def test_keys_step_through_the_clips_of_the_filter(visit: Visit, clips: Clips) -> None:
    column = clips.column("PESQ")
    values = clips.values(2, column)
    chosen = [i for i in range(clips.n) if values[i] is not None and values[i] <= 3.5]
    page = visit.open("clip.html", s=clips.section["id"], id=clips.ids[chosen[0]], sys="2", **{f"m{column}": "..3.5"})
    assert f"clip 1 of {len(chosen)}" in page.locator(".clip-head").inner_text()
    page.keyboard.press("j")
    until(page, "name => document.querySelector('#app h2').textContent === name", arg=clips.ids[chosen[1]])
    page.keyboard.press("k")
    until(page, "name => document.querySelector('#app h2').textContent === name", arg=clips.ids[chosen[0]])
    page.keyboard.press("k")
    until(page, "document.getElementById('status').textContent.includes('first clip')")


def test_every_score_of_the_clip_is_shown_with_its_percentile(visit: Visit, clips: Clips) -> None:
    column, i = clips.column("PESQ"), 17
    page = visit.open("clip.html", s=clips.section["id"], id=clips.ids[i])
    heads = page.locator("table.scores thead th").all_inner_texts()
    place = heads.index(clips.section["columns"][column]["heading"])
    for k in range(len(clips.section["rows"])):
        values = clips.values(k, column)
        cell = page.locator("table.scores tbody tr").nth(k).locator("> *").nth(place).inner_text()
        if values[i] is None:
            assert cell[0] in "✗…–"
            continue
        known = [v for v in values if v is not None]
        percentile = round(100 * sum(v <= values[i] for v in known) / len(known) + 1e-9)
        assert cell.split() == [f"{values[i]:.{clips.section['columns'][column]['digits']}f}", f"P{percentile}"]


def test_wrong_words_are_marked_by_shape_and_named_for_screen_readers(visit: Visit, clips: Clips) -> None:
    page = visit.open("clip.html", s=clips.section["id"], id=clips.ids[20])
    card = page.locator(f'.card[data-k="{clips.row("second-hand")}"]')
    marks = card.locator(".word")
    assert marks.count() > 0
    assert card.locator(".word.substituted ins").first.inner_text() == "wrong"
    assert "substituted" in (marks.first.text_content() or "")
    line = card.locator(".word del").first.evaluate("node => getComputedStyle(node).textDecorationLine")
    assert line == "line-through"


def test_keys_rest_while_one_types_and_can_be_switched_off(visit: Visit, clips: Clips) -> None:
    page = visit.open("clip.html", s=clips.section["id"], id=clips.ids[0])
    page.keyboard.press("?")
    page.get_by_role("dialog").wait_for()
    page.get_by_label("use single-letter keys").uncheck()
    page.keyboard.press("Escape")
    page.get_by_role("dialog").wait_for(state="hidden")
    page.keyboard.press("j")
    page.wait_for_timeout(200)
    assert page.locator("#app h2").first.text_content() == clips.ids[0]
    page.keyboard.press("?")
    page.get_by_label("use single-letter keys").check()
    page.keyboard.press("Escape")
    page.get_by_role("dialog").wait_for(state="hidden")  # keys do nothing while it is open
    page.keyboard.press("j")
    until(page, "name => document.querySelector('#app h2').textContent === name", arg=clips.ids[1])


def test_a_comparison_has_the_numbers_that_python_tested(visit: Visit, clips: Clips) -> None:
    pair = data(visit.folder, clips.section["compare"])["pairs"]
    a, b = sorted(clips.row(name) for name in ("hicodit", "second-hand"))
    given = next(one for one in pair if (one["a"], one["b"]) == (a, b))
    page = visit.open("compare.html", s=clips.section["id"], a=a, b=b)
    table = page.locator("#app table").first
    assert table.locator("tbody tr").count() == len(given["columns"])
    for line, row in zip(table.locator("tbody tr").all(), given["columns"], strict=True):
        column = clips.section["columns"][row["column"]]
        cells = line.locator("td").all_inner_texts()
        if row["difference"] is not None:
            shown = f"{row['difference'] * column['scale']:.{column['digits']}f}"
            assert abs(float(cells[3]) - float(shown)) <= 10 ** -column["digits"] + 1e-9
    forward = [line.locator("td").all_inner_texts() for line in table.locator("tbody tr").all()]
    page.get_by_role("button", name="Swap").click()
    until(page, "b => location.hash.includes(`a=${b}`)", arg=b)
    backward = [
        line.locator("td").all_inner_texts() for line in page.locator("#app table").first.locator("tbody tr").all()
    ]
    for one, other in zip(forward, backward, strict=True):
        assert (one[1], one[2]) == (other[2], other[1])
        assert one[5] == other[5]  # the same p


def test_a_system_without_results_is_compared_in_words(visit: Visit, clips: Clips) -> None:
    page = visit.open("compare.html", s=clips.section["id"], a=clips.row("hicodit"), b=clips.row(EMPTY))
    assert "no clips with values in common" in page.locator("#app").inner_text()
    assert "No clip has both values." in page.locator("#app").inner_text()


def test_the_clips_of_each_side_are_those_furthest_apart(visit: Visit, clips: Clips) -> None:
    column = clips.column("PESQ")
    ahead, behind = clips.row("hicodit"), clips.row("second-hand")
    a, b = clips.values(ahead, column), clips.values(behind, column)
    gain = {i: a[i] - b[i] for i in range(clips.n) if a[i] is not None and b[i] is not None and a[i] > b[i]}
    expected = [clips.ids[i] for i in sorted(gain, key=lambda i: -gain[i])[:20]]
    page = visit.open("compare.html", s=clips.section["id"], a=ahead, b=behind, x=column)
    assert page.locator(".sides section").first.locator("a").all_text_contents() == expected


def test_the_list_of_failures_is_filtered_and_leads_to_clips(visit: Visit, clips: Clips) -> None:
    failures = data(visit.folder, clips.section["failures"])["failures"]
    page = visit.open("failures.html", s=clips.section["id"])
    assert visit.status == f"{len(failures)} failures."
    page.get_by_label("Kind").select_option("no_face")
    expected = [one for one in failures if one["kind"] == "no_face"]
    until(page, "n => document.getElementById('status').textContent === `${n} failures.`", arg=len(expected))
    link = page.locator("#app tbody tr").first.get_by_role("link")
    assert link.text_content() == clips.ids[expected[0]["clip"]]
    link.click()
    page.wait_for_url("**/clip.html*")
    visit.settled()
    assert page.locator("#app h2").first.text_content() == clips.ids[expected[0]["clip"]]
