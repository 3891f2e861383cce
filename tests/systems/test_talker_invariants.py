"""What must hold of ``talker`` whatever it has learned: batches, caches, lengths, and what a task may read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hier_small import voice
from talker_small import HOP, Detector, asked, film, loaded, own_weights, pictures, sound

from bench.api import Output, Request
from bench.systems.talker.system import Talker

#: A row in a batch against the same row alone. Latents differ by rounding, some 1e-6; of that a decoder with weights by
#: rule makes up to 1e-2 in single samples, and 4e-6 in the mean.
MEAN, PEAK = 2e-5, 3e-2
TINY_HOP = 640


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("talker-rules")
    for name, frames in (("film", 8), ("odd", 10), ("long", 77)):
        film(folder, frames, name)
    for name, seconds in (("voice", 1.0), ("other", 0.7), ("drive", 3.2)):
        voice(folder, seconds, name=name)
    return folder


@pytest.fixture(scope="module")
def system() -> Talker:
    return loaded()


@pytest.fixture(scope="module")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Talker:
    own = own_weights(tmp_path_factory.mktemp("weights"))
    made = Talker({"tier": "embedded", **own, "steps": 2, "max_seconds": 0.3}, detect=Detector())
    made.load("cpu", "float32")
    return made


def mixed(world: Path) -> list[Request]:
    """All tasks, several voices and lengths."""
    one, other = {"voice": world / "voice.wav"}, {"voice": world / "other.wav"}
    requests = [
        asked("t2av", text="bin red", identity=world / "film.mp4", **one),
        asked("t2av", text="lay green with q two now", identity=world / "odd.mp4", **other),
        asked("tts", text="set blue by five again", **one),
        asked("a2v", audio=world / "drive.wav", identity=world / "film.mp4", n_frames=9),
        asked("a2v", audio=world / "other.wav", identity=world / "odd.mp4"),
        asked("vts", video=world / "odd.mp4", **one),
        asked("vts", video=world / "film.mp4", **other),
        asked("dub", video=world / "odd.mp4", text="place red at nine", **one),
    ]
    return [replace(request, seed=place) for place, request in enumerate(requests)]


def same(one: Any, other: Any) -> None:
    """Equal sound but for rounding, pictures but for one level."""
    assert isinstance(one, Output) and isinstance(other, Output)
    assert (one.audio is None, one.video is None) == (other.audio is None, other.video is None)
    if one.audio is not None:
        apart = np.abs(sound(one) - sound(other))
        assert apart.mean() <= MEAN and apart.max() <= PEAK
    if one.video is not None:
        assert np.abs(pictures(one).astype(int) - pictures(other)).max() <= 1


@pytest.mark.parametrize("seed", [0, 1])
def test_order_and_size_of_batches_change_nothing(world: Path, system: Talker, seed: int) -> None:
    """Requests in shuffled batches of 1, 2, 3 ..., to a fresh system (as another worker's) with another slot number."""
    requests = mixed(world)
    wanted = system.generate(requests)
    order = np.random.default_rng(seed).permutation(len(requests)).tolist()
    fresh = loaded(slots=2 + seed)
    found: dict[int, Any] = {}
    for size in (1, 2, 3, 4):
        batch = [order.pop() for _ in range(min(size, len(order)))]
        found.update(zip(batch, fresh.generate([requests[place] for place in batch]), strict=True))
    assert len(found) == len(requests)
    for place, one in enumerate(wanted):
        same(one, found[place])


def test_the_same_in_tier_embedded(world: Path, embedded: Talker) -> None:
    requests = mixed(world)
    wanted = embedded.generate(requests)
    for one, other in zip(wanted, embedded.generate(requests[::-1])[::-1], strict=True):
        assert isinstance(one, Output) and isinstance(other, Output)
        if one.video is not None:
            assert np.abs(pictures(one).astype(int) - pictures(other)).max() <= 1
        if one.audio is not None:
            assert len(sound(one)) == len(sound(other))
            # Griffin-Lim enlarges what rounding leaves of a difference (1e-6 in the latents): at most 1 % of the sound
            assert np.abs(sound(one) - sound(other)).mean() <= 0.01 * np.abs(sound(one)).mean()


def test_a_failure_in_a_batch_changes_nothing(world: Path, system: Talker) -> None:
    requests = mixed(world)
    wanted = system.generate(requests)
    bad = [asked("tts", text=""), asked("vts"), asked("a2v", audio=world / "none.wav", identity=world / "film.mp4")]
    spread = [one for request in requests for one in (*bad[:1], request, *bad[1:])]
    found = [result for result in system.generate(spread) if isinstance(result, Output)]
    assert len(found) == len(requests)
    for one, other in zip(wanted, found, strict=True):
        same(one, other)


@pytest.mark.parametrize("which", ["system", "embedded"])
def test_vts_reads_no_text_and_dub_does(world: Path, request: pytest.FixtureRequest, which: str) -> None:
    made: Talker = request.getfixturevalue(which)
    given = {"video": world / "odd.mp4", "voice": world / "voice.wav"}
    texts = (None, "place red", "x" * 5000, "你好")
    # alone, so that not even rounding differs
    first, *others = [made.generate([asked("vts", text=text, **given)])[0] for text in texts]
    for other in others:
        np.testing.assert_array_equal(sound(first), sound(other))
    one, other = [made.generate([asked("dub", text=text, **given)])[0] for text in ("place red", "set blue")]
    assert np.abs(sound(one) - sound(other)).max() > 1e-5


def test_a2v_reads_neither_text_nor_voice(world: Path, system: Talker) -> None:
    given = {"audio": world / "other.wav", "identity": world / "film.mp4"}
    one, other = [
        system.generate([asked("a2v", **given, **more)])[0]
        for more in ({}, {"text": "place red", "voice": world / "voice.wav"})
    ]
    np.testing.assert_array_equal(pictures(one), pictures(other))


#: Frames: fewer than a patch, whole patches, and one more or less.
LENGTHS = [pytest.param([*range(1, 10)], id="short"), pytest.param([*range(74, 78)], id="long", marks=pytest.mark.slow)]


@pytest.mark.parametrize("lengths", LENGTHS)
@pytest.mark.parametrize("which", ["system", "embedded"])
@pytest.mark.parametrize("task", ["vts", "dub"])
def test_speech_is_as_long_as_the_video(
    world: Path, request: pytest.FixtureRequest, task: str, which: str, lengths: list[int]
) -> None:
    """To the frame, whether the whole video is followed or, as in tier embedded, the mouth."""
    made: Talker = request.getfixturevalue(which)
    hop = HOP if which == "system" else TINY_HOP
    given = {"video": world / "long.mp4", "voice": world / "voice.wav", "text": "place red"}
    results = made.generate([asked(task, **given, n_frames=frames) for frames in lengths])
    assert [len(sound(result)) for result in results] == [hop * frames for frames in lengths]


@pytest.mark.parametrize("lengths", LENGTHS)
@pytest.mark.parametrize("which", ["system", "embedded"])
def test_a_face_is_as_long_as_its_speech(
    world: Path, request: pytest.FixtureRequest, which: str, lengths: list[int]
) -> None:
    made: Talker = request.getfixturevalue(which)
    given = {"audio": world / "drive.wav", "identity": world / "film.mp4"}
    results = made.generate([asked("a2v", **given, n_frames=frames) for frames in lengths])
    assert [len(pictures(result)) for result in results] == lengths


@pytest.mark.parametrize("frames", [1, 3, 5])
def test_without_a_wish_the_video_s_own_length_counts(world: Path, system: Talker, frames: int) -> None:
    path = film(world, frames, f"own-{frames}")
    audio = voice(world, frames / 25, name=f"own-{frames}")
    heard, shown = system.generate(
        [
            asked("vts", video=path, voice=world / "voice.wav"),
            asked("a2v", audio=audio, identity=world / "film.mp4"),
        ]
    )
    assert len(sound(heard)) == frames * HOP
    assert len(pictures(shown)) == frames


@pytest.mark.parametrize("span", [(3, 9), (3, 22), (2, 19)], ids=str)
def test_a_moving_mouth_of_about_the_longest_piece_is_followed_to_its_end(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, span: tuple[int, int]
) -> None:
    """With whole patches it may be longer than a piece: then it is two, and none of its speech is lost."""
    own = own_weights(tmp_path)
    made = Talker({"tier": "embedded", **own, "steps": 1, "longest_seconds": 1}, detect=Detector())
    made.load("cpu", "float32")
    pipeline = made._pipeline
    assert pipeline is not None
    front, heard = pipeline._front, []
    sounded = front.sound
    monkeypatch.setattr(front, "mouth_span", lambda codes: span)
    monkeypatch.setattr(front, "sound", lambda latents: heard.append(latents) or sounded(latents))
    (result,) = made.generate([asked("vts", video=world / "long.mp4", voice=world / "voice.wav", n_frames=60)])
    assert len(sound(result)) == 60 * TINY_HOP
    if span[1] - span[0] + 8 > 25:
        return  # longer than a piece: the whole clip is followed
    (latents,) = heard
    silent = [bool(torch.equal(row, latents[-1])) for row in latents]
    first = max(0, span[0] - 4)
    whole = -(-(span[1] + 4 - first) // 4) * 4
    assert silent == [True] * first + [False] * whole + [True] * (60 - first - whole)
