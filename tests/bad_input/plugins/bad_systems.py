"""Systems that do one clip (that of 12 frames) wrong, each in a way of its own; the others get a hum."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from bench.api import Audio, Failure, Output, Request, System

BAD_FRAMES = 12


class Toy(System):
    """A hum; sub-classes spoil the bad clip."""

    version = "1"
    tasks = ("vts",)

    def generate(self, requests: Sequence[Request]) -> Any:
        return [self.spoil(request) if request.n_frames == BAD_FRAMES else hum(request) for request in requests]

    def spoil(self, request: Request) -> Any:
        """What the bad clip gets."""
        return hum(request)


def hum(request: Request) -> Output:
    import numpy as np

    length = 640 * (request.n_frames or 1)
    return Output(audio=Audio((0.1 * np.sin(np.arange(length) / 9)).astype(np.float32), 16_000))


def sound(samples: Any, rate: Any = 16_000) -> Output:
    return Output(audio=Audio(samples, rate))


def _zeros(*shape: int, kind: str = "float32") -> Any:
    import numpy as np

    return np.zeros(shape, kind)


def _raise(error: BaseException) -> Any:
    raise error


def _with_nan() -> Any:
    samples = _zeros(7680)
    samples[5] = float("nan")
    return samples


def _deep(n: int = 0) -> int:
    return _deep(n + 1) + 1


def _file_outside(request: Request) -> Output:
    path = Path("stray.wav").absolute()
    _wav(path)
    return Output(audio=path)


def _link_outside(request: Request) -> Output:
    _wav(Path("stray.wav").absolute())
    link = Path(str(request.workdir)) / "link.wav"
    link.symlink_to(Path("stray.wav").absolute())
    return Output(audio=link)


def _dotted(request: Request) -> Output:
    _wav(Path(str(request.workdir)).parent / "other.wav")
    return Output(audio=Path(str(request.workdir)) / ".." / "other.wav")


def _wav(path: Path) -> None:
    import wave

    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", ""))
        file.writeframes(bytes(2000))


def _remove_workdir(request: Request) -> Output:
    import shutil

    shutil.rmtree(str(request.workdir))
    return hum(request)


def _noisy(request: Request) -> Output:
    print("\x1b[2J" + "noise " * 100_000)
    sys.stderr.write("more noise " * 100_000)
    return hum(request)


def _elsewhere(request: Request) -> Output:
    os.chdir("/")
    return hum(request)


def _sleep() -> Any:
    time.sleep(600)


SPOILERS: dict[str, Callable[[Request], Any]] = {
    "raises": lambda r: _raise(ValueError("no such phoneme: \x1b[31mred")),
    "raises-a-long-text": lambda r: _raise(RuntimeError("x" * 1_000_000)),
    "recurses": lambda r: _deep(),
    "misses-a-package": lambda r: _raise(ImportError("no module named 'vocoder'")),
    "leaves-python": lambda r: sys.exit(3),
    "returns-nan": lambda r: sound(_with_nan()),
    "returns-2d": lambda r: sound(_zeros(2, 7680)),
    "returns-int16": lambda r: sound(_zeros(7680, kind="int16")),
    "returns-a-list": lambda r: sound([0.0] * 7680),
    "returns-nothing-in-it": lambda r: sound(_zeros(0)),
    "returns-rate-0": lambda r: sound(_zeros(7680), 0),
    "returns-rate-mhz": lambda r: sound(_zeros(7680), 10**6),
    "returns-rate-text": lambda r: sound(_zeros(7680), "16k"),
    "returns-rate-true": lambda r: sound(_zeros(7680), True),
    "returns-no-audio": lambda r: Output(),
    "returns-video-only": lambda r: Output(video=_zeros(12, 64, 64, 3, kind="uint8")),
    "returns-none": lambda r: None,
    "returns-samples": lambda r: _zeros(7680),
    "returns-unknown-failure": lambda r: Failure("tired", "long day"),
    "names-no-file": lambda r: Output(audio=Path(str(r.workdir)) / "never.wav"),
    "names-a-folder": lambda r: Output(audio=Path(str(r.workdir))),
    "names-its-input": lambda r: Output(audio=r.video),
    "names-a-file-outside": _file_outside,
    "links-outside": _link_outside,
    "dots-outside": _dotted,
    "removes-its-folder": _remove_workdir,
    "is-noisy": _noisy,
    "goes-elsewhere": _elsewhere,
    "hangs": lambda r: _sleep(),
    "exits": lambda r: os._exit(0),
    "is-killed": lambda r: os.kill(os.getpid(), signal.SIGKILL),
    "crashes": lambda r: os.kill(os.getpid(), signal.SIGSEGV),
    "wants-memory": lambda r: _raise(MemoryError("300 GiB")),
}


def _class(name: str, spoiler: Callable[[Request], Any]) -> type[Toy]:
    body = {"name": name, "__module__": __name__, "spoil": lambda self, request: spoiler(request)}
    return type(name.title().replace("-", ""), (Toy,), body)


globals().update({f"System{i}": _class(name, spoiler) for i, (name, spoiler) in enumerate(SPOILERS.items())})


class TooFew(Toy):
    """One output less than requests, when there is a bad one among them."""

    name = "returns-too-few"

    def generate(self, requests: Sequence[Request]) -> Any:
        return [hum(request) for request in requests if request.n_frames != BAD_FRAMES]


class Lazy(Toy):
    """A generator in place of a list."""

    name = "returns-a-generator"

    def generate(self, requests: Sequence[Request]) -> Any:
        return (hum(request) for request in requests)


class NotLoaded(Toy):
    """Cannot be loaded."""

    name = "fails-to-load"

    def load(self, device: str, dtype: str) -> None:
        raise RuntimeError("the checkpoint has no key 'encoder.weight'")


class NotMade(Toy):
    """Cannot even be made."""

    name = "fails-to-be-made"

    def __init__(self, settings: Any = None) -> None:
        raise RuntimeError("no settings, please")


class Missing(Toy):
    """Says what it misses."""

    name = "misses-weights"

    def missing(self) -> list[str]:
        return ["vocoder.pt: put it into the weights folder"]


class Video(Toy):
    """Pictures in place of films; ``shape`` and ``kind`` are wrong in turn."""

    tasks = ("a2v",)
    shape: tuple[int, ...] = (12, 64, 64, 3)
    kind = "uint8"

    def generate(self, requests: Sequence[Request]) -> Any:
        return [
            Output(video=_zeros(*(self.shape if r.n_frames == BAD_FRAMES else (r.n_frames or 1, 64, 64, 3)), kind=k))
            for r in requests
            for k in [self.kind if r.n_frames == BAD_FRAMES else "uint8"]
        ]


class FloatVideo(Video):
    """Frames in [0, 1]."""

    name = "returns-float-video"
    kind = "float32"


class GreyVideo(Video):
    """One channel."""

    name = "returns-grey-video"
    shape = (12, 64, 64)


class FirstVideo(Video):
    """Channels first."""

    name = "returns-channels-first"
    shape = (12, 3, 64, 64)


class NoVideo(Video):
    """No frame."""

    name = "returns-no-frame"
    shape = (0, 64, 64, 3)


class LongVideo(Video):
    """Twice as long as asked for."""

    name = "returns-too-long"
    shape = (24, 64, 64, 3)


class HangsAlways(Toy):
    """Never answers."""

    name = "hangs-always"

    def generate(self, requests: Sequence[Request]) -> Any:
        _sleep()
