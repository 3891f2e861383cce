"""Clips that are silent, faceless, short, cut or broken, from files through the store to the table.

Every metric has its number or its kind of failure for every clip; no clip is missing, and no failure of one metric
takes a number of another one away. The canonical metrics take part with weights by rule (metrics/seeded.py).
"""

from __future__ import annotations

import csv
import json
import sys
import wave
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from e2e_kit import HERE

from bench import cli, registry
from bench.media import write_video

sys.path.insert(0, str(HERE.parent / "metrics"))
from audio_helpers import SENTENCES, noise, speech
from video_helpers import clip, portrait

SEEDED = HERE.parents[1] / "metrics" / "seeded.py"
FRAMES = 7
LSE, TRACKS = "seeded/lse-syncnet-v2-wav2lip-nojpeg@0", "seeded-tracks/lse-syncnet-v2-pipeline-mem@0"
WHISPER, UTMOS = "seeded/wer-whisper-medium@0", "seeded/utmos-strong-learner@0"
CSIM, FID, FACE_FID = "seeded/csim-arcface-r100@0", "seeded/fid-inception-pt@0", "seeded/fid-inception-pt-face@0"
WER, SECS, SSIM, LMD = "wer/pocketsphinx-grid@1", "secs/resemblyzer@1", "ssim/skimage-gaussian@1", "lmd/mouth20-iod@1"
DURATION, DLIB_CSIM = "duration/abs@1", "csim/dlib-resnet@1"
QUICK = (LSE, TRACKS, WHISPER, WER, SECS, SSIM, LMD, DURATION, DLIB_CSIM)
ALL = (*QUICK, UTMOS, CSIM, FID, FACE_FID)
SOUND = (LSE, TRACKS, WHISPER, UTMOS, WER, SECS)

#: Per clip the kinds of failure by protocol; a protocol that is not named has a number. ``*``: all.
EXPECTED: dict[str, dict[str, str]] = {
    "a/ordinary": {},
    "a/silent": {SECS: "silent_audio"},
    "a/no_speech": {SECS: "silent_audio"},
    "b/no_face": dict.fromkeys((LMD, DLIB_CSIM, CSIM, FACE_FID), "no_face"),
    "b/face_in_some_frames": dict.fromkeys((LMD, CSIM, FACE_FID), "no_face"),  # DLIB_CSIM: in one of its two frames
    "b/two_faces": {},
    "b/cut": {},
    "c/one_frame": dict.fromkeys((LSE, WHISPER, UTMOS, WER), "too_short") | {SECS: "silent_audio"},
    "c/five_frames": {LSE: "too_short"},
    "c/sound_40_ms_longer": {},
    "c/sound_40_ms_shorter": {},
    "d/no_words": dict.fromkeys((WHISPER, WER), "empty_reference"),
    "d/no_sound": {"*": "missing_output"},  # nothing to copy: the control's failure is no_audio_stream
    "d/nan": {"*": "missing_output"},
}
TOO_SHORT_FOR_A_TRACK = {TRACKS: "no_track"}  # all of them


def bench(*arguments: object, code: int = 0) -> None:
    """``bench …`` in this process, expected to end with ``code``."""
    assert cli.invoke([str(argument) for argument in arguments]) == code


def expected(clip_id: str, protocol: str) -> str:
    """The kind of failure, or nothing."""
    kinds = EXPECTED[clip_id]
    return kinds.get("*") or {**TOO_SHORT_FOR_A_TRACK, **kinds}.get(protocol, "")


def write(root: Path, clip_id: str, frames: Any, samples: Any, text: str = SENTENCES[0]) -> None:
    """An mp4 with its sound as a WAV beside it (float32 where it has to be), and the words."""
    path = root / f"{clip_id}.mp4"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_video(path, np.ascontiguousarray(frames), audio=None)
    path.with_suffix(".txt").write_text(text + "\n")
    if samples is None:
        return
    if np.isnan(samples).any():
        import soundfile

        soundfile.write(path.with_suffix(".wav"), samples, 16000, subtype="FLOAT")
        return
    with wave.open(str(path.with_suffix(".wav")), "wb") as file:
        file.setparams((1, 2, 16000, 0, "NONE", ""))
        file.writeframes(np.round(np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes())


@pytest.fixture(scope="session")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The clips of :data:`EXPECTED`, seven frames each, with 1.6 s of sound unless that is the point."""
    pytest.importorskip("pocketsphinx")
    root = tmp_path_factory.mktemp("degenerate")
    faces, said = clip(FRAMES), np.array(speech()[4000:29600])
    some, cut = faces.copy(), faces.copy()
    some[2:], cut[3:] = 90, portrait()[:, ::-1] // 2
    write(root, "a/ordinary", faces, said)
    write(root, "a/silent", faces, np.zeros_like(said))
    write(root, "a/no_speech", faces, noise(len(said), 0.02))
    write(root, "b/no_face", np.full_like(faces, 90), said)
    write(root, "b/face_in_some_frames", some, said)
    write(root, "b/two_faces", np.concatenate([faces, faces[:, :, ::-1]], axis=2), said)
    write(root, "b/cut", cut, said)
    write(root, "c/one_frame", faces[:1], said[9000:9640])
    write(root, "c/five_frames", faces[:5], said)
    write(root, "c/sound_40_ms_longer", faces, said[: (FRAMES + 1) * 640])
    write(root, "c/sound_40_ms_shorter", faces, said[: (FRAMES - 1) * 640])
    write(root, "d/no_words", faces, said, text="[noise] um")
    write(root, "d/no_sound", faces, None)
    write(root, "d/nan", faces, np.where(np.arange(len(said)) == 777, np.nan, said).astype(np.float32))
    return root


def check(clips: Path, folder: Path, protocols: Sequence[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Run, and hold table and rows against :data:`EXPECTED`."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    store, plugin = folder / "store", ("--plugin", SEEDED)
    where = ("--dataset", "folder", "--data-root", clips, "--task", "t2av", "--out", store, "--workers", 1)
    bench("run", "-q", "-s", "ground-truth", *where, "--metrics", ",".join(set(protocols) - {TRACKS}), *plugin)
    bench("score", "-q", "-s", "ground-truth", *where, "--metrics", TRACKS, *plugin, code=1)  # no value at all
    bench("leaderboard", "--out", store, "-f", "json", "--save", folder / "table.json", *plugin)
    bench("export", folder / "rows.csv", "--out", store, *plugin)
    check_table(json.loads((folder / "table.json").read_text(encoding="utf-8")), protocols)
    with (folder / "rows.csv").open(encoding="utf-8", newline="") as file:
        check_rows(list(csv.DictReader(file)), protocols)
    monkeypatch.setattr(registry, "_trial", {group: {} for group in registry._trial})
    bench("leaderboard", "--out", store, "-f", "json", "--save", folder / "plain.json")  # as without the plug-in
    table, plain = (json.loads((folder / f"{name}.json").read_text(encoding="utf-8")) for name in ("table", "plain"))
    assert plain == [row for row in table if not row["protocol"].startswith("seeded")]


def check_table(table: list[dict[str, Any]], protocols: Sequence[str]) -> None:
    assert {row["protocol"] for row in table} >= set(protocols)
    for row in table:
        if row["protocol"] not in protocols:
            continue
        failed = sum(bool(expected(clip_id, row["protocol"])) for clip_id in EXPECTED)
        assert (row["protocol"], row["n_scored"], row["n_failed"]) == (
            row["protocol"],
            len(EXPECTED) - failed,
            failed,
        )
        assert (row["value"] is None) == (failed == len(EXPECTED))


def check_rows(rows: list[dict[str, str]], protocols: Sequence[str]) -> None:
    kinds = {(row["clip_id"], row["protocol"]): row["failure"] for row in rows}
    for protocol in protocols:
        found = {clip_id: kinds.get((clip_id, protocol)) for clip_id in EXPECTED}
        assert (protocol, found) == (protocol, {clip_id: expected(clip_id, protocol) for clip_id in EXPECTED})
    assert Counter(row["status"] for row in rows if row["protocol"] in protocols).keys() == {"ok", "failed"}


def test_every_clip_has_its_number_or_its_kind(clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check(clips, tmp_path, QUICK, monkeypatch)


@pytest.mark.slow
def test_with_all_canonical_metrics(clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check(clips, tmp_path, ALL, monkeypatch)
