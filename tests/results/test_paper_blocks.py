"""Tables of one paper: its rows as printed, its inconsistencies, and columns over some of their clips."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
from results_lab import Lab

from bench.block_work import PlannedBlock
from bench.blocks import TableBlock
from bench.protocols import select
from bench.results import published
from bench.results.grid import published_grid
from bench.results.leaderboard import Named, build_section
from bench.results.paper_tables import build
from bench.results.render import FORMATS, render
from bench.results.some_clips import some_clips
from bench.results.table import Group, Table

SEED = "seed-003"


def test_a_table_stands_in_the_papers_order_and_digits() -> None:
    block = published.table_of(SEED, "Table 1", "real audio/matched", "T", {"Shared-Latent (ours)": "hierspeech"})
    grid = published_grid(block)
    assert [row[0][0] for row in grid.rows] == [
        "Wav2Lip", "TalkLip", "IP-LAP", "AVTFG", "PLGAN", "Diff2Lip", "Shared-Latent (ours) = hierspeech",
    ]  # fmt: skip
    assert [heading.split()[0] for heading in grid.headings] == ["SSIM", "PSNR", "FID", "LSE-C", "LSE-D", "CSIM"]
    assert list(grid.rows[-1][1]) == ["0.92", "30.90", "4.93", "7.97", "6.18", "0.85"]
    assert block.dataset == "LRS2" and block.task == "a2v"


def test_table_4_is_in_per_cent_like_the_measured_columns() -> None:
    grid = published_grid(published.table_of(SEED, "Table 4", None, "T", {}))
    shown = {row[0][0]: dict(zip(grid.headings, row[1], strict=True)) for row in grid.rows}
    assert shown["Ground Truth"]["WER % ↓"] == "4.47" and shown["Ground Truth"]["SECS % ↑"] == "–"
    assert shown["HierSpeech++"]["SECS % ↑"] == "72.00"


def test_every_block_has_its_own_remarks_and_no_other() -> None:
    one = published.remarks(SEED, "Table 1", "TTS audio/matched")
    assert len(one) == 2 and all(line.startswith("WARNING") for line in one)
    assert len(published.remarks(SEED, "Table 1", None)) == 3
    assert published.remarks(SEED, "Table 5", None) == [] == published.remarks("2604.15923", "Table 1", None)


@pytest.mark.parametrize("table", ["Table 1", "Table 2", "Table 3"])
def test_the_numbers_in_the_remarks_are_the_papers(table: str) -> None:
    printed = {row.printed for row in published.load() if row.place.source == SEED}
    for remark in published.remarks(SEED, table, None):
        assert set(re.findall(r"\d+\.\d+", remark)) <= printed, remark


def test_a_column_over_some_clips_is_that_of_these_clips(lab: Lab) -> None:
    run = lab.fill(lab.run("talker"), 0.3, seed=1, failing={3: "no_face"}, missing=[5], pending=[7])
    whole = lab.store.scores(run.id, "set/toy@1")
    wanted = {f"clip{i:03}" for i in (1, 3, 5, 7, 11)}
    some = some_clips(whole, wanted)
    assert list(some.clip_ids) == sorted(wanted)
    assert (some.n, some.n_scored, some.n_failed, some.n_pending) == (5, 2, 2, 1)
    assert some.failures == {"no_face": 1, "missing_output": 1}
    scored = [clip for clip, ok in zip(whole.clip_ids, whole.ok, strict=True) if ok]
    for place, clip in enumerate(["clip001", "clip011"]):
        assert np.array_equal(some.arrays[place]["x"], whole.arrays[scored.index(clip)]["x"])
    ratio = some_clips(lab.store.scores(run.id, "wer/toy@1"), wanted)
    assert np.isfinite(ratio.parts["edits"]).tolist() == [True, False, False, False, True]
    assert some_clips(whole, set(whole.clip_ids)) is whole


def test_papers_rows_follow_their_section_in_every_format(lab: Lab) -> None:
    run, other = lab.fill(lab.run("talker"), 0.2), lab.fill(lab.run("talker", seed=1), 0.4)
    group = Group("demo", "test", "a2v, t2av", "matched", "real", "")
    chosen = select(["sim/toy@1", "wer/toy@1"], runnable=False)
    runs = [Named(other, "second best", {"clip000", "clip001"}), Named(run, "best", {"clip000", "clip001"})]
    made = build_section(lab.store, group, runs, chosen, "Block one", ["a note"])
    assert made.notes[0] == "a note" and {row.n_clips for row in made.rows} == {2}
    assert [row.label for row in made.rows] == ["second best", "best"], "in the order of the file"
    block = published.table_of(SEED, "Table 3", None, "PAPER", {})
    table = Table([replace(made, beside=[block]), replace(made, title="Block two")])
    for kind in FORMATS:
        text = render(table, kind)
        if kind in {"md", "table", "html", "latex"}:
            at = [text.index(words) for words in ("Block one", "PAPER", "30.42", "Block two")]
            assert at == sorted(at), kind
        assert "second best" in text and "30.42" in text
    assert render(table, "csv").startswith("table,dataset,split,task")
    assert not render(Table([replace(made, title="")]), "csv").startswith("table,")


HICODIT = "2604.15923"


def _planned(dataset: str, block: TableBlock, no_data: str = "no data root") -> PlannedBlock:
    return PlannedBlock(
        block, dataset, [], select(["sim/toy@1"], runnable=False), {"hicodit": "no weights"}, {}, no_data
    )


def test_papers_rows_stand_beside_their_own_data_set(lab: Lab) -> None:
    tables = [{"source": HICODIT, "table": number} for number in (1, 2, 4, 5, 6)]
    block = TableBlock.model_validate(
        {"name": "vts", "title": "V", "task": "vts", "systems": ["hicodit"], "published": tables}
    )
    named = {"lrs3": "LRS3", "lrs2": "LRS2", "cinepile": "CinePile"}
    for name, theirs in named.items():
        made = build(lab.store, [_planned(name, block)], True)
        beside = made.sections[0].beside
        assert all(theirs in one.dataset for one in beside)
        places = [one.title.split(", ")[2].split(";")[0] for one in beside]
        expected = {"lrs3": ["Table 1", "Table 4", "Table 5"], "lrs2": ["Table 2", "Table 4", "Table 5"]}
        assert places == expected.get(name, ["Table 6"])
        assert made.sections[0].notes == ["Nothing measured here. no data root"]
    demo = build(lab.store, [_planned("demo", block)], True).sections[0].beside
    assert len(demo) == 6 and all(one.remarks[0].startswith("Other data") for one in demo), "table 5 has two data sets"
    both = build(lab.store, [_planned(name, block) for name in ("demo", "lrs3", "cinepile")], True).sections
    assert [one.dataset for one in both[0].beside] == ["LRS2", "LRS2"], "the others stand beside their own"
    for kind in FORMATS:
        text = render(Table(both), kind)
        assert "29.41" in text or "0.2941" in text, kind
    bare = build(lab.store, [_planned("lrs3", block)], False)
    assert bare.sections == [] and bare.notes == ["V · lrs3: no row: no data root"]


def test_listeners_verdicts_add_up_and_stay_in_their_own_block() -> None:
    grid = published_grid(published.table_of(HICODIT, "Table 4", None, "T", {}))
    assert list(grid.headings) == ["Win-rate % ↑", "Neutral-rate %", "Loss-rate % ↓"]
    assert grid.rows[0][0][0] == "HiCoDiT vs AlignDiT" and len(grid.rows) == 4
    assert list(grid.rows[0][1]) == ["57.00", "4.90", "38.10"]
    assert all(sum(map(float, values)) == pytest.approx(100) for _, values in grid.rows)
