"""Several stores read as one: the same tables as of one store that holds everything, and conflicts that are told."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest
from results_lab import ALL, TOY, Lab, sha

from bench import cli
from bench.api import DataError, UsageError
from bench.results import export
from bench.results.compare import compare
from bench.results.leaderboard import build
from bench.results.render import render
from bench.store import Store
from bench.store_merge import MergedStore, open_stores
from bench.store_records import OutputRecord, RunClip, RunRecord, ScoreRecord


@pytest.fixture
def new_lab(tmp_path: Path) -> Iterator:
    """Makes further labs, each with a store of its own; all are closed at the end."""
    with ExitStack() as stack:
        yield lambda name: Lab(stack.enter_context(Store.open(tmp_path / name)))


def tables(paths: list[Path]) -> tuple[str, list[dict]]:
    """The leaderboard as CSV, and the rows of the export in one order."""
    with open_stores(paths) as store:
        runs = sorted(store.runs(), key=lambda run: run.id)
        return render(build(store), "csv"), list(export.records(store, runs))


def halves(lab: Lab, new_lab) -> list[Lab]:
    """The runs of a filled lab in two stores: each has every second clip of each run."""
    parts = [new_lab("even"), new_lab("odd")]
    for run in lab.store.runs():
        outputs = lab.store.outputs(run.id)
        rows = {pid: dict(lab.store.score_rows(run.id, pid)) for pid in lab.store.protocols(run.id)}
        for place, part in enumerate(parts):
            clips = lab.store.run_clips(run.id)[place::2]
            part.store.add_run(run)
            part.store.add_run_clips(run.id, clips)
            part.store.add_run_protocols(run.id, ALL)
            for clip in clips:
                part.store.add_output(outputs[clip.clip_id])
            part.store.add_scores(
                [found[clip.clip_id] for found in rows.values() for clip in clips if clip.clip_id in found]
            )
    return parts


def test_one_path_is_that_store_alone(filled: Lab) -> None:
    with open_stores([filled.store.root, filled.store.root]) as store:
        assert type(store) is Store
        assert not store.writable


def test_no_path_and_a_missing_store_are_refused(filled: Lab, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no store is named"):
        open_stores([])
    with pytest.raises(DataError, match="no store at"):
        open_stores([filled.store.root, tmp_path / "absent"])


@pytest.mark.parametrize("swapped", [False, True])
def test_clips_of_one_run_in_two_stores_give_the_table_of_one(filled: Lab, new_lab, swapped: bool) -> None:
    parts = halves(filled, new_lab)
    assert tables([parts[0].store.root]) != tables([filled.store.root])
    paths = [part.store.root for part in parts]
    assert tables(paths[::-1] if swapped else paths) == tables([filled.store.root])


def test_runs_of_several_stores_stand_in_one_section_and_can_be_compared(filled: Lab, new_lab) -> None:
    other = new_lab("other")
    other.fill(other.run("elsewhere"), 0.2, seed=9)
    with open_stores([filled.store.root, other.store.root]) as store:
        [section] = build(store).sections
        assert {row.label for row in section.rows} == {"ground-truth", "talker", "hicodit", "shuffled", "elsewhere"}
        runs = {run.system: run for run in store.runs()}
        assert compare(store, runs["elsewhere"], runs["talker"]).n_common == 20
        assert isinstance(store, MergedStore)
        assert store.unequal == []


def test_a_store_twice_under_two_paths_is_all_equal(filled: Lab, tmp_path: Path) -> None:
    shutil.copytree(filled.store.root, tmp_path / "copy")
    with open_stores([filled.store.root, tmp_path / "copy"]) as store:
        assert isinstance(store, MergedStore)
        assert store.unequal == []
    assert tables([filled.store.root, tmp_path / "copy"]) == tables([filled.store.root])


def test_nothing_is_written_into_the_stores(filled: Lab, new_lab) -> None:
    parts = halves(filled, new_lab)
    before = [part.store.digest() for part in parts]
    with open_stores([part.store.root for part in parts]) as store:
        build(store)
        with pytest.raises(UsageError, match="reading only"):
            store.add_run(replace(store.runs()[0], id="new"))
    assert [part.store.digest() for part in parts] == before
    assert [part.store.get_cached("key") for part in parts] == [None, None]


def disagreeing(new_lab) -> tuple[Lab, Lab, RunRecord]:
    """Two stores with one run: clip001 has another output, clip002 another score, clip003 another reference."""
    first, second = new_lab("first"), new_lab("second")
    run = first.fill(first.run("talker"), 0.3, protocols=["sim/toy@1"])
    second.store.add_run(run)
    clips = [
        RunClip(clip.clip_id, clip.speaker, sha("else") if clip.clip_id == "clip003" else clip.reference_sha256, 3.0)
        for clip in first.store.run_clips(run.id)
    ]
    second.store.add_run_clips(run.id, clips)
    for clip_id, output in first.store.outputs(run.id).items():
        second.store.add_output(replace(output, sha256=sha("other") if clip_id == "clip001" else output.sha256))
    score = dict(first.store.score_rows(run.id, "sim/toy@1"))["clip002"]
    second.store.add_scores([replace(score, values={"sim": 0.125})])
    return first, second, run


def test_unequal_results_are_told_and_the_first_store_stands(new_lab) -> None:
    first, second, _ = disagreeing(new_lab)
    with open_stores([first.store.root, second.store.root]) as store:
        assert isinstance(store, MergedStore)
        told = {(conflict.subject, conflict.key[1]) for conflict in store.unequal if conflict.subject != "score"}
        assert told == {("clip", "clip003"), ("output", "clip001")}
        [score] = [conflict for conflict in store.unequal if conflict.subject == "score"]
        assert (score.kept["values"]["sim"] != 0.125, score.other["values"]) == (True, {"sim": 0.125})
    assert tables([first.store.root, second.store.root]) == tables([first.store.root])


def test_the_command_line_prints_conflicts_and_ends_with_3(new_lab, capsys: pytest.CaptureFixture[str]) -> None:
    first, second, _ = disagreeing(new_lab)
    outs = ["--out", str(first.store.root), "--out", str(second.store.root), "--plugin", str(TOY)]
    assert cli.invoke(["leaderboard", "--format", "csv", *outs]) == 3
    printed = capsys.readouterr()
    assert "talker" in printed.out
    assert "the stores disagree (that of the store named first stands): 3" in printed.err
    assert "'clip001'" in printed.err
    assert re.search(r"score sim/toy@1 of output \w{12}: values sim 0\.\d+ and 0\.125$", printed.err, re.MULTILINE)
    assert cli.invoke(["leaderboard", "--format", "csv", *outs[:2], *outs[4:]]) == 0


def test_a_failure_that_is_not_final_gives_way(new_lab) -> None:
    first, second = new_lab("first"), new_lab("second")
    run = first.run("talker", n=1)
    lost = OutputRecord(run.id, "clip000", "failed", kind="model_error", detail="worker_lost", final=False)
    first.store.add_output(lost)
    second.fill(second.run("talker", n=1), protocols=["sim/toy@1"])
    for paths in ([first, second], [second, first]):
        with open_stores([lab.store.root for lab in paths]) as store:
            assert isinstance(store, MergedStore)
            assert (store.outputs(run.id)["clip000"].status, store.unequal) == ("ok", [])
            assert store.scores(run.id, "sim/toy@1").n_scored == 1


def test_a_score_that_is_not_final_gives_way(new_lab) -> None:
    first, second = new_lab("first"), new_lab("second")
    run = first.run("talker", n=1)
    second.run("talker", n=1)
    output, reference = sha("out"), first.clip(0).reference_sha256
    for lab in (first, second):
        lab.store.add_output(OutputRecord(run.id, "clip000", "ok", output))
    key = (output, reference, "sim/toy@1", "")
    first.store.add_scores([ScoreRecord(*key, "failed", kind="model_error", final=False)])
    second.store.add_scores([ScoreRecord(*key, "ok", {"sim": 0.5})])
    with open_stores([first.store.root, second.store.root]) as store:
        assert store.scores(run.id, "sim/toy@1").values["sim"].tolist() == [0.5]


def test_two_times_of_one_making_are_no_conflict(new_lab) -> None:
    first, second = new_lab("first"), new_lab("second")
    for lab, seconds in ((first, 0.5), (second, 0.75)):
        run = lab.run("talker", n=1)
        lab.store.add_output(OutputRecord(run.id, "clip000", "ok", sha("out"), seconds=seconds))
        lab.store.add_scores([ScoreRecord(sha("out"), f"{run.id}/clip000", "cost/toy@1", "", "ok", {"rtf": seconds})])
    with open_stores([first.store.root, second.store.root]) as store:
        assert isinstance(store, MergedStore)
        assert store.unequal == []
        assert store.scores(run.id, "cost/toy@1").values["rtf"].tolist() == [0.5]


def test_media_and_features_are_read_where_they_lie(new_lab, tmp_path: Path) -> None:
    import numpy as np

    labs = [new_lab("first"), new_lab("second")]
    for place, lab in enumerate(labs):
        run = lab.run("talker", n=2)
        file = lab.store.stage_dir() / "x.wav"
        file.write_bytes(bytes([place]))
        lab.store.add_output(OutputRecord(run.id, f"clip00{place}", "ok", sha(place)), {"audio": file})
        lab.store.put_features(sha(place), "mel", {"x": np.array([place])})
    with open_stores([lab.store.root for lab in labs]) as store:
        for place in (0, 1):
            output = store.outputs(run.id)[f"clip00{place}"]
            assert (store.root / str(output.audio)).read_bytes() == bytes([place])
            assert store.get_features(sha(place), ["mel"])["mel"]["x"].tolist() == [place]
        with pytest.raises(UsageError, match="no one folder"):
            store.media_dir(run.id)
        with pytest.raises(UsageError, match="no digest"):
            store.digest()


def test_unequal_arrays_are_a_conflict_and_equal_ones_are_not(new_lab) -> None:
    import numpy as np
    from safetensors.numpy import save

    labs = [new_lab("first"), new_lab("second"), new_lab("third")]
    for lab, number in zip(labs, (1.0, 1.0, 2.0), strict=True):
        run = lab.run("talker", n=1)
        lab.store.add_output(OutputRecord(run.id, "clip000", "ok", sha("out")))
        key = (sha("out"), lab.clip(0).reference_sha256, "set/toy@1", "")
        lab.store.add_scores([ScoreRecord(*key, "ok", arrays=save({"x": np.array([number])}))])
    roots = [lab.store.root for lab in labs]
    with open_stores(roots[:2]) as store:
        assert isinstance(store, MergedStore)
        assert store.unequal == []
    with open_stores(roots[1:]) as store:
        assert isinstance(store, MergedStore)
        assert [conflict.key[2] for conflict in store.unequal] == ["set/toy@1"]
        assert [arrays["x"].tolist() for arrays in store.scores(run.id, "set/toy@1").arrays] == [[1.0]]
