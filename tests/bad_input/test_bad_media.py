"""Broken and extreme media: the clip gets a typed failure or its right value, the others theirs, nobody is missing."""

from __future__ import annotations

import shutil
import tracemalloc
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from bad_kit import Bench, leftovers
from bad_media import RATE, clip, faces, picture, tone, wav

from bench import media
from bench.errors import Unscorable
from bench.records import Source

BAD = "zed/bad"
OK = ("ok", "")
SSIM, PSNR = "ssim/skimage-gaussian@1", "psnr/rgb@1"
SECS, WER = "secs/resemblyzer@1", "wer/pocketsphinx-grid@1"
DURATION, LMD, CSIM, AVSYNC = (
    "duration/abs@1",
    "lmd/mouth20-iod@1",
    "csim/dlib-resnet@1",
    "avsync/dlib-mouth-envelope@1",
)


def truncated(path: Path, share: float) -> None:
    data = clip(path, film=picture(0, 50), sound=tone(0, 2.0)).read_bytes()
    path.write_bytes(data[: int(len(data) * share)])


def beside(path: Path, samples: np.ndarray, rate: int = RATE, kind: str = "int16") -> None:
    """A clip whose sound is the WAV beside it."""
    wav(clip(path).with_suffix(".wav"), samples.astype(np.float32), rate, kind=kind)


def sine(seconds: float, rate: int = RATE) -> np.ndarray:
    return tone(0, seconds, rate).samples


def film_only(path: Path, film: np.ndarray) -> None:
    clip(path, film=film, sound=tone(0, len(film) / 25))


@dataclass(frozen=True)
class Case:
    """``make`` puts the bad clip into the tree. ``output``: its row; ``scores``: its score by protocol.

    A row is ``("ok", "")`` or (failure kind, part of the detail).
    """

    make: Callable[[Path], object]
    task: str
    output: tuple[str, str]
    scores: dict[str, tuple[str, str]]


CASES: dict[str, Case] = {
    "zero-byte mp4": Case(
        lambda p: clip(p).write_bytes(b""), "vts", ("missing_reference", "bad.mp4"), {DURATION: ("missing_output", "")}
    ),
    "zero-byte mp4 to a2v": Case(
        lambda p: clip(p).write_bytes(b""), "a2v", ("missing_reference", ""), {PSNR: ("missing_output", "")}
    ),
    "mp4 cut in half": Case(
        lambda p: truncated(p, 0.5), "vts", ("missing_reference", "decode_error"), {DURATION: ("missing_output", "")}
    ),
    "mp4 without its last bytes": Case(
        lambda p: truncated(p, 0.97), "a2v", ("missing_reference", "decode_error"), {PSNR: ("missing_output", "")}
    ),
    "text called mp4": Case(
        lambda p: clip(p).write_text("this is no video"),
        "a2v",
        ("missing_reference", "decode_error"),
        {PSNR: ("missing_output", "")},
    ),
    "mp4 without audio": Case(
        lambda p: clip(p, sound=None),
        "vts",
        ("no_audio_stream", ""),
        {WER: ("missing_output", ""), DURATION: ("missing_output", "")},
    ),
    "mp4 without audio to a2v": Case(
        lambda p: clip(p, sound=None), "a2v", ("missing_reference", "no driving audio"), {SSIM: ("missing_output", "")}
    ),
    "mp4 without video": Case(
        lambda p: shutil.move(wav(clip(p).with_suffix(".wav"), sine(0.4)), p),
        "vts",
        ("missing_reference", "no video"),
        {DURATION: ("missing_output", "")},
    ),
    "wav with NaN": Case(
        lambda p: beside(p, np.where(np.arange(6400) == 777, np.nan, sine(0.4)), kind="float32"),
        "vts",
        ("nan", "bad.wav"),
        {DURATION: ("missing_output", "")},
    ),
    "wav with infinity": Case(
        lambda p: beside(p, np.where(np.arange(6400) == 9, np.inf, sine(0.4)), kind="float32"),
        "vts",
        ("nan", "bad.wav"),
        {DURATION: ("missing_output", "")},
    ),
    "wav of 0 samples": Case(
        lambda p: beside(p, np.zeros(0)), "vts", ("too_short", "bad.wav"), {DURATION: ("missing_output", "")}
    ),
    "wav of 1 sample": Case(
        lambda p: beside(p, np.array([0.5])),
        "vts",
        OK,
        {DURATION: OK, SECS: ("too_short", ""), WER: ("too_short", "")},
    ),
    "wav of zero bytes": Case(
        lambda p: clip(p).with_suffix(".wav").write_bytes(b""),
        "vts",
        ("decode_error", "bad.wav"),
        {DURATION: ("missing_output", "")},
    ),
    "truncated wav": Case(
        lambda p: p.with_suffix(".wav").write_bytes(wav(clip(p).with_suffix(".wav"), sine(0.4)).read_bytes()[:5000]),
        "vts",
        ("decode_error", "bad.wav"),
        {DURATION: ("missing_output", "")},
    ),
    "wav at 8 kHz": Case(lambda p: beside(p, sine(1.0, 8000), 8000), "vts", OK, {DURATION: OK, WER: OK}),
    "wav at 192 kHz": Case(lambda p: beside(p, sine(0.4, 192_000), 192_000), "vts", OK, {DURATION: OK}),
    "wav at 1 Hz": Case(
        lambda p: beside(p, np.zeros(3), 1), "vts", ("shape_mismatch", "1 Hz"), {DURATION: ("missing_output", "")}
    ),
    "wav of 5.1 channels": Case(
        lambda p: beside(p, np.stack([sine(1.0)] * 6, axis=1)), "vts", OK, {DURATION: OK, WER: OK}
    ),
    "silent wav": Case(
        lambda p: beside(p, np.zeros(16_000)),
        "vts",
        OK,
        {DURATION: OK, WER: OK, SECS: ("silent_audio", "")},
    ),
    "clipped wav": Case(lambda p: beside(p, np.sign(sine(1.0))), "vts", OK, {DURATION: OK, WER: OK}),
    "wav beyond full scale": Case(
        lambda p: beside(p, 40 * sine(1.0), kind="float32"), "vts", OK, {DURATION: OK, WER: OK}
    ),
    "video of 1 frame": Case(
        lambda p: film_only(p, picture(0, 1)), "a2v", OK, {SSIM: OK, PSNR: OK, AVSYNC: ("too_short", "")}
    ),
    "video of 4x4 pixels": Case(
        lambda p: film_only(p, picture(0, 5, (4, 4))), "a2v", OK, {PSNR: OK, SSIM: ("too_short", "")}
    ),
    "video of odd size": Case(lambda p: film_only(p, picture(0, 5, (67, 51))), "a2v", OK, {SSIM: OK, PSNR: OK}),
    "black video": Case(lambda p: film_only(p, np.zeros((5, 64, 64, 3), np.uint8)), "a2v", OK, {SSIM: OK, PSNR: OK}),
    "no face": Case(
        lambda p: film_only(p, faces(0)), "a2v", OK, {LMD: ("no_face", ""), CSIM: ("no_face", ""), PSNR: OK}
    ),
    "one face": Case(lambda p: film_only(p, faces(1)), "a2v", OK, {LMD: OK, CSIM: OK}),
    "two faces": Case(lambda p: film_only(p, faces(2)), "a2v", OK, {LMD: OK, CSIM: OK}),
}


@pytest.mark.parametrize("name", CASES)
def test_bad_media(name: str, bench: Bench, tree: Path) -> None:
    case = CASES[name]
    protocols = list(case.scores)
    old = bench.run_ids()
    before = bench.kept(old)
    (tree / "zed").mkdir()
    case.make(tree / f"{BAD}.mp4")
    arguments = ("-s", "ground-truth", "--data-root", tree, "--task", case.task, "--metrics", ",".join(protocols))
    told = bench.run(*arguments)
    (run_id,) = set(bench.run_ids()) - set(old)
    found = bench.result(run_id, protocols)
    assert sorted(found) == ["ann/one", "bob/one", BAD], "every clip has a row"
    for where, expected in {"": case.output, **case.scores}.items():
        kind, detail = found[BAD][where]
        assert (kind, expected[1] in detail) == (expected[0], True), (where, found[BAD][where])
    assert found["ann/one"][""].kind == found["bob/one"][""].kind == "ok"
    scored = {p: sum(own[p].kind == "ok" for own in found.values()) for p in protocols}
    assert told.code == (0 if all(scored.values()) else 1), "1 where a protocol has no value at all"
    failed = any(row.kind != "ok" for own in found.values() for row in own.values())
    assert bench.run(*arguments, "--strict").code == (1 if failed else 0)
    assert bench.kept(old) == before, "what was stored before stays"
    assert leftovers(bench.store) == []


def damaged(data: bytes, random: np.random.Generator) -> bytes:
    """A file with bytes changed or cut out, mostly in its head or in its last part, where mp4 keeps its tables."""
    found = bytearray(data)
    if random.random() < 0.3:
        start = int(random.integers(len(found)))
        del found[start : start + int(random.integers(1, 200))]
        return bytes(found)
    base = int(random.choice([0, max(0, len(found) - 2500)]))
    for place in random.integers(2500, size=int(random.integers(1, 20))):
        found[(base + int(place)) % len(found)] = int(random.integers(256))
    return bytes(found)


@pytest.mark.parametrize("suffix", [".mp4", ".wav"])
def test_damage_anywhere_is_a_typed_failure(suffix: str, tmp_path: Path) -> None:
    random = np.random.default_rng(11)
    whole = clip(tmp_path / "whole.mp4") if suffix == ".mp4" else wav(tmp_path / "whole.wav", sine(0.4))
    path, silent = tmp_path / f"damaged{suffix}", tmp_path / "silent.mp4"
    readers = (media.probe, lambda p: media.decode_video(Source(p)), lambda p: media.decode_audio(Source(p)))
    kinds = Counter[str]()
    for _ in range(200):
        path.write_bytes(damaged(whole.read_bytes(), random))
        for read in (*readers, lambda p: media.strip_audio(Source(p), silent)):
            try:
                read(path)
            except Unscorable as error:
                kinds[error.kind] += 1
    assert kinds["decode_error"] > 20
    assert set(kinds) <= {"decode_error", "no_audio_stream", "no_video_stream", "too_short", "nan"}


def test_4k_is_generated_in_bounded_memory(bench: Bench, tree: Path) -> None:
    frames = 16
    still = np.broadcast_to(picture(0, 1, (2160, 3840)), (frames, 2160, 3840, 3))
    film_only(tree / f"{BAD}.mp4", still)
    arguments = ("-s", "ground-truth", "--data-root", tree, "--task", "a2v", "--workers", "0", "--clips", "zed/*")
    tracemalloc.start()
    try:
        assert bench("generate", "-q", "-d", "folder", *arguments).code == 0
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    (row,) = bench.outputs("ground-truth", "a2v").values()
    assert (row.status, row.n_frames) == ("ok", frames)
    assert peak < 0.75 * still.nbytes, f"{peak / 2**20:.0f} MiB: pieces of it, never the whole clip"
