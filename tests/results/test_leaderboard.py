"""The table object: values, counts, ranks, ties, labels, warnings, cache."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from results_lab import Lab, sha

from bench.api import DataError, UsageError
from bench.results import leaderboard, stats
from bench.results.table import Key
from bench.store import Store
from bench.store_records import OutputRecord, ScoreRecord, cost_reference

WER, SIM, SPREAD, OFFSET = (
    Key("wer/toy@1", "wer"), Key("sim/toy@1", "sim"), Key("set/toy@1", "spread"), Key("offset/toy@1", "offset")
)  # fmt: skip


def rows(lab: Lab, **options) -> dict:
    (section,) = leaderboard.build(lab.store, **options).sections
    return {row.label: row for row in section.rows}


def test_values_and_intervals_are_those_of_the_stored_clips(filled: Lab) -> None:
    run = filled.store.runs(system="talker")[0]
    column = filled.store.scores(run.id, "wer/toy@1")
    edits, words = column.parts["edits"], column.parts["ref_words"]
    cell = rows(filled)["talker"].cells[WER]
    assert cell.value == pytest.approx(edits.sum() / words.sum())
    drawn = np.random.default_rng(0).integers(0, 20, size=(1000, 20))
    expected = np.percentile(edits[drawn].sum(axis=1) / words[drawn].sum(axis=1), [2.5, 97.5])
    assert cell.interval == pytest.approx(expected)
    assert cell.speakers is not None
    assert cell.n_speakers == 3
    assert (cell.n_scored, cell.n_failed, cell.n_pending, cell.complete) == (20, 0, 0, True)


def test_corpus_values_come_from_the_metric_and_are_kept(filled: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    run = filled.store.runs(system="talker")[0]
    numbers = np.array([a["x"][0] for a in filled.store.scores(run.id, "set/toy@1").arrays])
    first = rows(filled)["talker"].cells[SPREAD]
    assert first.value == pytest.approx(numbers.var())
    assert first.interval is not None
    assert first.speakers is not None

    def broken(*args: object, **kwargs: object) -> object:
        raise AssertionError("computed again")

    monkeypatch.setattr(leaderboard, "corpus_result", broken)
    assert rows(filled)["talker"].cells[SPREAD] == first


def test_a_changed_output_is_not_answered_from_the_cache(lab: Lab) -> None:
    run = lab.fill(lab.run("talker"))
    before = rows(lab)["talker"].cells[SPREAD].value
    clip = lab.clip(0)
    new = OutputRecord(run.id, clip.clip_id, "ok", sha("another"))
    lab.store.add_output(new, {}, replace=True)
    _, _, arrays = lab.numbers(np.random.default_rng(99), 0, 5.0)["set/toy@1"]
    lab.store.add_scores([ScoreRecord(new.sha256, clip.reference_sha256, "set/toy@1", "", "ok", arrays=arrays)])
    assert rows(lab)["talker"].cells[SPREAD].value != before


def test_a_set_value_that_the_metric_refuses_is_told_with_its_kind(lab: Lab) -> None:
    lab.fill(lab.run("talker", n=3))
    (section,) = leaderboard.build(lab.store).sections
    cell = section.rows[0].cells[SPREAD]
    assert cell.value is None
    assert not cell.complete
    assert cell.problem == "too_short: 3 clips, 4 needed"
    assert any("no set value: too_short" in note for note in section.notes)


def test_a_failing_clip_changes_n_failed_and_not_the_value(lab: Lab) -> None:
    lab.fill(lab.run("good", n=20), 0.3, seed=5)
    lab.fill(lab.run("more", n=21), 0.3, seed=5, failing={20: "no_face"})
    found = rows(lab)
    good, more = found["good"], found["more"]
    for key in (WER, SIM, SPREAD):
        assert (good.cells[key].value, good.cells[key].interval) == (more.cells[key].value, more.cells[key].interval)
        assert (good.cells[key].n_failed, more.cells[key].n_failed) == (0, 1)
    assert more.cells[WER].failures == {"no_face": 1}
    assert "†" in more.marks


def test_incomplete_pending_and_missing_cells_are_not_ranked(lab: Lab) -> None:
    lab.fill(lab.run("best-but-failed"), 0.0, failing={3: "no_face"})
    lab.fill(lab.run("best-but-pending"), 0.0, pending=[4])
    lab.fill(lab.run("best-but-silent"), 0.0, missing=[5])
    lab.fill(lab.run("a"), 0.5, seed=1)
    lab.fill(lab.run("b"), 0.7, seed=2)
    found = rows(lab)
    assert found["a"].cells[WER].best
    assert [found[name].cells[WER].rank for name in ("a", "b")] == [1, 2]
    for name in ("best-but-failed", "best-but-pending", "best-but-silent"):
        cell = found[name].cells[WER]
        assert cell.rank is None
        assert not (cell.best or cell.tied or cell.complete)
    assert found["best-but-pending"].cells[WER].n_pending == 1
    assert found["best-but-silent"].cells[WER].failures == {"missing_output": 1}
    assert list(found)[:2] == ["a", "b"]


def test_ties_are_values_inside_the_interval(lab: Lab) -> None:
    lab.fill(lab.run("a"), 0.30, seed=1)
    lab.fill(lab.run("b"), 0.31, seed=2)
    lab.fill(lab.run("far"), 0.9, seed=3)
    found = rows(lab)
    cells = {name: row.cells[SIM] for name, row in found.items()}
    best, other = sorted((cells["a"], cells["b"]), key=lambda cell: -cell.value)
    assert best.best
    assert other.tied
    assert not cells["far"].tied
    assert cells["far"].rank == 3


def test_controls_are_shown_and_never_best_beside_a_system(filled: Lab) -> None:
    (section,) = leaderboard.build(filled.store).sections
    found = {row.label: row for row in section.rows}
    assert not section.controls_ranked
    assert list(found) == ["ground-truth", "talker", "hicodit", "shuffled"]
    assert found["talker"].cells[WER].best
    assert found["ground-truth"].cells[WER].rank is None
    assert found["shuffled"].cells[WER].rank is None


def test_controls_alone_are_ranked_without_ground_truth(lab: Lab) -> None:
    for place, name in enumerate(("ground-truth", "still-face", "shuffled")):
        lab.fill(lab.run(name, tier="control"), 0.4 * place, seed=place)
    (section,) = leaderboard.build(lab.store).sections
    found = {row.label: row for row in section.rows}
    assert section.controls_ranked
    assert found["still-face"].cells[WER].best
    assert found["ground-truth"].cells[WER].rank is None


def test_limited_runs_are_marked_and_not_ranked_beside_full_ones(lab: Lab) -> None:
    lab.fill(lab.run("full"), 0.6)
    lab.fill(lab.run("other"), 0.7)
    lab.fill(lab.run("quick", n=12, n_split=20), 0.0)
    (section,) = leaderboard.build(lab.store).sections
    found = {row.label: row for row in section.rows}
    assert found["quick"].limited
    assert found["quick"].marks == "‡§"
    assert found["quick"].cells[WER].rank is None
    assert found["full"].cells[WER].best
    assert any("quick 12/20" in note for note in section.notes)


def test_runs_limited_alike_are_ranked_among_themselves(lab: Lab) -> None:
    lab.fill(lab.run("a", n=12, n_split=20), 0.2)
    lab.fill(lab.run("b", n=12, n_split=20), 0.6)
    found = rows(lab)
    assert found["a"].cells[WER].best
    assert found["a"].marks == "‡"


def test_runs_of_one_system_are_told_apart_by_what_differs(lab: Lab) -> None:
    plain = lab.run("talker")
    for run in (
        plain,
        lab.run("talker", seed=1),
        lab.run("talker", settings={"steps": 4}),
        lab.run("talker", weights={"a.pt": "f" * 64}),
        lab.run("alone", seed=7),
    ):
        lab.fill(run)
    names = set(rows(lab))
    assert names == {
        "alone",
        "talker [seed 0]" if "talker [seed 0]" in names else f"talker [run {plain.id[:8]}]",
        "talker [seed 1]",
        "talker [seed 0, steps 4]",
        "talker [seed 0, weights a.pt ffffffff]",
    }


def test_groups_are_never_mixed(lab: Lab) -> None:
    lab.fill(lab.run("talker"))
    lab.fill(lab.run("talker", reference="same"))
    lab.fill(lab.run("talker", task="tts"))
    sections = leaderboard.build(lab.store).sections
    assert [(s.group.task, s.group.reference) for s in sections] == [
        ("tts", "other"), ("vts", "other"), ("vts", "same")
    ]  # fmt: skip
    assert all(len(section.rows) == 1 for section in sections)


def test_two_protocols_of_a_family_have_two_columns(lab: Lab) -> None:
    lab.fill(lab.run("talker"), protocols=("sim/toy@1", "sim/toy-other@1"))
    (section,) = leaderboard.build(lab.store).sections
    assert [column.protocol.id for column in section.columns] == ["sim/toy-other@1", "sim/toy@1"]


def test_direction_zero_ranks_by_size(lab: Lab) -> None:
    lab.fill(lab.run("left"), -0.5, protocols=("offset/toy@1",))
    lab.fill(lab.run("right"), 0.2, protocols=("offset/toy@1",))
    found = rows(lab)
    assert found["left"].cells[OFFSET].value < 0
    assert found["right"].cells[OFFSET].best


def test_a_slow_hour_of_the_machine_does_not_move_rows(lab: Lab) -> None:
    """Costs have ranks in their own column, and no say in the order of rows."""
    slow, quick = (lab.fill(lab.run(name), 0.3, seed=1, protocols=("sim/toy@1", "cost/toy@1")) for name in "ab")
    found = lab.store.outputs(slow.id)
    keys = [(output.sha256, cost_reference(slow.id, clip), "cost/toy@1", "") for clip, output in found.items()]
    lab.store.add_scores([ScoreRecord(*key, "ok", {"rtf": 9.0}) for key in keys], replace=True)
    shown = rows(lab)
    assert list(shown) == ["a", "b"] and shown["a"].run.id == slow.id != quick.id
    assert [row.cells[Key("cost/toy@1", "rtf")].rank for row in shown.values()] == [2, 1]


def test_metrics_choose_columns_and_unknown_ones_are_refused(filled: Lab) -> None:
    (section,) = leaderboard.build(filled.store, metrics=["sim"]).sections
    assert {column.protocol.family for column in section.columns} == {"sim"}
    with pytest.raises(UsageError, match="'wre' is unknown") as error:
        leaderboard.build(filled.store, metrics="wre")
    assert "wer" in error.value.hint


def test_a_protocol_without_plug_in_is_named_and_left_out(lab: Lab) -> None:
    run = lab.fill(lab.run("talker"))
    output = lab.store.outputs(run.id)["clip000"]
    score = ScoreRecord(output.sha256, lab.clip(0).reference_sha256, "gone/away@1", "", "ok", {"x": 1.0})
    lab.store.add_run_protocols(run.id, ["gone/away@1"])
    lab.store.add_scores([score])
    table = leaderboard.build(lab.store)
    assert any("gone/away@1" in note and "left out" in note for note in table.notes)
    assert all(column.protocol.id != "gone/away@1" for column in table.sections[0].columns)


def test_a_set_value_outside_its_range_is_an_error(lab: Lab) -> None:
    run = lab.run("talker")
    lab.fill(run, protocols=())
    scores = [
        ScoreRecord(
            lab.store.outputs(run.id)[c.clip_id].sha256, c.reference_sha256, "sim/toy@1", "", "ok", {"sim": 7.0}
        )
        for c in lab.store.run_clips(run.id)
    ]
    lab.store.add_run_protocols(run.id, ["sim/toy@1"])
    lab.store.add_scores(scores)
    with pytest.raises(DataError, match=r"sim = 7.0 is outside its declared range"):
        leaderboard.build(lab.store)


def test_ground_truth_worse_than_a_system_raises_an_alarm(lab: Lab) -> None:
    lab.fill(lab.run("ground-truth", tier="control"), 0.5, seed=1)
    lab.fill(lab.run("talker"), 0.1, seed=2)
    (section,) = leaderboard.build(lab.store).sections
    alarms = [note for note in section.notes if note.startswith("ALARM")]
    assert any("WER (wer/toy@1)" in note and "talker" in note for note in alarms)
    assert not any("RTF" in note for note in alarms)


def test_missing_outputs_count_as_deletions_in_a_second_number(lab: Lab) -> None:
    lab.fill(lab.run("ground-truth", tier="control"), 0.0)
    run = lab.fill(lab.run("talker"), 0.3, missing=[0, 7])
    column = lab.store.scores(run.id, "wer/toy@1")
    edits, words = np.nansum(column.parts["edits"]), np.nansum(column.parts["ref_words"])
    lost = (4 + 0 % 3) + (4 + 7 % 3)
    cell = rows(lab)["talker"].cells[Key("wer/toy@1", "missing_as_deletion")]
    assert cell.value == pytest.approx((edits + lost) / (words + lost))
    assert (cell.n_scored, cell.n_failed) == (20, 0)
    assert Key("wer/toy@1", "missing_as_deletion") not in rows(lab)["ground-truth"].cells


def test_no_second_number_where_the_lost_words_are_unknown(lab: Lab) -> None:
    lab.fill(lab.run("talker"), 0.3, missing=[0])
    assert Key("wer/toy@1", "missing_as_deletion") not in rows(lab)["talker"].cells


def test_a_run_whose_clips_all_failed_has_no_value(lab: Lab) -> None:
    lab.fill(lab.run("talker"), missing=range(20))
    cell = rows(lab)["talker"].cells[WER]
    assert (cell.value, cell.n_scored, cell.n_failed) == (None, 0, 20)


def test_flags_of_metrics_are_counted(filled: Lab) -> None:
    (section,) = leaderboard.build(filled.store).sections
    assert any(note.startswith("sim/toy@1: fps_converted on") and "talker 5/20" in note for note in section.notes)


def test_fewer_than_ten_clips_have_no_interval(lab: Lab) -> None:
    lab.fill(lab.run("talker", n=9))
    cell = rows(lab)["talker"].cells[WER]
    assert cell.value is not None
    assert cell.interval is None
    assert cell.speakers is None


def test_chosen_runs_filters_and_suggests(filled: Lab) -> None:
    runs = leaderboard.chosen_runs(filled.store, system=["talker", "shuffled"])
    assert {run.system for run in runs} == {"talker", "shuffled"}
    with pytest.raises(UsageError, match="no run here has system 'talkr'") as error:
        leaderboard.chosen_runs(filled.store, system=["talkr"])
    assert "'talker'" in error.value.hint


def test_an_empty_store_says_what_to_do(lab: Lab) -> None:
    with pytest.raises(UsageError, match="has no run yet"):
        leaderboard.chosen_runs(lab.store)


def test_a_store_opened_for_reading_gives_the_same_table(filled: Lab) -> None:
    root = filled.store.root
    expected = rows(filled)
    filled.store.close()
    with Store.open(root, write=False) as store:
        (section,) = leaderboard.build(store).sections
    assert {row.label: row for row in section.rows} == expected


def test_the_order_of_runs_does_not_matter(filled: Lab) -> None:
    runs = filled.store.runs()
    assert leaderboard.build(filled.store, runs) == leaderboard.build(filled.store, runs[::-1])


def test_statistics_need_the_declared_parts(filled: Lab) -> None:
    run = filled.store.runs(system="talker")[0]
    column = replace(filled.store.scores(run.id, "wer/toy@1"), parts={})
    value = leaderboard.catalogue().entries["wer/toy@1"].protocol.values[0]
    with pytest.raises(DataError, match="scores without 'edits'"):
        leaderboard.statistic(column, value)
    assert stats.RESAMPLES == 1000
