"""Finished outputs of somebody else that are broken (``outputs:DIR``)."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from bad_kit import Bench, leftovers
from bad_media import RATE, clip, wav

DURATION, PSNR = "duration/abs@1", "psnr/rgb@1"


def cut(path: Path, keep: int) -> None:
    path.write_bytes(path.read_bytes()[:keep])


def noise(path: Path, samples: np.ndarray, rate: int = RATE, kind: str = "int16") -> None:
    path.unlink()
    wav(path.with_suffix(".wav"), samples.astype(np.float32), rate, kind=kind)


#: name: (what is done to the output of ann/two, task, kind of the failure, part of its detail)
OUTPUTS: dict[str, tuple[Callable[[Path], object], str, str, str]] = {
    "absent": (lambda p: p.unlink(), "a2v", "missing_output", "no video file"),
    "zero bytes": (lambda p: cut(p, 0), "a2v", "decode_error", "two.mp4"),
    "truncated": (lambda p: cut(p, p.stat().st_size // 2), "a2v", "decode_error", "two.mp4"),
    "garbage": (lambda p: p.write_bytes(bytes(range(256)) * 20), "a2v", "decode_error", "two.mp4"),
    "folder": (lambda p: (p.unlink(), p.mkdir()), "a2v", "missing_output", "no video file"),
    "sound for a video": (lambda p: noise(p, np.zeros(99)), "a2v", "missing_output", "no video"),
    "no sound": (lambda p: clip(p, 1, sound=None), "vts", "no_audio_stream", "two.mp4"),
    "wav with NaN": (lambda p: noise(p, np.full(99, np.nan), kind="float32"), "vts", "nan", "two.wav"),
    "wav of 0 samples": (lambda p: noise(p, np.zeros(0)), "vts", "too_short", "two.wav"),
    "wav at 100 Hz": (lambda p: noise(p, np.zeros(99), 100), "vts", "shape_mismatch", "100 Hz"),
}


@pytest.fixture
def made(good: Path, tmp_path: Path) -> Path:
    """Four good outputs."""
    folder = tmp_path / "made"
    shutil.copytree(good, folder, ignore=shutil.ignore_patterns("*.txt"))
    return folder


@pytest.mark.parametrize("name", OUTPUTS)
def test_a_broken_output_fails_alone(name: str, bench: Bench, good: Path, made: Path) -> None:
    spoil, task, kind, detail = OUTPUTS[name]
    old = bench.run_ids()
    before = bench.kept(old)
    spoil(made / "ann/two.mp4")
    protocol = PSNR if task == "a2v" else DURATION
    arguments = ("-s", f"outputs:{made}=theirs", "--data-root", good, "--task", task, "--metrics", protocol)
    assert bench.run(*arguments).code == 0
    assert bench.run(*arguments, "--strict").code == 1
    found = bench.result(bench.run_id("outputs:theirs", task), [protocol])
    assert found["ann/two"][""].kind == kind and detail in found["ann/two"][""].detail, found["ann/two"]
    assert found["ann/two"][protocol].kind == "missing_output"
    assert [found[c][protocol].kind for c in ("ann/one", "bob/one", "bob/two")] == ["ok"] * 3
    assert bench.kept(old) == before
    assert leftovers(bench.store) == []


def test_outputs_that_match_no_clip(bench: Bench, good: Path, made: Path) -> None:
    for path in list(made.rglob("*.mp4")):
        path.rename(path.with_name(f"other-{path.name}"))
    told = bench.run("-s", f"outputs:{made}=theirs", "--data-root", good, "--task", "vts", "--metrics", "duration")
    assert told.code == 1 and "outputs:theirs vts duration/abs@1: 4 missing_output" in told.err
    found = bench.result(bench.run_id("outputs:theirs", "vts"))
    assert {row[""].kind for row in found.values()} == {"missing_output"} and len(found) == 4


def test_a_mended_folder_is_another_run_and_complete(bench: Bench, good: Path, made: Path) -> None:
    arguments = ("-s", f"outputs:{made}=theirs", "--data-root", good, "--task", "vts", "--metrics", "duration")
    cut(made / "ann/two.mp4", 0)
    assert bench.run(*arguments, "--strict").code == 1
    clip(made / "ann/two.mp4", 1)
    assert bench.run(*arguments, "--strict").code == 0
