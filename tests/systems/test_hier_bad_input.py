"""Bad texts, voices and videos through ``bench run``: each gets an output or a typed failure, the rest its output."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from bench import cli, media, registry
from bench.api import Audio
from bench.store import Store

pytest.importorskip("espeakng_loader")
pytest.importorskip("dlib")
RATE, FPS = 16_000, 25
PLUGIN = Path(__file__).with_name("small_plugin.py")
TEXT = "bin blue at a one now"
#: As few frames as there are symbols.
FAST = ("--set", "length_scale=0.25", "--set", "max_token_frames=1")


@pytest.fixture(autouse=True)
def _own_world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("BENCH_DATA", "BENCH_OUT", "BENCH_PLUGIN", "BENCH_LIMIT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(registry, "_trial", {group: dict(known) for group, known in registry._trial.items()})


def tone(seconds: float, gain: float = 0.3) -> Audio:
    times = np.arange(round(seconds * RATE)) / RATE
    samples = gain * np.sign(np.sin(2 * np.pi * 140 * times)) + (gain > 0) * 0.01 * np.cos(9000 * times)
    return Audio(samples.clip(-1, 1).astype(np.float32), RATE)


def portrait(side: int = 120) -> np.ndarray:
    """A face that fills most of a square picture (public domain)."""
    import cv2

    picture = pytest.importorskip("skimage.data").astronaut()[:260, 90:350]
    return np.asarray(cv2.resize(picture, (side, side), interpolation=cv2.INTER_AREA))


def film(*faces: tuple[int, int, int], frames: int = 8, size: tuple[int, int] = (128, 160)) -> np.ndarray:
    """Grey pictures (T, H, W, 3) with portraits (x, y, side); what lies outside is cut off."""
    out = np.full((frames, *size, 3), 127, np.uint8)
    for x, y, side in faces:
        cut = portrait(side)[: size[0] - y, : size[1] - x]
        out[:, y : y + cut.shape[0], x : x + cut.shape[1]] = cut
    return out


def clip(path: Path, pictures: np.ndarray, sound: Audio | None = None, text: str = TEXT) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    media.write_video(path, pictures, audio=sound or tone(len(pictures) / FPS))
    path.with_suffix(".txt").write_text(text, encoding="utf-8")


def ran(root: Path, system: str, task: str, *more: str, plugin: Path = PLUGIN) -> dict[str, str]:
    """``ok``, or the kind of failure, per clip; every clip has one or the other, and a failure says why."""
    store = root.with_name(f"store-{system}-{task}-{len(more)}")
    command = ["run", "-q", "-s", system, "--plugin", str(plugin), "--dataset", "folder", "--data-root", str(root)]
    code = cli.invoke([*command, "--task", task, "--workers", "0", "--metrics", "duration", "--out", str(store), *more])
    assert code == 0
    with Store.open(store, write=False) as kept:
        (run,) = kept.runs(task=task)
        rows = kept.outputs(run.id)
        assert sorted(rows) == sorted(one.clip_id for one in kept.run_clips(run.id))
    assert all(row.detail for row in rows.values() if row.kind)
    return {clip_id: row.kind or "ok" for clip_id, row in rows.items()}


def expected(cases: Mapping[str, str]) -> dict[str, str]:
    return dict(sorted(cases.items()))


#: name: (text, kind)
TEXTS = {
    "empty": ("", "empty_reference"),
    "blanks": (" \n ", "empty_reference"),
    "marks": ("?! … ()", "empty_reference"),
    "cyrillic": ("Привет, мир.", "empty_reference"),
    "chinese": ("你好，世界。", "empty_reference"),
    "emoji": ("🙂", "empty_reference"),
    "digits": ("1234567890", "ok"),
    "symbols": ("50% & $7.20 @ 3:45", "ok"),
    "two scripts": ("place Привет red", "ok"),
    "good": (TEXT, "ok"),
}
LONG_TEXTS = {
    "5,000 characters": ("Place red at nine again. " * 200, "ok"),
    "one word of 5,000": ("a" * 5000, "ok"),
    "good": (TEXT, "ok"),
}


@pytest.mark.parametrize("texts", [TEXTS, pytest.param(LONG_TEXTS, marks=pytest.mark.slow)], ids=["odd", "long"])
def test_texts(tmp_path: Path, texts: dict[str, tuple[str, str]]) -> None:
    root = tmp_path / "tree"
    blank = film(size=(32, 32), frames=4)
    for name, (text, _) in texts.items():
        clip(root / "ann" / f"{name.replace(' ', '-')}.mp4", blank, tone(0.3), text)
    wanted = {f"ann/{name.replace(' ', '-')}": kind for name, (_, kind) in texts.items()}
    assert expected(ran(root, "small-speech", "tts", *FAST)) == expected(wanted)


#: speaker: (seconds and gain of the reference, kind)
VOICES = {
    "short": (0.2, 0.3, "ok"),
    "clipped": (1.0, 9.0, "ok"),
    "silent": (1.0, 0.0, "silent_audio"),
    "click": (0.04, 0.3, "ok"),  # AAC fills its last block: 64 ms
    "good": (1.0, 0.3, "ok"),
}


def test_voices(tmp_path: Path) -> None:
    root = tmp_path / "tree"
    for name, (seconds, gain, _) in VOICES.items():
        pictures = film(size=(32, 32), frames=round(seconds * FPS))
        clip(root / name / "reference.mp4", pictures, tone(seconds, gain))
        clip(root / name / "spoken.mp4", film(size=(32, 32), frames=8))
    found = ran(root, "small-speech", "tts", *FAST)
    assert {name: found[f"{name}/spoken"] for name in VOICES} == {name: kind for name, (*_, kind) in VOICES.items()}
    assert {found[f"{name}/reference"] for name in VOICES} == {"ok"}


def no_picture(path: Path) -> None:
    """A file whose video stream has no frame."""
    clip(path, film((4, 4, 120)))
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=FPS)
        video.width, video.height, video.pix_fmt = 64, 64, "yuv420p"
        sound = container.add_stream("aac", rate=RATE)
        frame = av.AudioFrame.from_ndarray(tone(0.4).samples[None], format="fltp", layout="mono")
        frame.sample_rate = RATE
        container.mux([*sound.encode(frame), *sound.encode(None)])


def at_rate(rate: Fraction) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        clip(path, film((4, 4, 120)))
        with av.open(str(path), "w") as container:
            stream = container.add_stream("libx264", rate=rate)
            stream.width, stream.height, stream.pix_fmt = 160, 128, "yuv420p"
            sound = container.add_stream("aac", rate=RATE)
            for picture in film((4, 4, 120), frames=12):
                container.mux(stream.encode(av.VideoFrame.from_ndarray(picture)))
            container.mux(stream.encode(None))
            frame = av.AudioFrame.from_ndarray(tone(0.4).samples[None], format="fltp", layout="mono")
            frame.sample_rate = RATE
            container.mux([*sound.encode(frame), *sound.encode(None)])

    return write


def leaving() -> np.ndarray:
    """The face is there for six frames, then half of it, then none."""
    pictures = [film((4, 4, 120), frames=6), film((110, 4, 120), frames=3), film(frames=5)]
    return np.concatenate(pictures)


def of(pictures: np.ndarray, sound: Audio | None = None) -> Callable[[Path], None]:
    return lambda path: clip(path, pictures, sound)


#: name: (how it is written, kind from ``hierspeech`` (track 0), kind from ``wav2lip`` (the best of every frame))
VIDEOS: dict[str, tuple[Any, str, str]] = {
    "good": (of(film((4, 4, 120))), "ok", "ok"),
    "no-face": (of(film()), "no_face", "no_face"),
    "face-of-20-px": (of(film((60, 50, 20))), "no_face", "no_face"),
    "30-fps": (at_rate(Fraction(30)), "ok", "ok"),
    "12.5-fps": (at_rate(Fraction(25, 2)), "ok", "ok"),
    "longer-sound": (of(film((4, 4, 120)), tone(0.8)), "ok", "ok"),
    "longer-video": (of(film((4, 4, 120), frames=20), tone(0.3)), "ok", "ok"),
    "no-frame": (no_picture, "missing_reference", "missing_reference"),
    "161x123": (of(film((2, 2, 119), size=(123, 161))), "ok", "ok"),
    "leaves": (of(leaving()), "ok", "no_face"),
    "two-faces": (of(film((4, 4, 120), (130, 10, 100), size=(128, 240))), "ok", "ok"),
    "one-frame": (of(film((4, 4, 120), frames=1)), "ok", "ok"),
}


@pytest.mark.parametrize(("system", "column"), [("small-speech", 1), ("small-dub", 2)])
def test_videos(tmp_path: Path, system: str, column: int) -> None:
    root = tmp_path / "tree"
    for name, case in VIDEOS.items():
        case[0](root / "ann" / f"{name}.mp4")
    found = ran(root, system, "a2v")
    assert expected(found) == expected({f"ann/{name}": str(case[column]) for name, case in VIDEOS.items()})
    second = ran(root, system, "a2v", "--set", "face=1")
    wanted = {name: "ok" if name == "two-faces" else "no_face" for name in VIDEOS} | {"no-frame": "missing_reference"}
    assert expected(second) == expected({f"ann/{name}": kind for name, kind in wanted.items()})
