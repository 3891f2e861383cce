"""Synthetic trees in the exact layouts of LRS2, LRS3 and CinePile, with defects to order.

``make_tree(kind, root)`` writes a clean tree of small clips; ``plan`` maps clip ids to names of
:data:`DEFECTS`. ``demo_tree(kind, demo_root, root)`` makes the same layouts out of demo clips.
Equal arguments give equal bytes for one version of PyAV.
"""

from __future__ import annotations

import csv
import hashlib
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

FPS = 25
RATE = 16_000
BLOCK = 1024  # samples of an AAC packet
_SPOKEN = """
WE DON'T NEED 2 MORE PEOPLE TO TELL US THAT THIS WAS ALWAYS GOING BE HARD BUT IF YOU LOOK AT IT FROM HERE THEN
MAYBE OVER SOME TIME THEY CAN LEARN HOW ONE MIND WORKS WHEN LEFT
"""
WORDS = tuple(_SPOKEN.split())  # 40 different words


@dataclass(frozen=True)
class Clip:
    """What a synthetic clip is like. ``group`` gives colour and voice, ``key`` words and rhythm."""

    key: str
    group: str
    size: tuple[int, int]  # width, height
    frames: int = 40
    fps: int = FPS
    rate: int = RATE
    channels: int = 1
    sound: bool = True
    silent: bool = False
    frozen: bool = False
    cut_audio: int = 0  # frames of sound missing at the end
    offset: int = 0  # frames by which the sound comes late
    faststart: bool = False

    @property
    def seconds(self) -> float:
        return self.frames / self.fps


def _generator(text: str) -> np.random.Generator:
    return np.random.default_rng(int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big"))


def _opening(clip: Clip, times: NDArray[np.float64]) -> NDArray[np.float64]:
    """How far the mouth is open, 0 to 1."""
    syllables = _generator(clip.key).uniform(2.0, 5.0)
    return np.abs(np.sin(np.pi * syllables * times))


def pictures(clip: Clip) -> NDArray[np.uint8]:
    """uint8 RGB (T, H, W, 3): background, face, eyes, mouth."""
    width, height = clip.size
    y, x = np.mgrid[0:height, 0:width]
    colours = _generator(clip.group).integers(60, 220, (2, 3))
    base = np.empty((height, width, 3), np.uint8)
    base[:] = colours[0] // 2
    face = ((x - width / 2) / (0.33 * width)) ** 2 + ((y - height / 2) / (0.42 * height)) ** 2 <= 1
    base[face] = colours[1]
    for side in (-0.13, 0.13):
        eye = (x - width * (0.5 + side)) ** 2 + (y - 0.42 * height) ** 2 <= (0.04 * width) ** 2
        base[eye] = 20
    times = np.zeros(clip.frames) if clip.frozen else np.arange(clip.frames) / clip.fps
    frames = np.repeat(base[None], clip.frames, 0)
    for frame, opening in zip(frames, _opening(clip, times), strict=True):
        half = (0.02 + 0.06 * opening) * height
        mouth = ((x - width / 2) / (0.12 * width)) ** 2 + ((y - 0.70 * height) / half) ** 2 <= 1
        frame[mouth] = (90, 10, 20)
    return frames


def sound(clip: Clip) -> NDArray[np.float32]:
    """float32 (channels, N): five harmonics, as loud as the mouth is open ``offset`` frames before."""
    count = round((clip.seconds - clip.cut_audio / clip.fps) * clip.rate)
    times = np.arange(count) / clip.rate
    pitch = _generator(clip.group).uniform(90, 240)
    wave = sum(np.sin(2 * np.pi * pitch * h * times) / h for h in range(1, 6))
    level = 0.0 if clip.silent else 0.25
    samples = (level * _opening(clip, times - clip.offset / clip.fps) * wave).astype(np.float32)
    return np.repeat(samples[None], clip.channels, 0)


def write_media(path: Path, clip: Clip) -> None:
    """H.264 (one thread) and AAC in an mp4."""
    frames, samples = pictures(clip), sound(clip) if clip.sound else None
    mux(path, frames, clip.fps, samples, clip.rate, clip.faststart)


def mux(
    path: Path,
    frames: NDArray[np.uint8],
    fps: int,
    samples: NDArray[np.float32] | None,
    rate: int = RATE,
    faststart: bool = False,
) -> None:
    """Write frames (T, H, W, 3) and samples (channels, N)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    options = {"fflags": "+bitexact", **({"movflags": "+faststart"} if faststart else {})}
    with av.open(str(path), "w", format="mp4", options=options) as out:
        video = out.add_stream("libx264", rate=fps)
        video.height, video.width = frames.shape[1:3]
        video.pix_fmt = "yuv420p"
        video.options = {"crf": "23", "preset": "ultrafast", "threads": "1"}
        audio = None
        if samples is not None:
            audio = out.add_stream("aac", rate=rate, layout="stereo" if len(samples) == 2 else "mono")
        for index, picture in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
            frame.pts, frame.time_base = index, Fraction(1, fps)
            out.mux(video.encode(frame))
        out.mux(video.encode(None))
        if audio is not None and samples is not None:
            _mux_sound(out, audio, samples, rate)


def _mux_sound(out, audio, samples: NDArray[np.float32], rate: int) -> None:  # type: ignore[no-untyped-def]
    layout = "stereo" if len(samples) == 2 else "mono"
    for start in range(0, samples.shape[1], BLOCK):
        block = np.ascontiguousarray(samples[:, start : start + BLOCK])
        frame = av.AudioFrame.from_ndarray(block, format="fltp", layout=layout)
        frame.sample_rate, frame.pts, frame.time_base = rate, start, Fraction(1, rate)
        out.mux(audio.encode(frame))
    out.mux(audio.encode(None))


def spoken(clip: Clip) -> list[tuple[str, float, float]]:
    """3 to 6 words, evenly spread over the clip; long clips have two gaps of half a second."""
    draw = _generator("words " + clip.key)
    words = [WORDS[i] for i in draw.integers(0, len(WORDS), int(draw.integers(3, 7)))]
    step = clip.seconds / len(words)
    gap = 0.5 if clip.seconds > 15 else 0.0
    return [
        (word, round(i * step, 2), round((i + 1) * step - (gap if i < 2 else 0.0), 2)) for i, word in enumerate(words)
    ]


def head(words: Sequence[str], ref: str | None, conf: int = 4, more: Mapping[str, str] | None = None) -> str:
    lines = [f"Text:  {' '.join(words)}", f"Conf:  {conf}"]
    if ref is not None:
        lines.append(f"Ref:  {ref}")
    lines += [f"{key}:  {value}" for key, value in (more or {}).items()]
    return "\n".join(lines) + "\n"


def track_block(frames: int) -> str:
    rows = [f"{120 + i:06d} \t0.402 \t0.118 \t0.187 \t0.332 " for i in range(frames)]
    return "\n".join(["FRAME \tX \tY \tW \tH ", *rows]) + "\n"


def word_block(words: Sequence[tuple[str, float, float]]) -> str:
    return "\n".join(["WORD START END ASDSCORE", *(f"{w} {a:.2f} {b:.2f} 7.3" for w, a, b in words)]) + "\n"


def text_of(clip: Clip, kind: str, words: bool = True, more: Mapping[str, str] | None = None) -> str:
    """A text file of LRS3 (head, track, words), or of LRS2 (head, and words in ``pretrain``)."""
    said = spoken(clip)
    blocks = [head([w for w, _, _ in said], clip.group if kind != "lrs2" else None, more=more)]
    if kind != "lrs2":
        blocks.append(track_block(clip.frames))
    if words:
        blocks.append(word_block(said))
    return "\n".join(blocks)


# ---- defects -------------------------------------------------------------------------------------


def _rewrite(**changes: object) -> Callable[[Path, Clip], None]:
    def apply(stem: Path, clip: Clip) -> None:
        write_media(_mp4(stem), replace(clip, **changes))  # type: ignore[arg-type]

    return apply


def _mp4(stem: Path) -> Path:
    return stem.with_name(stem.name + ".mp4")


def _txt(stem: Path) -> Path:
    return stem.with_name(stem.name + ".txt")


def _halve(faststart: bool) -> Callable[[Path, Clip], None]:
    def apply(stem: Path, clip: Clip) -> None:
        write_media(_mp4(stem), replace(clip, faststart=faststart))
        data = _mp4(stem).read_bytes()
        _mp4(stem).write_bytes(data[: len(data) // 2])

    return apply


def _edit(change: Callable[[str], str]) -> Callable[[Path, Clip], None]:
    def apply(stem: Path, clip: Clip) -> None:
        _txt(stem).write_text(change(_txt(stem).read_text()))

    return apply


def _remake(**changes: object) -> Callable[[Path, Clip], None]:
    """Media and text that fit to each other."""

    def apply(stem: Path, clip: Clip) -> None:
        changed = replace(clip, **changes)  # type: ignore[arg-type]
        write_media(_mp4(stem), changed)
        _txt(stem).write_text(text_of(changed, "lrs3"))

    return apply


def _last_word(change: Callable[[list[str]], list[str]]) -> Callable[[str], str]:
    def edit(text: str) -> str:
        lines = text.rstrip("\n").split("\n")
        return "\n".join([*lines[:-1], " ".join(change(lines[-1].split(" ")))]) + "\n"

    return edit


def _drop_rows(text: str) -> str:
    lines = text.split("\n")
    first = next(i for i, line in enumerate(lines) if line.startswith("FRAME")) + 1
    return "\n".join(lines[:first] + lines[first + 3 :])


def _first_line(change: Callable[[str], str]) -> Callable[[str], str]:
    return lambda text: "\n".join([change(text.split("\n")[0]), *text.split("\n")[1:]])


#: Name of a defect -> (what it does to ``<stem>.mp4`` / ``.txt``, codes that the check must find).
DEFECTS: dict[str, tuple[Callable[[Path, Clip], None], set[str]]] = {
    "no txt": (lambda stem, clip: _txt(stem).unlink(), {"missing-text"}),
    "no mp4": (lambda stem, clip: _mp4(stem).unlink(), {"missing-video"}),
    "zero bytes": (lambda stem, clip: _mp4(stem).write_bytes(b""), {"empty"}),
    "zero bytes of text": (lambda stem, clip: _txt(stem).write_bytes(b""), {"empty"}),
    "cut, index at the end": (_halve(faststart=False), {"undecodable"}),
    "cut, index first": (_halve(faststart=True), {"truncated"}),
    "noise": (lambda stem, clip: _mp4(stem).write_bytes(_generator("noise").bytes(9999)), {"undecodable"}),
    "no sound": (_rewrite(sound=False), {"no-audio"}),
    "30 fps": (_remake(fps=30), {"fps"}),
    "200x200": (_rewrite(size=(200, 200)), {"size"}),
    "44.1 kHz stereo": (_rewrite(rate=44_100, channels=2), {"sample-rate"}),
    "sound 8 frames short": (_rewrite(cut_audio=8), {"av-gap"}),
    "sound 4 frames short": (_rewrite(cut_audio=4), {"av-gap"}),
    "silence": (_rewrite(silent=True), {"silent"}),
    "still": (_rewrite(frozen=True), {"frozen"}),
    "10 frames": (_remake(frames=10), {"short"}),
    "no Text": (_edit(_first_line(lambda line: "Txt:  NOTHING")), {"text-head"}),
    "empty transcript": (_edit(_first_line(lambda line: "Text:  ")), {"text-head"}),
    "comma": (
        _edit(_first_line(lambda line: line.replace("Text:  ", "Text:  {,} , "))),
        {"text-charset", "words-mismatch"},
    ),
    "lower case": (_edit(_first_line(lambda line: "Text:" + line[5:].lower())), {"text-case"}),
    "another word": (_edit(_last_word(lambda cells: ["ZEBRA", *cells[1:]])), {"words-mismatch"}),
    "word ends before it starts": (_edit(_last_word(lambda c: [c[0], c[2], c[1], c[3]])), {"words-times"}),
    "word after the end": (_edit(_last_word(lambda c: [c[0], c[1], "99.0", c[3]])), {"words-times"}),
    "track 3 rows short": (_edit(_drop_rows), {"track-length"}),
}


# ---- trees ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Placed:
    """A clip of a tree: id, path without suffix relative to the root, and what it is."""

    clip_id: str
    stem: str
    clip: Clip


def make_tree(kind: str, root: Path, seed: int = 0, plan: Mapping[str, str] | None = None) -> dict[str, Placed]:
    """Write a tree of ``lrs3``, ``lrs2`` or ``cinepile``; returns its clips by id.

    ``plan``: clip id -> name of a defect of :data:`DEFECTS`.
    """
    makers = {"lrs3": _lrs3, "lrs2": _lrs2, "cinepile": _cinepile}
    placed = makers[kind](root, seed)
    for clip_id, defect in (plan or {}).items():
        spoil(root, placed[clip_id], defect)
    return placed


def spoil(root: Path, placed: Placed, defect: str) -> None:
    """Put a defect into one clip of a tree."""
    DEFECTS[defect][0](root / placed.stem, placed.clip)


def _frames(key: str, seed: int) -> int:
    return int(_generator(f"{seed} frames {key}").integers(26, 44))


def _write(root: Path, clip_id: str, stem: str, clip: Clip, text: str) -> Placed:
    write_media(_mp4(root / stem), clip)
    _txt(root / stem).write_text(text, encoding="utf-8")
    return Placed(clip_id, stem, clip)


def _lrs3(root: Path, seed: int) -> dict[str, Placed]:
    plan = {
        "pretrain": (("AbCdEfGhIj1", "AbCdEfGhIj2"), 1),
        "trainval": (("AbCdEfGhIj1", "ZyXwVuTsRq3"), 50_001),
        "test": (("-eadingDash", "under_score", "plainName12"), 1),
    }
    placed = {}
    for split, (groups, first) in plan.items():
        for group in groups:
            for number in (first, first + 1):
                clip_id = f"{split}/{group}/{number:05d}"
                long = clip_id == "pretrain/AbCdEfGhIj1/00001"
                clip = Clip(f"{seed} {clip_id}", group, (224, 224), 425 if long else _frames(clip_id, seed))
                words = clip_id != "test/plainName12/00002"
                placed[clip_id] = _write(root, clip_id, clip_id, clip, text_of(clip, "lrs3", words))
    _expect(root, {"pretrain": 4, "trainval": 4, "test": 6})
    return placed


def _lrs2(root: Path, seed: int) -> dict[str, Placed]:
    placed, lists = {}, {"pretrain": [], "train": [], "val": [], "test": []}  # type: ignore[var-annotated]
    programmes = ["5535415699068794046", "6330311066473698535", "6187701173201682297", "5672968469174139300"]
    for at, group in enumerate(programmes):
        folder = "pretrain" if at == 3 else "main"
        for number in (1, 2) if at == 3 else (1, 2, 3):
            clip_id = f"{folder}/{group}/{number:05d}"
            clip = Clip(f"{seed} {clip_id}", group, (160, 160), _frames(clip_id, seed))
            text = text_of(clip, "lrs2", words=at == 3)
            if clip_id.endswith("2297/00002"):
                text = text.replace("Text:  ", "Text:  {NS} ")
            placed[clip_id] = _write(root, clip_id, f"mvlrs_v1/{clip_id}", clip, text)
            split = ("train", "val", "test", "pretrain")[at]
            tag = f" {'NF' if number % 2 else 'MV'}" if split == "test" else ""
            lists[split].append(f"{group}/{number:05d}{tag}")
    lists["test"][1] += " "
    for split, lines in lists.items():
        (root / f"{split}.txt").write_text("\n".join(lines) + "\n")
    _expect(root, {"pretrain": 2, "train": 3, "val": 3, "test": 3})
    return placed


def _cinepile(root: Path, seed: int) -> dict[str, Placed]:
    placed = {}
    for at, source in enumerate(("film-one_01", "film-two_02")):
        for number in (1, 2):
            clip_id = f"test/{source}/{number:05d}"
            clip = Clip(f"{seed} {clip_id}", source, (224, 224), _frames(clip_id, seed))
            more = {"Start": f"{number}.0", "End": f"{number + 2}.0", "Speaker": f"s{at}", "Film": f"A Film {at}"}
            text = text_of(clip, "lrs3", more=more)
            placed[clip_id] = _write(root, clip_id, f"oodface-v1/{clip_id}", clip, text)
    film(root / "films" / "raw-film_0001.mp4", seed)
    rows = [
        ("raw-film_0001", "0.5", "1.7", "HELLO THERE", "80,20,160,160", "ann", "Three Shots", "en"),
        ("raw-film_0001", "2.25", "3.75", "WE DON'T NEED 2", "", "bob", "Three Shots", "en"),
        ("raw-film_0001", "4.0", "", "", "110,70,100,101", "ann", "Three Shots", "en"),
    ]
    with (root / "manifest.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["video_id", "start", "end", "transcript", "crop", "speaker", "film", "lang"])
        writer.writerows(rows)
    _expect(root, {"test": 3, "oodface-v1": 4})
    return placed


def film(path: Path, seed: int = 0) -> None:
    """6 s of three shots: 24 fps, 320x180, 48 kHz stereo."""
    shots = [Clip(f"{seed} shot {i}", f"actor {i}", (320, 180), 48, 24, 48_000, 2) for i in range(3)]
    frames = np.concatenate([pictures(shot) for shot in shots])
    samples = np.concatenate([sound(shot) for shot in shots], 1)
    mux(path, frames, 24, samples, 48_000)


def _expect(root: Path, counts: Mapping[str, int]) -> None:
    (root / "expected.json").write_text(json.dumps(counts) + "\n")


# ---- the same layouts, out of demo clips ---------------------------------------------------------


def demo_tree(kind: str, demo_root: Path, root: Path, limit: int | None = None) -> list[str]:
    """A tree of ``lrs3``, ``lrs2`` or ``cinepile`` made of the demo corpus' ``test`` clips; returns the clip ids.

    LRS3: 224x224 as they are; LRS2: scaled to 160x160; the sound as AAC in the mp4. CinePile: a manifest with
    times and crops over the demo's own mp4 files, which are copied. ``limit``: clips per speaker.
    """
    clips: list[tuple[str, Path]] = []
    for folder in sorted(path for path in (demo_root / "test").iterdir() if path.is_dir()):
        clips += [(folder.name, path) for path in sorted(folder.glob("*.mp4"))[:limit]]
    if kind == "cinepile":
        return _demo_cinepile(clips, root)
    made, lists, counters = [], [], dict[str, int]()  # type: ignore[var-annotated]
    for speaker, path in clips:
        counters[speaker] = counters.get(speaker, 0) + 1
        number = f"{counters[speaker]:05d}"
        if kind == "lrs3":
            clip_id, stem = f"test/demo{speaker:_>7}/{number}", f"test/demo{speaker:_>7}/{number}"
        else:
            programme = str(5_000_000_000_000_000_000 + sorted({s for s, _ in clips}).index(speaker))
            clip_id = f"main/{programme}/{number}"
            stem = f"mvlrs_v1/{clip_id}"
            lists.append(f"{programme}/{number} NF")
        frames = _demo_lrs(path, root / stem, size=None if kind == "lrs3" else 160)
        words = path.with_suffix(".txt").read_text().split()
        ref = clip_id.split("/")[1] if kind == "lrs3" else None
        blocks = [head([w.upper() for w in words], ref)] + ([track_block(frames)] if kind == "lrs3" else [])
        _txt(root / stem).write_text("\n".join(blocks))
        made.append(clip_id)
    if kind == "lrs2":
        (root / "test.txt").write_text("\n".join(lists) + "\n")
    _expect(root, {"test": len(made)})
    return sorted(made)


def _demo_lrs(path: Path, stem: Path, size: int | None) -> int:
    """Write one clip; returns its number of frames."""
    import cv2

    from bench.media import Source, decode_audio, decode_video

    frames = decode_video(Source(path)).frames
    audio = decode_audio(Source(path.with_suffix(".wav")))
    if size is not None:
        frames = np.stack([cv2.resize(frame, (size, size), interpolation=cv2.INTER_AREA) for frame in frames])
    samples = np.zeros(640 * len(frames), np.float32)
    kept = audio.samples[: len(samples)]
    samples[: len(kept)] = kept
    mux(_mp4(stem), frames, FPS, samples[None], audio.rate)
    return len(frames)


def _demo_cinepile(clips: Sequence[tuple[str, Path]], root: Path) -> list[str]:
    from bench.media import Source, decode_audio, decode_video

    (root / "films").mkdir(parents=True, exist_ok=True)
    made = []
    with (root / "manifest.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["video_id", "start", "end", "transcript", "crop", "speaker", "film"])
        for speaker, path in clips:
            frames = decode_video(Source(path)).frames
            audio = decode_audio(Source(path.with_suffix(".wav")))
            mux(root / "films" / path.name, frames, FPS, audio.samples[None], audio.rate)
            words = path.with_suffix(".txt").read_text().strip()
            end = len(frames) / FPS
            writer.writerow([path.stem, "0.0", f"{end:.2f}", words, "12,12,200,200", speaker, "demo"])
            made.append(f"test/{path.stem}/00000000-{round(end * 1000):08d}-crop12-12-200-200")
    _expect(root, {"test": len(made)})
    return sorted(made)


def copy_tree(source: Path, target: Path) -> Path:
    """A copy to spoil."""
    return Path(shutil.copytree(source, target))
