"""Paired comparison of runs, against SciPy and by hand."""

from __future__ import annotations

import csv
import io
import json

import numpy as np
import pytest
import scipy.stats
from results_lab import Lab, sha

from bench import protocols
from bench.api import UsageError
from bench.results import compare, render_compare, significance
from bench.store_records import OutputRecord, RunClip, ScoreRecord


def report(lab: Lab, first: str = "talker", second: str = "hicodit", **options) -> compare.Report:
    ((a, b),) = compare.resolve(lab.store, first, second)
    return compare.compare(lab.store, a, b, **options)


def columns(found: compare.Report) -> dict[str, compare.Comparison]:
    return {c.column.value.name: c for c in found.comparisons}


def clip_values(lab: Lab, system: str, protocol: str, name: str) -> np.ndarray:
    return lab.store.scores(lab.store.runs(system=system)[0].id, protocol).values[name]


def test_mean_column_equals_scipy(filled: Lab) -> None:
    first, second = (clip_values(filled, s, "sim/toy@1", "sim") for s in ("talker", "hicodit"))
    found = columns(report(filled))["sim"]
    assert found.difference == pytest.approx((first - second).mean())
    assert found.effect == pytest.approx((first - second).mean() / (first - second).std(ddof=1))
    drawn = np.random.default_rng(0).integers(0, 20, size=(1000, 20))
    assert found.interval == pytest.approx(np.percentile((first - second)[drawn].mean(axis=1), [2.5, 97.5]))
    expected = scipy.stats.permutation_test(
        (first, second), lambda a, b, axis: a.mean(axis) - b.mean(axis), permutation_type="samples",
        vectorized=True, n_resamples=9999, rng=np.random.default_rng(0),
    )  # fmt: skip
    assert found.p == pytest.approx(expected.pvalue, abs=0.02)
    assert (found.wins, found.ties, found.losses) == tuple(
        int(x) for x in ((first > second).sum(), (first == second).sum(), (first < second).sum())
    )
    assert found.better == "first"


def test_wins_follow_the_direction(filled: Lab) -> None:
    first, second = (clip_values(filled, s, "wer/toy@1", "wer") for s in ("talker", "hicodit"))
    found = columns(report(filled))["wer"]
    assert found.wins == (first < second).sum()
    assert found.losses == (first > second).sum()
    assert found.wins + found.ties + found.losses == found.n == 20


def test_direction_zero_compares_sizes(lab: Lab) -> None:
    lab.fill(lab.run("left"), -0.6, protocols=("offset/toy@1",))
    lab.fill(lab.run("right"), 0.1, protocols=("offset/toy@1",))
    found = columns(report(lab, "left", "right"))["offset"]
    assert (found.wins, found.losses) == (0, 20)


def test_p_values_are_adjusted_by_holm_over_the_report(filled: Lab) -> None:
    found = report(filled).comparisons
    tested = [c.p for c in found if c.p is not None]
    assert len(tested) >= 4
    assert [c.p_holm for c in found if c.p is not None] == pytest.approx(significance.holm(tested))


def test_set_values_are_compared_by_the_metric(filled: Lab) -> None:
    found = columns(report(filled))["spread"]
    numbers = []
    for system in ("talker", "hicodit"):
        run = filled.store.runs(system=system)[0]
        numbers.append(np.array([a["x"][0] for a in filled.store.scores(run.id, "set/toy@1").arrays]))
    assert found.difference == pytest.approx(numbers[0].var() - numbers[1].var())
    drawn = np.random.default_rng(0).integers(0, 20, size=(1000, 20))
    expected = np.percentile(numbers[0][drawn].var(axis=1) - numbers[1][drawn].var(axis=1), [2.5, 97.5])
    assert found.interval == pytest.approx(expected)
    assert found.wins is None
    assert 0 < found.p <= 1


def test_only_common_scored_clips_count(lab: Lab) -> None:
    lab.fill(lab.run("a"), 0.2, failing={0: "no_face"}, seed=1)
    lab.fill(lab.run("b"), 0.5, failing={1: "no_face"}, missing=[2], seed=2)
    found = report(lab, "a", "b")
    keep = np.arange(3, 20)
    first, second = (clip_values(lab, s, "sim/toy@1", "sim")[keep] for s in ("a", "b"))
    sim = columns(found)["sim"]
    assert (found.n_common, sim.n) == (20, 17)
    assert sim.difference == pytest.approx((first - second).mean())
    assert "sim/toy@1: 3 common clips lack a value in one run" in found.notes


def test_clips_of_one_run_alone_are_left_out(lab: Lab) -> None:
    lab.fill(lab.run("a", n=15), 0.2)
    lab.fill(lab.run("b", n=20), 0.5)
    found = report(lab, "a", "b")
    assert found.n_common == 15
    assert any("0 clips of the first run alone, 5 of the second" in note for note in found.notes)


def test_clips_with_another_reference_are_left_out(lab: Lab) -> None:
    lab.fill(lab.run("a"), 0.2)
    run = lab.run("b", n=0, n_split=20)
    clips = [lab.clip(i) for i in range(20)]
    clips[4] = RunClip(clips[4].clip_id, "s1", sha("changed"), 3.0)
    lab.store.add_run_clips(run.id, clips)
    lab.fill(run, 0.5)
    found = report(lab, "a", "b")
    assert found.n_common == 19
    assert any("1 clips whose references differ" in note for note in found.notes)


def test_no_common_clip_is_an_error(lab: Lab) -> None:
    lab.fill(lab.run("a"), 0.2)
    run = lab.run("b", n=0, n_split=20)
    lab.store.add_run_clips(run.id, [RunClip("other", None, sha("x"), 1.0)])
    lab.fill(run)
    with pytest.raises(UsageError, match="no clip with an equal reference"):
        report(lab, "a", "b")


def test_equal_runs_do_not_differ(lab: Lab) -> None:
    lab.fill(lab.run("a"), 0.3, seed=1)
    lab.fill(lab.run("b"), 0.3, seed=1)
    for comparison in report(lab, "a", "b").comparisons:
        assert comparison.difference == pytest.approx(0, abs=1e-12)
        assert comparison.better == ""
        assert comparison.p == 1.0
        assert not comparison.clips


def test_greatest_differences_are_listed_greatest_first(filled: Lab) -> None:
    first, second = (clip_values(filled, s, "sim/toy@1", "sim") for s in ("talker", "hicodit"))
    clips = columns(report(filled, greatest=4))["sim"].clips
    order = np.argsort(-np.abs(first - second), kind="stable")[:4]
    assert [clip.clip_id for clip in clips] == [f"clip{i:03}" for i in order]
    assert [clip.first for clip in clips] == pytest.approx(first[order])


def test_systems_are_paired_in_every_group(lab: Lab) -> None:
    for system in ("a", "b"):
        lab.fill(lab.run(system))
        lab.fill(lab.run(system, task="tts"))
    lab.fill(lab.run("a", split="val"))
    pairs = compare.resolve(lab.store, "a", "b")
    assert sorted(first.task for first, _ in pairs) == ["tts", "vts"]
    assert all((a.task, a.split, a.system, b.system) == (b.task, b.split, "a", "b") for a, b in pairs)
    assert len(compare.resolve(lab.store, "a", "b", task="tts")) == 1


def test_runs_are_named_by_id_prefix(filled: Lab) -> None:
    a, b = (filled.store.runs(system=s)[0] for s in ("talker", "hicodit"))
    assert compare.resolve(filled.store, a.id[:10], b.id[:10]) == [(a, b)]


def test_several_runs_of_a_system_are_ambiguous(lab: Lab) -> None:
    lab.fill(lab.run("a"))
    lab.fill(lab.run("a", seed=1))
    lab.fill(lab.run("b"))
    with pytest.raises(UsageError, match="several runs of 'a'"):
        compare.resolve(lab.store, "a", "b")


def test_a_run_is_not_compared_with_itself(filled: Lab) -> None:
    with pytest.raises(UsageError, match="the same run"):
        compare.resolve(filled.store, "talker", "talker")


def test_unknown_names_are_refused(filled: Lab) -> None:
    with pytest.raises(UsageError, match="nobody"):
        compare.resolve(filled.store, "talker", "nobody")


def test_other_weights_of_a_protocol_are_not_compared(lab: Lab) -> None:
    lab.fill(lab.run("a"))
    run = lab.fill(lab.run("b"), protocols=("wer/toy@1",))
    lab.store.add_run_protocols(run.id, ["sim/toy@1"])
    scores = [
        ScoreRecord(
            lab.store.outputs(run.id)[c.clip_id].sha256, c.reference_sha256, "sim/toy@1", "w2", "ok", {"sim": 0.1}
        )
        for c in lab.store.run_clips(run.id)
    ]
    lab.store.add_scores(scores)
    found = report(lab, "a", "b")
    assert "sim" not in columns(found)
    assert any("different weights" in note for note in found.notes)


def test_few_clips_have_an_exact_p_and_no_interval(lab: Lab) -> None:
    lab.fill(lab.run("a", n=6), 0.2, seed=1)
    lab.fill(lab.run("b", n=6), 0.5, seed=2)
    found = columns(report(lab, "a", "b"))["sim"]
    assert found.interval is None
    assert found.p * 64 == pytest.approx(round(found.p * 64))


def test_formats(filled: Lab) -> None:
    reports = [report(filled)]
    text = render_compare.render(reports, "table")
    assert max(len(line) for line in text.splitlines()) <= 100
    assert "talker (first) against hicodit (second)" in text
    rows = list(csv.DictReader(io.StringIO(render_compare.render(reports, "csv"))))
    assert tuple(rows[0]) == render_compare.COLUMNS
    (body,) = json.loads(render_compare.render(reports, "json"))
    assert [row["metric"] for row in body["comparisons"]] == [row["metric"] for row in rows]
    assert float(rows[0]["difference"]) == body["comparisons"][0]["difference"]
    markdown = render_compare.render(reports, "md")
    assert "| metric | first | second |" in markdown
    with pytest.raises(UsageError, match="'latex' is unknown"):
        render_compare.render(reports, "latex")


def test_a_set_value_that_is_not_finite_is_left_out_with_a_note(filled: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    metric = type(protocols.catalogue().metric("set/toy@1"))
    monkeypatch.setattr(metric, "aggregate", lambda self, pid, value, arrays, counts: np.full(len(counts), np.nan))
    found = report(filled)
    assert "spread" not in columns(found)
    assert any("Spread left out: nan" in note for note in found.notes)


def test_outputs_that_failed_in_both_runs_are_no_tie(lab: Lab) -> None:
    for name in ("a", "b"):
        run = lab.fill(lab.run(name), 0.3, missing=[0])
        assert lab.store.outputs(run.id)["clip000"] == lab.store.outputs(run.id)["clip000"]
        assert isinstance(lab.store.outputs(run.id)["clip000"], OutputRecord)
    assert columns(report(lab, "a", "b"))["sim"].n == 19
