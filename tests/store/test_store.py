"""The store's records: what is added, found again, compared, removed."""

from __future__ import annotations

import math
import random
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.errors import DataError, UsageError
from bench.store import Store
from bench.store_media import safe_name
from bench.store_records import OutputRecord, RunClip, RunRecord, ScoreKey, ScoreRecord, cost_reference

RUN = RunRecord(
    id="a" * 64,
    system="ground-truth",
    version="1",
    tier="control",
    dataset="demo",
    split="test",
    task="a2v",
    settings={"x": [1, 2]},
    weights={"w": "0" * 64},
    config={"limit": 3},
    n_split=10,
)
P = "ssim/skimage-gaussian-gray@1"


@pytest.fixture
def store(tmp_path: Path):
    with Store.open(tmp_path / "store") as opened:
        opened.add_run(RUN)
        yield opened


def clips(*ids: str) -> list[RunClip]:
    return [RunClip(i, f"speaker of {i}", f"reference of {i}", 3.0) for i in ids]


def output(clip_id: str, sha: str | None = None, run: str = RUN.id, **more: Any) -> OutputRecord:
    return OutputRecord(run, clip_id, "ok", sha256=sha or f"output of {clip_id}", n_frames=75, **more)


def failed_output(clip_id: str, final: bool = True) -> OutputRecord:
    return OutputRecord(RUN.id, clip_id, "failed", kind="model_error", detail="it broke", final=final)


def score(clip_id: str, value: float = 0.5, protocol: str = P, weights: str = "w1", **more: Any) -> ScoreRecord:
    given = {"values": {"ssim": value}, "parts": {"n": 75.0}, **more}
    return ScoreRecord(f"output of {clip_id}", f"reference of {clip_id}", protocol, weights, "ok", **given)


def failure(clip_id: str, kind: str = "no_face", final: bool = True) -> ScoreRecord:
    key = (f"output of {clip_id}", f"reference of {clip_id}", P, "w1")
    return ScoreRecord(*key, "failed", kind=kind, detail="of clip", final=final)


def staged(store: Store, content: bytes = b"media", name: str = "x.wav") -> Path:
    path = store.stage_dir() / name
    path.write_bytes(content)
    return path


# runs


def test_a_run_is_added_once_and_comes_back_whole(store: Store) -> None:
    assert store.add_run(replace(RUN, note="later")) is False
    found = store.run(RUN.id)
    assert replace(found, created="") == RUN and found.created.startswith("20")
    store.update_run(RUN.id, config={"limit": 9}, note="checked")
    assert store.run("aaa").config == {"limit": 9} and store.run("aaa").note == "checked"


def test_runs_are_found_by_prefix_and_by_attribute(store: Store) -> None:
    other = replace(RUN, id="ab" * 32, system="shuffled")
    assert store.add_run(other) is True
    assert [run.system for run in store.runs()] == ["ground-truth", "shuffled"]
    assert [run.id for run in store.runs(system="shuffled", dataset="demo")] == [other.id]
    assert store.runs(dataset="lrs3") == []
    assert store.run("ab").id == other.id
    with pytest.raises(UsageError, match="several runs begin with 'a'"):
        store.run("a")
    with pytest.raises(UsageError, match="no run 'abab'") as caught:
        store.scores("abab", P)
    assert "bench runs list" in caught.value.hint
    with pytest.raises(UsageError):
        store.run("")
    with pytest.raises(TypeError, match="colour"):
        store.runs(colour="red")


def test_a_whole_id_that_is_a_prefix_of_another_is_found(store: Store) -> None:
    store.add_run(replace(RUN, id=RUN.id + "0"))
    assert store.run(RUN.id).id == RUN.id


def test_clips_are_a_union_sorted_bytewise(store: Store) -> None:
    store.add_run_clips(RUN.id, clips("b", "Z", "é", "a/10", "a/2"))
    store.add_run_clips(RUN.id, clips("a/2", "c"))
    ids = [clip.clip_id for clip in store.run_clips(RUN.id)]
    assert ids == sorted(["b", "Z", "é", "a/10", "a/2", "c"], key=str.encode)
    assert store.run_clips(RUN.id)[0] == clips("Z")[0]


# outputs


def test_an_output_is_moved_in_and_its_row_found(store: Store) -> None:
    paths = {"video": staged(store, b"v", "x.mp4"), "audio": staged(store, b"a", "x.wav")}
    assert store.add_output(output("a/1"), paths) == "new"
    found = store.outputs(RUN.id)["a/1"]
    assert (store.root / found.video).read_bytes() == b"v" and (store.root / found.audio).read_bytes() == b"a"
    assert (store.root / found.video).parent == store.media_dir(RUN.id)
    assert not any(path.exists() for path in paths.values())
    assert replace(found, video=None, audio=None, created="") == output("a/1")


def test_the_same_output_again_is_a_duplicate_and_its_files_go(store: Store) -> None:
    store.add_output(output("a"), {"audio": staged(store, b"1")})
    again = staged(store, b"1")
    assert store.add_output(output("a"), {"audio": again}) == "duplicate"
    assert not again.exists() and store.conflicts(RUN.id) == [] and store.sweep().files == ()


def test_another_output_is_a_conflict_and_both_are_kept(store: Store) -> None:
    store.add_output(output("a"), {"audio": staged(store, b"1")})
    for _ in range(2):
        assert store.add_output(output("a", "other"), {"audio": staged(store, b"2")}) == "conflict"
    assert store.outputs(RUN.id)["a"].sha256 == "output of a"
    (conflict,) = store.conflicts(RUN.id)
    assert (conflict.subject, conflict.key, conflict.times) == ("output", (RUN.id, "a"), 2)
    assert (conflict.kept["sha256"], conflict.other["sha256"]) == ("output of a", "other")
    assert (store.root / conflict.kept["audio"]).read_bytes() == b"1"
    assert (store.root / conflict.other["audio"]).read_bytes() == b"2"
    assert store.sweep().files == ()  # named by the conflict: no orphan
    assert store.add_output(output("a", "other"), {"audio": staged(store, b"2")}, replace=True) == "new"
    assert store.outputs(RUN.id)["a"].sha256 == "other" and store.conflicts() == []


def test_a_failure_that_is_not_final_gives_way_and_a_late_loss_does_not_stand(store: Store) -> None:
    lost = failed_output("a", final=False)
    assert store.add_output(lost) == "new"
    assert store.add_output(replace(lost, detail="timeout")) == "new"
    assert store.outputs(RUN.id)["a"].detail == "timeout"
    assert store.add_output(output("a"), {"audio": staged(store)}) == "new"
    assert store.add_output(lost) == "duplicate"
    assert store.outputs(RUN.id)["a"].status == "ok"
    assert store.add_output(failed_output("a")) == "conflict"


def test_final_failures_compare_by_kind(store: Store) -> None:
    assert store.add_output(failed_output("a")) == "new"
    assert store.add_output(replace(failed_output("a"), detail="other words")) == "duplicate"
    assert store.add_output(replace(failed_output("a"), kind="nan")) == "conflict"


NASTY = [
    "../../etc/passwd",
    "a/b",
    "a b",
    "a'b\"c",
    "ünï",
    "u\u0308n",
    "a\nb",
    "a\0b",
    "CON",
    ".",
    "..",
    "x" * 500,
    "é" * 300,
    "",
    "🎬",
]


def test_clip_ids_of_any_kind_get_their_own_readable_file(store: Store) -> None:
    for index, clip_id in enumerate([*NASTY, "A/B"]):
        store.add_output(output(clip_id, f"sha {index}"), {"audio": staged(store, str(index).encode())})
    found = store.outputs(RUN.id)
    assert found.keys() == {*NASTY, "A/B"}
    for index, clip_id in enumerate([*NASTY, "A/B"]):
        path = store.root / found[clip_id].audio
        assert path.read_bytes() == str(index).encode()
        assert path.resolve().parent == store.media_dir(RUN.id).resolve()
    assert len({(store.root / record.audio).name.lower() for record in found.values()}) == len(NASTY) + 1
    assert safe_name("spk1/clip 7").startswith("spk1_clip_7.")


@given(st.text(max_size=400))
def test_file_names_are_short_and_plain(clip_id: str) -> None:
    name = safe_name(clip_id)
    assert 0 < len(name.encode()) < 200 and "/" not in name and "\0" not in name and not name.startswith(".")
    assert name.isprintable() and " " not in name


def test_a_clip_id_without_a_utf8_form_is_refused(store: Store) -> None:
    with pytest.raises(DataError, match="characters"):
        store.add_run_clips(RUN.id, clips("bad \udce9 name"))
    assert store.run_clips(RUN.id) == []


def test_files_from_another_file_system_are_copied_in(store: Store) -> None:
    other = Path("/dev/shm")
    if not other.is_dir() or other.stat().st_dev == store.root.stat().st_dev:
        pytest.skip("no second file system here")
    path = other / f"bench-test-{store.root.parent.name}.wav"
    path.write_bytes(b"far")
    store.add_output(output("a"), {"audio": path})
    assert (store.root / store.outputs(RUN.id)["a"].audio).read_bytes() == b"far"
    assert not path.exists() and store.sweep().files == ()


# scores


def test_scores_come_back_whole(store: Store) -> None:
    from safetensors.numpy import load, save

    store.add_run_clips(RUN.id, clips("a", "b"))
    store.add_output(output("a"))
    arrays = save({"sum": np.arange(3.0)})
    record = score("a", math.inf, text={"hyp": "set red"}, arrays=arrays, seconds=0.5, versions={"numpy": "2"})
    assert store.add_scores([record]) == ["new"]
    ((clip_id, found),) = store.score_rows(RUN.id, P)
    assert clip_id == "a" and replace(found, created="") == record
    column = store.scores(RUN.id, P)
    assert column.values["ssim"][0] == math.inf and len(column.arrays) == 1
    assert (column.arrays[0]["sum"] == load(arrays)["sum"]).all()


def test_a_second_result_is_compared_with_the_first(store: Store) -> None:
    store.add_output(output("a"))
    store.add_output(output("b"))
    assert store.add_scores([score("a", 0.5), score("b", 0.25)]) == ["new", "new"]
    assert store.add_scores([score("a", 0.5), score("b", 0.5), score("c")]) == ["duplicate", "conflict", "new"]
    (conflict,) = store.conflicts(RUN.id)
    assert conflict.subject == "score" and conflict.key == score("b").key
    assert (conflict.kept["values"], conflict.other["values"]) == ({"ssim": 0.25}, {"ssim": 0.5})
    assert store.have_scores([score(c).key for c in "abcx"]) == {score(c).key: "ok" for c in "abc"}


@pytest.mark.parametrize(
    ("second", "verdict"),
    [
        ({"values": {"ssim": 0.5 + 1e-9}}, "conflict"),
        ({"values": {"ssim": math.nan}}, "conflict"),
        ({"values": {"other": 0.5}}, "conflict"),
        ({"parts": {"n": 74.0}}, "conflict"),
        ({"text": {"hyp": "set blue"}}, "conflict"),
        ({"arrays": b"1"}, "conflict"),
        ({"seconds": 9.0, "versions": {"numpy": "3"}, "created": "1999"}, "duplicate"),
    ],
)
def test_what_counts_as_unequal(store: Store, second: dict[str, Any], verdict: str) -> None:
    store.add_scores([score("a")])
    assert store.add_scores([score("a", **second)]) == [verdict]


def test_nan_parts_and_infinite_values_equal_themselves(store: Store) -> None:
    record = score("a", math.inf, parts={"x": math.nan})
    store.add_scores([record])
    assert store.add_scores([record], tolerance={P: 0.1}) == ["duplicate"]
    assert store.add_scores([replace(record, values={"ssim": -math.inf})], tolerance={P: 0.1}) == ["conflict"]


def test_a_tolerance_allows_rounding_of_its_protocol_alone(store: Store) -> None:
    store.add_scores([score("a", 100.0), score("a", 100.0, protocol="other@1")])
    near = [score("a", 100.00001), score("a", 100.00001, protocol="other@1")]
    assert store.add_scores(near, tolerance={P: 1e-6}) == ["duplicate", "conflict"]
    assert store.add_scores([score("a", 100.01)], tolerance={P: 1e-6}) == ["conflict"]


def test_a_tolerance_reaches_arrays(store: Store) -> None:
    from safetensors.numpy import save

    store.add_scores([score("a", arrays=save({"x": np.ones(3)}))])
    near, far, other = (
        save({name: np.full(n, v)}) for name, n, v in (("x", 3, 1 + 1e-9), ("x", 3, 1.1), ("x", 2, 1.0))
    )
    verdicts = [store.add_scores([score("a", arrays=data)], tolerance={P: 1e-6})[0] for data in (near, far, other)]
    assert verdicts == ["duplicate", "conflict", "conflict"]
    assert store.add_scores([score("a", arrays=near)]) == ["conflict"]


def test_losses_give_way_to_results(store: Store) -> None:
    store.add_scores([failure("a", "model_error", final=False)])
    assert store.have_scores([score("a").key]) == {score("a").key: "retry"}
    assert store.add_scores([score("a")]) == ["new"]
    assert store.add_scores([failure("a", "model_error", final=False)]) == ["duplicate"]
    assert store.add_scores([failure("a")]) == ["conflict"]
    assert store.add_scores([failure("b")]) == ["new"]
    assert store.have_scores([score("b").key]) == {score("b").key: "failed"}


def test_replace_lets_the_new_result_stand(store: Store) -> None:
    store.add_output(output("a"))
    store.add_scores([score("a", 0.1, arrays=b"old")])
    store.add_scores([score("a", 0.2)])
    assert len(store.conflicts(RUN.id)) == 1
    assert store.add_scores([score("a", 0.3)], replace=True) == ["new"]
    store.add_run_clips(RUN.id, clips("a"))
    ((_, found),) = store.score_rows(RUN.id, P)
    assert found.values == {"ssim": 0.3} and found.arrays is None and store.conflicts() == []


def test_the_same_key_twice_in_one_call(store: Store) -> None:
    assert store.add_scores([score("a"), score("a"), score("a", 0.9)]) == ["new", "duplicate", "conflict"]


def test_nothing_to_add_is_nothing(store: Store) -> None:
    assert store.add_scores([]) == []


# columns


def test_a_column_has_every_clip_scored_failed_or_pending(store: Store) -> None:
    store.add_run_clips(RUN.id, clips("a", "b", "c", "d", "e"))
    for clip_id in "abd":
        store.add_output(output(clip_id))
    store.add_output(failed_output("c"))
    store.add_scores([score("a", 0.9), failure("b")])
    column = store.scores(RUN.id, P)
    assert list(column.clip_ids) == list("abcde") and column.speakers[0] == "speaker of a"
    np.testing.assert_array_equal(column.values["ssim"], [0.9, np.nan, np.nan, np.nan, np.nan])
    np.testing.assert_array_equal(column.parts["n"], [75, np.nan, np.nan, np.nan, np.nan])
    assert column.ok.tolist() == [True, False, False, False, False]
    assert column.pending.tolist() == [False, False, False, True, True]
    assert list(column.kinds) == ["", "no_face", "missing_output", "", ""]
    assert column.failures == Counter(no_face=1, missing_output=1)
    assert (column.n, column.n_scored, column.n_failed, column.n_pending) == (5, 1, 2, 2)
    assert column.weights_sha256 == "w1" and len(column.arrays) == 1 and column.arrays[0] == {}


def test_a_column_of_nothing(store: Store) -> None:
    column = store.scores(RUN.id, P)
    assert (column.n, column.n_pending, column.values, column.weights_sha256) == (0, 0, {}, None)
    store.add_run_clips(RUN.id, clips("a"))
    store.add_output(failed_output("a"))
    column = store.scores(RUN.id, P)
    assert column.failures == Counter(missing_output=1) and list(column.arrays) == []


def test_rows_of_several_layouts_share_a_column(store: Store) -> None:
    store.add_run_clips(RUN.id, clips("a", "b"))
    for clip_id in "ab":
        store.add_output(output(clip_id))
    store.add_scores([score("a"), score("b", parts={"length_differs": 1.0, "n": 3.0})])
    column = store.scores(RUN.id, P)
    np.testing.assert_array_equal(column.parts["length_differs"], [np.nan, 1.0])
    np.testing.assert_array_equal(column.parts["n"], [75.0, 3.0])


def test_the_newest_weights_are_read_unless_others_are_asked_for(store: Store) -> None:
    store.add_run_clips(RUN.id, clips("a"))
    store.add_output(output("a"))
    store.add_scores([score("a", 0.1, weights="new", created="2025-06-01")])
    store.add_scores([score("a", 0.2, weights="old", created="2025-01-01")])
    store.add_scores([score("z", 0.3, weights="newest but of another run", created="2026-01-01")])
    assert store.scores(RUN.id, P).values["ssim"].tolist() == [0.1]
    assert store.scores(RUN.id, P, weights_sha256="old").values["ssim"].tolist() == [0.2]
    assert store.scores(RUN.id, P, weights_sha256="unknown").n_pending == 1
    assert store.score_states(RUN.id, P, "old") == {"a": "ok"}
    assert store.score_states(RUN.id, P, "unknown") == {}


def test_a_changed_reference_is_another_score(store: Store) -> None:
    store.add_run_clips(RUN.id, clips("a"))
    store.add_output(output("a"))
    store.add_scores([score("a")])
    store.add_run_clips(RUN.id, [RunClip("a", None, "changed", 3.0)])
    assert store.scores(RUN.id, P).n_pending == 1


def test_equal_outputs_of_two_runs_share_their_scores(store: Store) -> None:
    other = replace(RUN, id="b" * 64)
    store.add_run(other)
    for run in (RUN, other):
        store.add_run_clips(run.id, clips("a"))
        store.add_output(output("a", run=run.id))
    store.add_scores([score("a")])
    assert store.scores(other.id, P).n_scored == store.scores(RUN.id, P).n_scored == 1


def test_costs_belong_to_their_run(store: Store) -> None:
    other = replace(RUN, id="b" * 64)
    store.add_run(other)
    for run, seconds in ((RUN, 1.0), (other, 9.0)):
        store.add_run_clips(run.id, clips("a"))
        store.add_output(output("a", run=run.id))
        record = ScoreRecord("output of a", cost_reference(run.id, "a"), "cost/rtf@1", "", "ok", {"rtf": seconds})
        assert store.add_scores([record]) == ["new"]
    assert store.scores(RUN.id, "cost/rtf@1").values["rtf"].tolist() == [1.0]
    assert store.scores(other.id, "cost/rtf@1").values["rtf"].tolist() == [9.0]
    assert store.score_states(other.id, "cost/rtf@1", "") == {"a": "ok"}
    assert store.scores(RUN.id, "cost/rtf@1", reference_is_run=False).n_pending == 1
    assert store.protocols(RUN.id) == ["cost/rtf@1"]


def test_protocols_are_those_asked_for_and_those_found(store: Store) -> None:
    store.add_run_clips(RUN.id, clips("a"))
    store.add_output(output("a"))
    store.add_scores([score("a"), score("z", protocol="of/another@1")])
    assert store.protocols(RUN.id) == [P]
    store.add_run_protocols(RUN.id, ["wer/x@1", P])
    store.add_run_protocols(RUN.id, ["wer/x@1"])
    assert store.protocols(RUN.id) == [P, "wer/x@1"]


# features and cache


def test_features_are_kept_by_medium_and_key(store: Store) -> None:
    arrays = {"boxes": np.arange(8, dtype=np.int32).reshape(2, 4), "scale": np.float32(2.5)}
    store.put_features("ab" * 32, "dlib-faces@1", arrays)
    found = store.get_features("ab" * 32, ["dlib-faces@1", "absent@1"])
    assert found.keys() == {"dlib-faces@1"}
    np.testing.assert_array_equal(found["dlib-faces@1"]["boxes"], arrays["boxes"])
    assert found["dlib-faces@1"]["scale"].shape == () and found["dlib-faces@1"]["scale"] == 2.5
    assert store.get_features("cd" * 32, ["dlib-faces@1"]) == {}
    (path,) = (store.root / "features").rglob("*.safetensors")
    path.write_bytes(path.read_bytes()[:20])
    assert store.get_features("ab" * 32, ["dlib-faces@1"]) == {}  # damaged: computed again
    store.put_features("ab" * 32, "dlib-faces@1", arrays)
    assert len(store.get_features("ab" * 32, ["dlib-faces@1"])) == 1


def test_the_cache_keeps_json(store: Store) -> None:
    assert store.get_cached("k") is None
    assert store.put_cached("k", {"ci": [0.1, None]}) is True
    assert store.put_cached("k", [2]) is True
    assert store.get_cached("k") == [2]
    with Store.open(store.root, write=False) as reader:
        assert reader.get_cached("k") == [2] and reader.put_cached("k", 3) is False


# keeping


def test_removing_a_run_frees_its_media_and_leaves_the_others(store: Store) -> None:
    other = replace(RUN, id="b" * 64)
    store.add_run(other)
    for run in (RUN, other):
        store.add_run_clips(run.id, clips("a"))
        store.add_output(output("a", run=run.id), {"audio": staged(store, b"12345")})
    store.add_output(output("only here"), {"audio": staged(store, b"123")})
    store.add_scores([score("a"), score("only here")])
    before = store.digest([other.id])
    assert store.remove_run(RUN.id) == 8
    assert [run.id for run in store.runs()] == [other.id]
    assert store.digest([other.id]) == store.digest() == before
    assert store.scores(other.id, P).n_scored == 1
    assert store.sweep(dry_run=True).scores == 1
    assert store.sweep().scores == 1 and store.sweep().scores == 0
    assert store.digest() == before
    with pytest.raises(UsageError):
        store.run_clips(RUN.id)
    assert store.add_run(RUN) and store.outputs(RUN.id) == {}


def test_orphans_are_reported_then_removed(store: Store) -> None:
    store.add_output(output("a"), {"audio": staged(store)})
    folder = store.media_dir(RUN.id)
    (folder / "left.wav").write_bytes(b"1234")
    (store.root / "media" / "gone").mkdir()
    (store.root / "media" / "gone" / "x.mp4").write_bytes(b"12")
    report = store.sweep(dry_run=True)
    assert len(report.files) == 2 and report.bytes == 6 and (folder / "left.wav").exists()
    assert store.sweep().files == report.files
    assert store.sweep().files == () and not (store.root / "media" / "gone").exists()
    assert (store.root / store.outputs(RUN.id)["a"].audio).exists()


def test_what_a_dead_writer_left_unfinished_is_removed(tmp_path: Path) -> None:
    with Store.open(tmp_path) as store:
        left = store.root / "tmp" / "stage-old"
        left.mkdir()
        (left / "half.mp4").write_bytes(b"1")
        keep = store.root / "tmp" / "mine.txt"
        keep.write_text("not ours")
    with Store.open(tmp_path) as store:
        assert not left.exists() and keep.exists()


# digest


def filled(folder: Path, order: random.Random | None, **differences: Any) -> str:
    with Store.open(folder) as store:
        store.add_run(RUN)
        records = [score(c, v) for c, v in (("a", 0.1), ("b", 0.2), ("c", 0.3))]
        ids = ["a", "b", "c", "d"]
        if order:
            order.shuffle(records)
            order.shuffle(ids)
        noise = order.random() if order else 0.0
        for clip_id in ids:
            store.add_run_clips(RUN.id, clips(clip_id))
            made = failed_output("d") if clip_id == "d" else output(clip_id, seconds=noise, device=f"cpu{noise}")
            store.add_output(replace(made, detail=f"after {noise} s"))
        for record in records:
            store.add_scores([replace(record, seconds=noise, versions={"x": str(noise)}, **differences)])
        cost = ScoreRecord("output of a", cost_reference(RUN.id, "a"), "cost/rtf@1", "", "ok", {"rtf": noise})
        store.add_scores([cost])
        return store.digest()


def test_the_digest_is_of_results_not_of_order_time_or_machine(tmp_path: Path) -> None:
    first = filled(tmp_path / "0", None)
    assert all(filled(tmp_path / str(i), random.Random(i)) == first for i in range(1, 4))


@pytest.mark.parametrize(
    "difference", [{"values": {"ssim": 0.11}}, {"parts": {"n": 1.0}}, {"text": {"a": "b"}}, {"arrays": b"1"}]
)
def test_the_digest_sees_every_result(tmp_path: Path, difference: dict[str, Any]) -> None:
    assert filled(tmp_path / "0", None) != filled(tmp_path / "1", None, **difference)


def test_the_digest_of_a_reader_is_the_writers(store: Store) -> None:
    store.add_run_clips(RUN.id, clips("a"))
    with Store.open(store.root, write=False) as reader:
        assert reader.digest() == store.digest() == store.digest([RUN.id]) != store.digest([])


def test_score_keys_hold_nothing_of_machines(store: Store) -> None:
    assert ScoreKey._fields == ("output_sha256", "reference_sha256", "protocol", "weights_sha256")
