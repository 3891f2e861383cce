"""Plug-ins that misbehave: their clip gets a typed failure, everything else its result, and the run its exit code."""

from __future__ import annotations

from pathlib import Path

import pytest
from bad_kit import PLUGINS, Bench, leftovers
from bad_media import clip, picture, tone

BAD, GOOD = "zed/bad", ["ann/one", "bob/one"]
DURATION, PSNR = "duration/abs@1", "psnr/rgb@1"
SYSTEMS, METRICS, DATASETS = (PLUGINS / f"bad_{name}.py" for name in ("systems", "metrics", "datasets"))

#: system: (kind of the bad clip's failure, or ``ok``; part of its detail)
IN_PROCESS: dict[str, tuple[str, str]] = {
    "raises": ("model_error", "ValueError: no such phoneme"),
    "raises-a-long-text": ("model_error", "RuntimeError: xxx"),
    "recurses": ("model_error", "RecursionError"),
    "misses-a-package": ("model_error", "no module named 'vocoder'"),
    "leaves-python": ("model_error", "SystemExit"),
    "returns-nan": ("nan", "1 of 7680 samples"),
    "returns-2d": ("shape_mismatch", "float32 (2, 7680)"),
    "returns-int16": ("shape_mismatch", "int16 (7680,)"),
    "returns-a-list": ("shape_mismatch", "list"),
    "returns-nothing-in-it": ("too_short", "0 samples"),
    "returns-rate-0": ("shape_mismatch", "sample rate 0 Hz"),
    "returns-rate-mhz": ("shape_mismatch", "sample rate 1000000 Hz; possible: whole numbers 4000 to 192000"),
    "returns-rate-text": ("shape_mismatch", "sample rate '16k' Hz"),
    "returns-rate-true": ("shape_mismatch", "sample rate True Hz"),
    "returns-no-audio": ("missing_output", "no audio"),
    "returns-video-only": ("missing_output", "no audio"),
    "returns-none": ("missing_output", "None"),
    "returns-samples": ("shape_mismatch", "the system returned ndarray"),
    "returns-unknown-failure": ("model_error", "'tired' is not one of"),
    "returns-too-few": ("model_error", "0 outputs for 1 requests"),
    "names-no-file": ("missing_output", "never.wav"),
    "names-a-folder": ("missing_output", "does not exist"),
    "names-its-input": ("no_audio_stream", "video.mp4"),
    "names-a-file-outside": ("model_error", "stray.wav: the system wrote outside its folder"),
    "links-outside": ("model_error", "link.wav: the system wrote outside its folder"),
    "dots-outside": ("model_error", "outside its folder"),
    "removes-its-folder": ("ok", ""),
    "is-noisy": ("ok", ""),
}


@pytest.fixture
def with_bad(tree: Path) -> Path:
    """Two clips of 10 frames, and one of 12 that the plug-ins do wrong."""
    clip(tree / f"{BAD}.mp4", 2, film=picture(2, 12), sound=tone(2, 12 / 25))
    return tree


@pytest.mark.parametrize("system", IN_PROCESS)
def test_a_system_fails_for_its_clip_alone(system: str, bench: Bench, with_bad: Path) -> None:
    kind, detail = IN_PROCESS[system]
    old = bench.run_ids()
    before = bench.kept(old)
    arguments = ("--plugin", SYSTEMS, "-s", system, "--data-root", with_bad, "--task", "vts", "--metrics", DURATION)
    told = bench.run(*arguments)
    assert told.code == 0
    found = bench.result(bench.run_id(system, "vts"), [DURATION])
    assert sorted(found) == [*GOOD, BAD]
    row = found[BAD][""]
    assert row.kind == kind and detail in row.detail, row
    assert len(row.detail) <= 2100 and "\x1b" not in row.detail
    assert [found[c][where].kind for c in GOOD for where in ("", DURATION)] == ["ok"] * 4
    assert found[BAD][DURATION].kind == ("ok" if kind == "ok" else "missing_output")
    assert bench.run(*arguments, "--strict").code == (0 if kind == "ok" else 1)
    assert bench.kept(old) == before and leftovers(bench.store) == []


#: system: (part of the detail); each runs in a worker process, the others of its batch with it
IN_WORKERS: dict[str, tuple[str, str]] = {
    "exits": ("model_error", "worker_lost: worker ended with exit code 0"),
    "is-killed": ("model_error", "worker_lost: worker killed by signal 9 (SIGKILL)"),
    "crashes": ("model_error", "worker_lost: worker killed by signal 11 (SIGSEGV)"),
    "wants-memory": ("model_error", "out_of_memory"),
    "goes-elsewhere": ("ok", ""),
}


@pytest.mark.parametrize("system", IN_WORKERS)
def test_a_system_that_takes_its_process_along(system: str, bench: Bench, with_bad: Path) -> None:
    kind, detail = IN_WORKERS[system]
    old = bench.run_ids()
    before = bench.kept(old)
    arguments = ("--plugin", SYSTEMS, "-s", system, "--data-root", with_bad, "--task", "vts")
    told = bench("generate", "-q", "-d", "folder", "--workers", "1", "--retry", "2", *arguments)
    assert told.code == 0
    found = bench.result(bench.run_id(system, "vts"))
    assert {c: row[""].kind for c, row in found.items()} == {**dict.fromkeys(GOOD, "ok"), BAD: kind}
    assert detail in found[BAD][""].detail, found[BAD]
    assert bench.outputs(system)[BAD].final == (kind == "ok"), "a loss is tried again by the next run"
    assert bench.kept(old) == before and leftovers(bench.store) == []


def test_a_system_that_hangs_is_stopped_at_its_time_limit(bench: Bench, with_bad: Path) -> None:
    arguments = ("--plugin", SYSTEMS, "-s", "hangs", "--data-root", with_bad, "--task", "vts")
    limits = ("--timeout", "1.5", "--retry", "1", "--batch-size", "1", "--workers", "1")
    told = bench("generate", "-q", "-d", "folder", *limits, *arguments)
    assert told.code == 0
    found = bench.result(bench.run_id("hangs", "vts"))
    assert {c: row[""].kind for c, row in found.items()} == {**dict.fromkeys(GOOD, "ok"), BAD: "model_error"}
    assert found[BAD][""].detail.startswith("timeout")


VIDEO: dict[str, tuple[str, str]] = {
    "returns-float-video": ("shape_mismatch", "video must be uint8 (T, H, W, 3) RGB; the system returned float32"),
    "returns-grey-video": ("shape_mismatch", "uint8 (12, 64, 64)"),
    "returns-channels-first": ("shape_mismatch", "uint8 (12, 3, 64, 64)"),
    "returns-no-frame": ("too_short", "(0, 64, 64, 3)"),
}


@pytest.mark.parametrize("system", VIDEO)
def test_a_wrong_video_fails_for_its_clip_alone(system: str, bench: Bench, with_bad: Path) -> None:
    kind, detail = VIDEO[system]
    arguments = ("--plugin", SYSTEMS, "-s", system, "--data-root", with_bad, "--task", "a2v", "--metrics", PSNR)
    assert bench.run(*arguments).code == 0
    found = bench.result(bench.run_id(system, "a2v"), [PSNR])
    assert found[BAD][""].kind == kind and detail in found[BAD][""].detail, found[BAD]
    assert [found[c][PSNR].kind for c in GOOD] == ["ok", "ok"]


def test_a_video_that_is_too_long_is_kept_and_judged(bench: Bench, with_bad: Path) -> None:
    arguments = ("--plugin", SYSTEMS, "-s", "returns-too-long", "--data-root", with_bad, "--task", "a2v")
    assert bench.run(*arguments, "--metrics", f"{PSNR},{DURATION}").code == 0
    found = bench.result(bench.run_id("returns-too-long", "a2v"), [PSNR, DURATION])
    assert found[BAD][DURATION].kind == "ok"
    assert found[BAD][PSNR].kind in {"ok", "length_mismatch"}


#: system: (exit code, what stderr or the rows must hold)
NEVER: dict[str, tuple[int, str]] = {
    "fails-to-load": (1, "the checkpoint has no key 'encoder.weight'"),
    "fails-to-be-made": (2, "no settings, please"),
    "misses-weights": (2, "vocoder.pt: put it into the weights folder"),
    "returns-a-generator": (1, "generator outputs for"),
}


@pytest.mark.parametrize("system", NEVER)
def test_a_system_that_cannot_start(system: str, bench: Bench, with_bad: Path) -> None:
    code, text = NEVER[system]
    old = bench.run_ids()
    before = bench.kept(old)
    arguments = ("--plugin", SYSTEMS, "-s", system, "--data-root", with_bad, "--task", "vts", "--metrics", DURATION)
    told = bench.run(*arguments)
    assert told.code == code
    if code == 2:
        assert text in told.err and told.err.startswith("bench: ") and "\n  " in told.err
        assert bench.run_ids() == old
    else:
        found = bench.result(bench.run_id(system, "vts"))
        assert {row[""].kind for row in found.values()} == {"model_error"} and len(found) == 3
        assert all(text in row[""].detail for row in found.values()), found
    assert bench.kept(old) == before and leftovers(bench.store) == []


#: metric: (kind, part of the detail) of the bad clip's score
SCORES: dict[str, tuple[str, str]] = {
    "m-raises": ("model_error", "ZeroDivisionError: division by zero"),
    "m-exits": ("model_error", "SystemExit"),
    "m-nan": ("nan", "value = nan"),
    "m-infinite": ("nan", "value = -inf"),
    "m-beyond": ("model_error", "value = 1.5 outside [0.0, 1.0]"),
    "m-below": ("model_error", "value = -0.001 outside [0.0, 1.0]"),
    "m-number": ("model_error", "returned float, not a Score"),
    "m-text": ("model_error", "TypeError"),
    "m-none": ("model_error", "no value 'value'"),
    "m-other-name": ("model_error", "no value 'value'"),
    "m-nothing": ("model_error", "NoneType, not a Score"),
    "m-no-mapping": ("model_error", "list"),
    "m-other-id": ("model_error", "NoneType, not a Score"),
    "m-parts-text": ("model_error", "many"),
    "m-text-bytes": ("model_error", "heard"),
    "m-objects": ("model_error", "feature"),
    "m-feature": ("model_error", "feature 'audio:words@1': 'words' is no array of numbers"),
    "m-feature-key": ("model_error", "feature key 'words@1' must begin with"),
    "m-unknown-kind": ("model_error", "'tired' is not one of"),
    "m-unscorable-kind": ("model_error", "'tired' is not one of"),
}


@pytest.mark.parametrize("metric", SCORES)
def test_a_metric_fails_for_its_clip_alone(metric: str, bench: Bench, with_bad: Path) -> None:
    kind, detail = SCORES[metric]
    old = bench.run_ids()
    before = bench.kept(old)
    protocol = f"{metric}/toy@1"
    arguments = ("--plugin", METRICS, "-s", "ground-truth", "--data-root", with_bad, "--task", "vts")
    told = bench.run(*arguments, "--metrics", f"{metric},{DURATION}")
    assert told.code == 0
    (run_id,) = set(bench.run_ids()) - set(old)
    found = bench.result(run_id, [protocol, DURATION])
    row = found[BAD][protocol]
    assert row.kind == kind and detail in row.detail, row
    assert [found[c][protocol].kind for c in GOOD] == ["ok", "ok"]
    assert [row[DURATION].kind for row in found.values()] == ["ok"] * 3, "other metrics go on"
    assert bench.run(*arguments, "--metrics", metric, "--strict").code == 1
    assert bench.run(*arguments, "--metrics", DURATION, "--strict").code == 0, "what was not asked for does not count"
    assert bench.kept(old) == before


@pytest.mark.parametrize(("metric", "reason"), [("m-hangs", "timeout"), ("m-kills", "worker_lost")])
def test_a_metric_that_takes_its_process_along(metric: str, reason: str, bench: Bench, with_bad: Path) -> None:
    protocol = f"{metric}/toy@1"
    arguments = ("--plugin", METRICS, "-s", "ground-truth", "--data-root", with_bad, "--task", "vts")
    assert bench.run(*arguments, "--metrics", DURATION).code == 0
    limits = ("--timeout", "2", "--retry", "1", "--batch-size", "1")
    told = bench.run(*arguments, "--metrics", metric, *limits, workers=1)
    assert told.code == 0
    (run_id,) = set(bench.run_ids()) - {bench.run_ids()[0]}
    found = bench.result(run_id, [protocol, DURATION])
    assert found[BAD][protocol].kind == "model_error" and found[BAD][protocol].detail.startswith(reason)
    assert [found[c][protocol].kind for c in GOOD] == ["ok", "ok"]
    assert [row[DURATION].kind for row in found.values()] == ["ok"] * 3


def test_a_metric_that_cannot_be_loaded(bench: Bench, with_bad: Path) -> None:
    arguments = ("--plugin", METRICS, "-s", "ground-truth", "--data-root", with_bad, "--task", "vts")
    told = bench.run(*arguments, "--metrics", f"m-no-load,{DURATION}")
    assert told.code == 1 and "ground-truth vts m-no-load/toy@1: 3 model_error" in told.err
    (run_id,) = set(bench.run_ids()) - {bench.run_ids()[0]}
    found = bench.result(run_id, ["m-no-load/toy@1", DURATION])
    assert all("weights are damaged" in row["m-no-load/toy@1"].detail for row in found.values())
    assert [row[DURATION].kind for row in found.values()] == ["ok"] * 3


@pytest.mark.parametrize(("metric", "text"), [("m-not-made", "no metric today"), ("m-missing", "KeyError: 'HOME'")])
def test_a_metric_that_breaks_before_any_work(metric: str, text: str, bench: Bench, good: Path) -> None:
    before = bench.state()
    arguments = ("--plugin", METRICS, "-s", "ground-truth", "--data-root", good, "--task", "vts")
    told = bench.run(*arguments, "--metrics", metric)
    assert told.code == 2 and text in told.err and f"metric '{metric}'" in told.err
    assert bench.state() == before
    listed = bench("info", f"{metric}/toy@1", "--plugin", METRICS)
    assert listed.code == 0 and text in listed.out, "it is shown with the reason"


def test_a_metric_with_the_protocol_of_another(bench: Bench, good: Path) -> None:
    before = bench.state()
    arguments = ("-s", "ground-truth", "--data-root", good, "--task", "vts", "--metrics", "duration")
    told = bench.run("--plugin", PLUGINS / "steals_a_protocol.py", *arguments)
    assert told.code == 2 and "'duration/abs@1'" in told.err and "thief" in told.err
    assert bench.state() == before


#: data set: (exit code, what stderr must hold)
SETS: dict[str, tuple[int, list[str]]] = {
    "d-raises": (1, ["d-raises", "KeyError: 'speaker'"]),
    "d-empty": (1, ["d-empty/test has no clip"]),
    "d-twice": (1, ["d-twice", "'one'"]),
    "d-none": (1, ["d-none", "NoneType, not a list"]),
}


@pytest.mark.parametrize("name", SETS)
def test_a_data_set_that_cannot_be_used(name: str, bench: Bench, good: Path) -> None:
    code, expected = SETS[name]
    before = bench.state()
    arguments = ("-s", "ground-truth", "--data-root", good, "--task", "vts", "--metrics", "duration", "--workers", "0")
    told = bench("run", "-q", "--plugin", DATASETS, "-d", name, *arguments)
    assert told.code == code
    assert told.err.startswith("bench: ") and "\n  " in told.err
    assert not [part for part in expected if part not in told.err], told.err
    assert bench.state() == before


def test_a_data_set_whose_check_raises(bench: Bench, good: Path) -> None:
    told = bench("data", "check", "d-empty", "--plugin", DATASETS, "--data-root", good)
    assert told.code == 1 and "\n  " in told.err and "OSError: the disk is gone" in told.err


def test_ids_of_a_data_set_that_try_to_leave_the_store(bench: Bench, good: Path, tmp_path: Path) -> None:
    arguments = ("-s", "ground-truth", "--data-root", good, "--task", "vts", "--metrics", "duration", "--workers", "0")
    told = bench("run", "-q", "--plugin", DATASETS, "-d", "d-escapes", *arguments)
    assert told.code in {0, 1} and "\x1b[2J" not in told.out + told.err
    assert not [path for path in tmp_path.rglob("*ann*") if bench.store not in path.parents]
    if told.code == 0:
        (run_id,) = set(bench.run_ids()) - {bench.run_ids()[0]}
        assert len(bench.state([run_id]).media) == 4


def test_a_data_set_whose_files_are_gone(bench: Bench, good: Path) -> None:
    arguments = ("-s", "ground-truth", "--data-root", good, "--task", "vts", "--metrics", "duration", "--workers", "0")
    told = bench("run", "-q", "--plugin", DATASETS, "-d", "d-gone", *arguments)
    assert told.code == 1 and "4 missing_output" in told.err
    (run_id,) = set(bench.run_ids()) - {bench.run_ids()[0]}
    found = bench.result(run_id)
    assert len(found) == 4 and {row[""].kind for row in found.values()} == {"missing_reference"}
    assert all("gone.mp4" in row[""].detail for row in found.values())
