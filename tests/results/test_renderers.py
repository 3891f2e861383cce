"""Every format of the leaderboard: exact columns, golden text, escaping, neutral cells, width."""

from __future__ import annotations

import csv
import io
import json
import re
from html.parser import HTMLParser

import pytest
from results_lab import Lab

from bench.api import UsageError
from bench.results import leaderboard, published, render, render_markup, tidy

NASTY = "=cmd|'x'!A1 <b>\"&</b> | \\alpha_1 {x} $y$ %z #w ~"

GOLDEN_CSV = """\
dataset,split,task,pairing,audio,reference,system,tier,protocol,metric,value,ci_low,ci_high,n_scored,n_failed,unit,direction,run_id,source
demo,test,vts,,,other,talker,embedded,sim/toy@1,SIM,0.8,,,1,1,cosine,higher,{run},measured
"""

GOLDEN_MARKDOWN = """\
### demo/test · vts · reference other

| system | tier | n | failed | SIM ↑ |
| --- | --- | ---: | ---: | ---: |
| talker† | embedded | 2 | 1 | 0.800† (1/2) |

- talker: no\\_face 1 of 2 in all protocols

- † incomplete: not every requested clip has a value; (scored/requested); not ranked.
- Rows are ordered by mean rank, costs aside; no overall rank is meant. \\`bench compare\\` tests pairs of rows.
- SIM: sim/toy@1 (offline-real; no weights)
- talker: version 1, seed 0, float32; runs: vts {run12}
"""

GOLDEN_LATEX_ROW = r"talker\dag{} & embedded & 2 & 1 & 0.800\dag{} (1/2) \\"


@pytest.fixture
def small(lab: Lab) -> Lab:
    """One run, two clips, one of them failed; the value is exactly 0.8."""
    from bench.store_records import ScoreRecord

    run = lab.fill(lab.run("talker", n=2), protocols=())
    first, second = lab.store.run_clips(run.id)
    outputs = lab.store.outputs(run.id)
    key = lambda clip: (outputs[clip.clip_id].sha256, clip.reference_sha256, "sim/toy@1", "")  # noqa: E731
    lab.store.add_run_protocols(run.id, ["sim/toy@1"])
    lab.store.add_scores([ScoreRecord(*key(first), "ok", {"sim": 0.8})])
    lab.store.add_scores([ScoreRecord(*key(second), "failed", kind="no_face", detail="invented")])
    return lab


def parsed(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_csv_is_golden(small: Lab) -> None:
    run = small.store.runs()[0]
    assert render.render(leaderboard.build(small.store), "csv") == GOLDEN_CSV.format(run=run.id)


def test_markdown_is_golden(small: Lab) -> None:
    run = small.store.runs()[0]
    assert render.render(leaderboard.build(small.store), "md") == GOLDEN_MARKDOWN.format(run12=run.id[:12])


def test_latex_has_booktabs_bold_underline_and_half_widths(small: Lab, filled: Lab) -> None:
    del small
    text = render.render(leaderboard.build(filled.store), "latex")
    for wanted in (r"\toprule", r"\midrule", r"\bottomrule", r"\textbf{", r"\underline{", r"$\pm$", r"$\downarrow$"):
        assert wanted in text
    lines = text.splitlines()
    row = next(line for line in lines if line.startswith("talker") and line.endswith(r"\\"))
    head = next(line for line in lines if line.startswith("system & tier"))
    assert row.count("&") == head.count("&")


def test_latex_row_is_golden(small: Lab) -> None:
    assert GOLDEN_LATEX_ROW in render.render(leaderboard.build(small.store), "latex").splitlines()


def test_json_rows_have_exactly_the_columns_and_equal_the_csv(filled: Lab) -> None:
    table = leaderboard.build(filled.store)
    rows = json.loads(render.render(table, "json"))
    assert all(tuple(row) == tidy.COLUMNS for row in rows)
    from_csv = parsed(render.render(table, "csv"))
    assert tuple(from_csv[0]) == tidy.COLUMNS
    assert len(from_csv) == len(rows) == 4 * 6
    for row, line in zip(rows, from_csv, strict=True):
        assert {k: "" if v is None else str(v) for k, v in row.items()} == line
        assert row["source"] == "measured"


def test_columns_are_exactly_those_of_the_format() -> None:
    assert ", ".join(tidy.COLUMNS) == (
        "dataset, split, task, pairing, audio, reference, system, tier, protocol, metric, value, ci_low, ci_high, "
        "n_scored, n_failed, unit, direction, run_id, source"
    )


def test_rates_are_fractions_in_tidy_formats_and_per_cent_in_tables(filled: Lab) -> None:
    table = leaderboard.build(filled.store)
    row = next(r for r in json.loads(render.render(table, "json")) if r["metric"] == "WER" and r["system"] == "talker")
    assert row["unit"] == "fraction"
    assert 0 < row["value"] < 1
    assert f"{row['value'] * 100:.2f}" in render.render(table, "table")


def test_wide_has_a_row_per_run_and_a_column_per_value(filled: Lab) -> None:
    table = leaderboard.build(filled.store)
    rows = parsed(render.render(table, "csv", wide=True))
    assert [row["system"] for row in rows] == ["ground-truth", "talker", "hicodit", "shuffled"]
    assert list(rows[0])[-6:] == [
        "offset/toy@1 Offset", "set/toy@1 Spread", "sim/toy@1 SIM", "wer/toy@1 WER", "wer/toy@1 WER clip mean",
        "cost/toy@1 RTF",
    ]  # fmt: skip
    long = parsed(render.render(table, "csv"))
    wer = next(r for r in long if r["system"] == "hicodit" and r["metric"] == "WER")
    assert rows[2]["wer/toy@1 WER"] == wer["value"]
    assert json.loads(render.render(table, "json", wide=True))[2]["wer/toy@1 WER"] == float(wer["value"])


@pytest.mark.parametrize("text", ["=1+1", "+cmd", "-x", "@sum", "\tx", "\rx", "=HYPERLINK(1)", "-1+1", "+"])
def test_cells_like_formulas_are_neutralised(text: str) -> None:
    assert tidy.neutral(text) == "'" + text


@pytest.mark.parametrize(
    ("cell", "text"),
    [(-0.5, "-0.5"), ("-0.5", "-0.5"), ("+3", "+3"), (0.1, "0.1"), (None, ""), (7, "7"), ("a=b", "a=b"), ("", "")],
)
def test_numbers_and_harmless_text_stay(cell: object, text: str) -> None:
    assert tidy.neutral(cell) == text


def test_nasty_names_are_harmless_in_every_format(lab: Lab) -> None:
    lab.fill(lab.run(NASTY))
    table = leaderboard.build(lab.store)
    assert parsed(render.render(table, "csv"))[0]["system"] == "'" + NASTY
    assert json.loads(render.render(table, "json"))[0]["system"] == NASTY
    page = render.render(table, "html")
    assert "<b>" not in page
    assert "&lt;b&gt;" in page
    row = next(line for line in render.render(table, "md").splitlines() if "cmd" in line and line.startswith("|"))
    assert len(re.findall(r"(?<!\\)\|", row)) == 4 + 5 + 1
    latex = next(line for line in render.render(table, "latex").splitlines() if line.startswith("=cmd"))
    assert r"\textbackslash{}alpha\_1 \{x\} \$y\$ \%z \#w \textasciitilde{}" in latex
    assert latex.endswith(r"\\")


def test_latex_escapes_every_special_character() -> None:
    escaped = render_markup.latex_text(r"\{}$&#%_^~")
    assert escaped == (r"\textbackslash{}\{\}\$\&\#\%\_\textasciicircum{}\textasciitilde{}")
    assert render_markup.latex_text("a\n\nb") == "a b"


class Page(HTMLParser):
    """Collects tags and attributes; fails on tags that do not nest."""

    VOID = frozenset({"meta", "br"})

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_html_stands_alone_and_is_accessible(filled: Lab) -> None:
    text = render.render(leaderboard.build(filled.store), "html")
    page = Page()
    page.feed(text)
    assert page.open == []
    names = [tag for tag, _ in page.tags]
    assert names.count("caption") == names.count("table") == 1
    assert "script" not in names
    assert "http://" not in text
    assert "https://" not in text
    assert not any(key in {"src", "href"} for _, attributes in page.tags for key in attributes)
    heads = [attributes.get("scope") for tag, attributes in page.tags if tag == "th"]
    assert heads.count("row") == 4
    assert set(heads) == {"row", "col"}
    assert any(attributes.get("lang") == "en" for _, attributes in page.tags)


@pytest.mark.parametrize("width", [80, 100, 140])
def test_terminal_lines_fit(filled: Lab, width: int) -> None:
    text = render.render(leaderboard.build(filled.store), "table", width=width)
    assert max(len(line) for line in text.splitlines()) <= width
    for label in ("WER % ↓", "SIM ↑", "Spread ↓", "RTF ↓", "Offset →0", "talker", "embedded", "[", "{"):
        assert label in text


def test_terminal_shows_counts_of_incomplete_cells(small: Lab) -> None:
    text = render.render(leaderboard.build(small.store), "table")
    assert "0.800† (1/2)" in text
    assert "talker†" in text
    assert "talker: no_face 1 of 2 in all protocols" in text


def test_all_formats_carry_the_protocol_and_the_run(filled: Lab) -> None:
    table = leaderboard.build(filled.store)
    run = filled.store.runs(system="talker")[0]
    for name in render.FORMATS:
        text = render.render(table, name)
        assert "wer/toy@1" in text, name
        assert run.id[:12] in text, name


def test_unknown_format_is_refused_with_the_nearest(filled: Lab) -> None:
    with pytest.raises(UsageError, match="'cvs' is unknown") as error:
        render.render(leaderboard.build(filled.store), "cvs")
    assert "'csv'" in error.value.hint


def test_wide_refuses_published_rows(lab: Lab) -> None:
    lab.fill(lab.run("talker", dataset="lrs3"))
    table = leaderboard.build(lab.store)
    with pytest.raises(UsageError, match="no place"):
        render.render(table, "csv", wide=True, published=published.blocks(table))
