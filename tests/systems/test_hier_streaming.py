"""Speech and faces that leave in chunks: equal to the whole, and in memory that does not grow with the text."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hier_small import frames, loaded, samples, tts, voice
from system_helpers import make_clip

from bench.api import Request, Unscorable
from bench.systems.hierspeech import streaming
from bench.systems.hierspeech.streaming import Chunk
from bench.systems.hierspeech.system import HierSpeech

pytest.importorskip("espeakng_loader")
LONG = "Place red at nine. Set blue by one! Lay green in two, please. Now."
BOX = (12.0, 6.0, 44.0, 40.0)
SENTENCE = "Place red at nine again, and set blue by one now. "


def everywhere(pictures: np.ndarray) -> list[np.ndarray]:
    """One box in every frame."""
    return [np.array([(*BOX, 0.9)]) for _ in pictures]


def chunks(system: HierSpeech, request: Request, gain: float = 1.0) -> list[Chunk]:
    return list(system.stream(request, gain))


def same_but_for_the_level(streamed: np.ndarray, whole: np.ndarray) -> None:
    """Equal times one factor, in steps of 16 bits of a whole whose greatest one is 0.999."""
    assert streamed.shape == whole.shape
    factor = np.abs(whole).max() / np.abs(streamed).max()
    assert np.abs(streamed * factor - whole).max() * 32768 <= 4


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def short_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streaming, "CHUNK_VECTORS", 13)


@pytest.mark.parametrize(("rate", "longest"), [(16000, 20), (24000, 20), (16000, 300)])
def test_the_chunks_are_the_whole_but_for_its_level(
    tmp_path: Path, short_chunks: None, rate: int, longest: int
) -> None:
    system = loaded(silent="off", longest_sentence=longest, output_rate=rate)
    request = tts(voice(tmp_path), LONG)
    made = chunks(system, request)
    assert len(made) > 4
    assert {(chunk.rate, chunk.frames is None) for chunk in made} == {(rate, True)}
    assert max(len(chunk.samples) for chunk in made) <= 13 * rate // 50
    whole = samples(system.generate([request])[0])
    same_but_for_the_level(np.concatenate([chunk.samples for chunk in made]), whole)


@pytest.mark.parametrize("seed", range(4))  # both odd and even numbers of vectors, in pieces and at the end
def test_faces_leave_with_the_speech_of_their_time(tmp_path: Path, short_chunks: None, seed: int) -> None:
    clip = make_clip(tmp_path, "one", frames=9)
    system = loaded(everywhere, silent="off", longest_sentence=20, face_batch=7)
    assert clip.clip.video is not None
    identity = {"identity": clip.clip.video.path, "identity_key": "id"}
    request = replace(tts(voice(tmp_path), LONG), task="t2av", seed=seed, **identity)  # type: ignore[arg-type]
    made = chunks(system, request)
    assert len(made) > 3
    assert all(c.frames is not None and len(c.samples) == len(c.frames) * 640 for c in made)
    (whole,) = system.generate([request])
    shown = np.concatenate([c.frames for c in made if c.frames is not None])
    assert shown.shape == frames(whole).shape
    apart = np.abs(shown.astype(int) - frames(whole))
    assert apart.max() <= 1
    assert apart.mean() < 0.01
    same_but_for_the_level(np.concatenate([c.samples for c in made]), samples(whole))


def test_a_gain_and_full_scale(tmp_path: Path) -> None:
    system = loaded(silent="off")
    request = tts(voice(tmp_path))
    plain = np.concatenate([c.samples for c in chunks(system, request)])
    louder = np.concatenate([c.samples for c in chunks(system, request, gain=0.5 / np.abs(plain).max())])
    assert np.abs(louder).max() == pytest.approx(0.5)
    limited = np.concatenate([c.samples for c in chunks(system, request, gain=2 / np.abs(plain).max())])
    assert np.abs(limited).max() == 1.0


def test_what_cannot_be_spoken_is_told_at_once(tmp_path: Path) -> None:
    system = loaded(everywhere, silent="off")
    good, there = voice(tmp_path), tmp_path / "absent.mp4"
    cases: list[tuple[dict[str, Any], str]] = [
        ({"text": "…"}, "empty_reference"),
        ({"voice": None}, "missing_reference"),
        ({"voice": voice(tmp_path, 1.0, 0.0, "silent"), "voice_key": None}, "silent_audio"),
        ({"task": "t2av"}, "missing_reference"),
        ({"task": "t2av", "identity": there}, "decode_error"),
        ({"task": "a2v", "text": None}, "model_error"),
    ]
    for changes, kind in cases:
        with pytest.raises(Unscorable) as caught:
            system.stream(replace(tts(good), **changes))
        assert caught.value.kind == kind


SCRIPT = """
import json, sys
from pathlib import Path
import torch
torch.set_num_threads(1)
from test_hier_streaming import *
folder, characters = Path(sys.argv[1]), int(sys.argv[2])
clip = make_clip(folder, "one", frames=9, size=(96, 128))
system = loaded(everywhere, silent="off", longest_sentence=100, length_scale=0.25, max_token_frames=2)
text = (SENTENCE * (1 + characters // len(SENTENCE)))[:characters]
request = replace(tts(voice(folder), text), task="t2av", identity=clip.clip.video.path, identity_key="id")
count = size = 0
for chunk in system.stream(request):
    count += len(chunk.frames)
    size += chunk.frames.nbytes + chunk.samples.nbytes
peak = next(int(line.split()[1]) / 1024 for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(json.dumps({"frames": count, "mb": size / 2**20, "peak": peak}))
"""


def _measured(folder: Path, characters: int) -> dict[str, float]:
    folder.mkdir()
    command = [sys.executable, "-c", SCRIPT, str(folder), str(characters)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(__file__).parent)
    assert done.returncode == 0, done.stderr
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from /proc")
def test_memory_is_flat_from_500_to_5000_characters(tmp_path: Path) -> None:
    short, long = _measured(tmp_path / "a", 500), _measured(tmp_path / "b", 5000)
    assert long["frames"] > 8 * short["frames"]
    assert long["mb"] - short["mb"] > 200  # what left, had it stayed
    # the allocator and the convolutions' cache of kernels by shape fill up to a bound: 30 MB were seen
    assert long["peak"] - short["peak"] < 50
