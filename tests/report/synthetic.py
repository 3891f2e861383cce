"""Stores of invented results for the report's tests: many clips, failures of every kind, and names that attack.

The store is filled through its own interface, so that nothing here knows how it keeps things. ``fill`` makes rows
without media; ``fill_media`` makes a few clips with pictures and sound that a browser plays.

``python tests/report/synthetic.py FOLDER [CLIPS] [SYSTEMS]`` writes such a store.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.media import write_audio, write_video
from bench.records import FAILURE_KINDS, Audio
from bench.store import Store
from bench.store_records import OutputRecord, RunClip, RunRecord, ScoreRecord

CREATED = "2026-01-02T03:04:05Z"
BATCH = 20_000

#: What would run, break out, or turn the page around if any of it reached the page as anything but text.
HOSTILE_IDS = (
    "</script><img src=x onerror=bench_hacked=1>",
    "'\"><svg onload=bench_hacked=1>",
    "javascript:bench_hacked=1",
    "__proto__",
    "constructor",
    "שלום/\u202eevil\u202c",
    "line\u2028separator\u2029end",
    "100%25#id=&q=",
    "long-" + "x" * 300,
)
HOSTILE_TEXTS = (
    "<script>bench_hacked=1</script>",
    "{{ bench_hacked }} {% raw %} ${bench_hacked}",
    "مرحبا بالعالم \u202egnorts",
    "&lt;b&gt; &amp; <!-- ]]>",
    "word " * 2_000,
)
HOSTILE_SYSTEM = "<img src=x onerror=bench_hacked=1>"
SYSTEMS = (
    "ground-truth", "anchor", "hicodit", "hierspeech", "talker", "wav2lip", "espeak", HOSTILE_SYSTEM, "second-hand",
    "nothing-yet",
)  # fmt: skip
CONTROLS = frozenset({"ground-truth", "anchor"})
WHOLE = 3  # the systems up to this place have a value of every clip
EMPTY = "nothing-yet"  # asked for, without a single result

WER = "wer/pocketsphinx-grid@1"
#: Protocol, its values with mean at quality 0 and at quality 1, and their spread.
SPREADS: dict[str, dict[str, tuple[float, float, float]]] = {
    "cer/pocketsphinx-grid@1": {"cer": (0.02, 0.5, 0.05), "macro": (0.02, 0.5, 0.05)},
    "dnsmos/speechmos@1": {
        "ovrl": (3.4, 2.0, 0.2), "sig": (3.6, 2.2, 0.2), "bak": (4.0, 2.9, 0.2), "p808": (3.7, 2.5, 0.2),
    },
    "duration/abs@1": {"duration": (0.0, 0.4, 0.05)},
    "estoi/pystoi@1": {"estoi": (1.0, 0.3, 0.05)},
    "f0rmse/pyin@1": {"f0rmse": (2.0, 60.0, 5.0)},
    "mcd/dtw-13@1": {"mcd": (0.2, 9.0, 0.7)},
    "pesq/wb@1": {"pesq": (4.6, 1.2, 0.1)},
    "secs/resemblyzer@1": {"secs": (1.0, 0.6, 0.04)},
}  # fmt: skip
PROTOCOLS = (WER, *SPREADS)
PICTURES = ("ssim/skimage-gaussian@1", "csim/dlib-resnet@1")  # of a second table, of another task
SPREADS |= {
    PICTURES[0]: {"ssim": (1.0, 0.6, 0.05), "ssim_pooled": (1.0, 0.6, 0.05)},
    PICTURES[1]: {"csim": (1.0, 0.5, 0.05), "csim_distance": (0.0, 0.8, 0.05)},
}
#: Parts of a corpus rate: its numerator and its denominator, which is 100 everywhere.
PARTS = {"cer": ("edits", "ref_chars"), "ssim_pooled": ("ssim_sum", "n_frames")}
LIMITS = {
    "estoi": (-1.0, 1.0),
    "secs": (-1.0, 1.0),
    "ssim": (-1.0, 1.0),
    "ssim_pooled": (-1.0, 1.0),
    "csim": (-1.0, 1.0),
    "pesq": (1.0, 4.6),
    "ovrl": (1.0, 5.0),
    "sig": (1.0, 5.0),
}
WORDS = (
    "bin",
    "blue",
    "at",
    "f",
    "two",
    "now",
    "place",
    "red",
    "with",
    "k",
    "nine",
    "please",
    "set",
    "by",
    "zero",
    "seven",
)


@dataclass(frozen=True)
class Shape:
    """How much is made. ``task``: what the systems generate; ``dataset``: a name alone, nothing of it is opened."""

    clips: int = 60
    systems: int = 10
    dataset: str = "invented"
    task: str = "dub"
    protocols: Sequence[str] = PROTOCOLS
    hostile: bool = True


def sha(*parts: object) -> str:
    """A hash that depends on the parts alone."""
    return hashlib.sha256("/".join(map(str, parts)).encode("utf-8", "surrogatepass")).hexdigest()


def clip_ids(shape: Shape) -> list[str]:
    """Ids in the store's order, the hostile ones among them."""
    hostile = HOSTILE_IDS if shape.hostile else ()
    plain = [f"s{i % 40:02}/clip-{i:05}" for i in range(shape.clips - len(hostile))]
    return sorted([*plain, *hostile], key=lambda name: name.encode())


def sentence(number: int, hostile: bool = True) -> str:
    """The transcript of a clip; every 50th attacks."""
    if hostile and number % 50 == 7:
        return HOSTILE_TEXTS[number // 50 % len(HOSTILE_TEXTS)]
    rng = np.random.default_rng(number)
    return " ".join(WORDS[i] for i in rng.integers(0, len(WORDS), 24))


def heard(text: str, quality: float, rng: np.random.Generator) -> tuple[str, int]:
    """What a recogniser might make of it, and how many words are wrong."""
    words, wrong = text.split(), 0
    for i in range(len(words)):
        if rng.random() < quality * 0.5:
            words[i] = "wrong"
            wrong += 1
    return " ".join(words), wrong


def fill(root: Path, shape: Shape = Shape()) -> Path:
    """Write a store of ``shape`` at ``root``; returns ``root``."""
    with Store.open(root) as store:
        for number, system in enumerate((*SYSTEMS[: shape.systems - 1], EMPTY)):
            _fill_system(store, shape, number, system)
    return root


def run_record(shape: Shape, system: str) -> RunRecord:
    """The run of a system."""
    return RunRecord(
        id=sha("run", system, shape.dataset, shape.task)[:16], system=system, version="1.0",
        tier="control" if system in CONTROLS else "embedded", dataset=shape.dataset, split="test", task=shape.task,
        pairing="matched" if shape.task == "a2v" else "", audio="real" if shape.task == "a2v" else "",
        reference="other", n_split=shape.clips, created=CREATED, settings={"steps": 8},
        weights={"network": sha("weights", system)}, environment={"python": "3.11", "device": "cpu"},
    )  # fmt: skip


def _fill_system(store: Store, shape: Shape, number: int, system: str) -> None:
    run, ids = run_record(shape, system), clip_ids(shape)
    store.add_run(run)
    clips = [RunClip(name, f"speaker{i % 40:02}", sha("reference", i), 1.0 + i % 50 / 10) for i, name in enumerate(ids)]
    store.add_run_clips(run.id, clips)
    store.add_run_protocols(run.id, shape.protocols)
    if system == EMPTY:
        return
    for i, clip in enumerate(clips):
        store.add_output(_output(run.id, clip, number, i))
    pending: list[ScoreRecord] = []
    for i, clip in enumerate(clips):
        pending += _scores(shape, number, i, clip, run.id)
        if len(pending) >= BATCH or i == len(clips) - 1:
            store.add_scores(pending)
            pending = []


def lost(number: int, i: int) -> bool:
    """Whether the system made nothing of the clip."""
    return number > WHOLE and (i * 7 + number) % 97 == 5


def _output(run_id: str, clip: RunClip, number: int, i: int) -> OutputRecord:
    if lost(number, i):
        detail = f"Traceback (most recent call last):\n  frame {i}\nValueError: <b>{clip.clip_id}</b>"
        return OutputRecord(run_id, clip.clip_id, "failed", kind="model_error", detail=detail, created=CREATED)
    return OutputRecord(
        run_id, clip.clip_id, "ok", sha(run_id, i), n_frames=75, n_samples=48_000, sample_rate=16_000,
        seconds=1.5, media_seconds=3.0, created=CREATED,
    )  # fmt: skip


def _scores(shape: Shape, number: int, i: int, clip: RunClip, run_id: str) -> Iterator[ScoreRecord]:
    """The scores of one output; one in a hundred fails, the kinds in turn."""
    if lost(number, i):
        return
    rng = np.random.default_rng([number, i])
    quality = number / 10
    for place, protocol in enumerate(shape.protocols):
        key = (sha(run_id, i), clip.reference_sha256, protocol, "")
        if number > WHOLE and (i + 13 * place + 31 * number) % 101 == 3:
            kind = FAILURE_KINDS[(i + place) % len(FAILURE_KINDS)]
            detail = f"invented: {clip.clip_id[:80]}"
            yield ScoreRecord(*key, "failed", kind=kind, detail=detail, created=CREATED)
        else:
            yield _score(key, protocol, quality, i, rng, shape.hostile)


def _score(
    key: tuple[str, str, str, str], protocol: str, quality: float, i: int, rng: np.random.Generator, hostile: bool
) -> ScoreRecord:
    if protocol == WER:
        text = sentence(i, hostile)
        said, wrong = heard(text, quality, rng)
        words = len(text.split())
        spoken = {"reference": text, "hypothesis": said, "norm_reference": text, "norm_hypothesis": said}
        parts = {"edits": float(wrong), "ref_words": float(words), "substitutions": float(wrong)}
        rate = wrong / words
        return ScoreRecord(*key, "ok", {"wer": rate, "macro": rate}, parts, spoken, created=CREATED)
    values, parts = {}, {}
    for name, (good, bad, spread) in SPREADS[protocol].items():
        low, high = LIMITS.get(name, (0.0, float("inf")))
        values[name] = min(max(float(rng.normal(good + (bad - good) * quality, spread)), low), high)
        if name in PARTS:
            top, bottom = PARTS[name]
            parts |= {top: values[name] * 100, bottom: 100.0}
    return ScoreRecord(*key, "ok", values, parts, created=CREATED)


def fill_media(root: Path, clips: int = 3, systems: int = 10, seconds: float = 5.0, size: int = 224) -> Path:
    """A store of outputs that a browser plays, one clip as another: moving squares and a tone of each system's own."""
    shape = Shape(clips=clips, systems=systems, task="t2av", protocols=(WER, "secs/resemblyzer@1"), hostile=False)
    with Store.open(root) as store:
        for number in range(systems):
            run, ids = run_record(shape, f"voice-{number}"), clip_ids(shape)
            store.add_run(run)
            made = [RunClip(name, f"speaker{i}", sha("reference", i), seconds) for i, name in enumerate(ids)]
            store.add_run_clips(run.id, made)
            store.add_run_protocols(run.id, shape.protocols)
            for i, clip in enumerate(made):
                stage = store.stage_dir()
                files = {"video": stage / f"{number}-{i}.mp4", "audio": stage / f"{number}-{i}.wav"}
                write_video(files["video"], _pictures(number, i, seconds, size))
                write_audio(files["audio"], _tone(number, seconds))
                record = OutputRecord(
                    run.id, clip.clip_id, "ok", sha(run.id, i), n_frames=int(seconds * 25), created=CREATED,
                    n_samples=int(seconds * 16_000), sample_rate=16_000, seconds=1.0, media_seconds=seconds,
                )  # fmt: skip
                store.add_output(record, files)
                store.add_scores(list(_scores(shape, number, i, clip, run.id)))
    return root


def _pictures(number: int, i: int, seconds: float, size: int) -> np.ndarray:
    """uint8 (T, size, size, 3): a bright square that moves on a ground of the system's colour."""
    count = int(seconds * 25)
    frames = np.full((count, size, size, 3), (20 + 20 * number, 60, 200 - 18 * number), np.uint8)
    for t in range(count):
        at = (t * (2 + i)) % (size - 32)
        frames[t, at : at + 32, 40 + 10 * number % 120 : 72 + 10 * number % 120] = 240
    return frames


def _tone(number: int, seconds: float) -> Audio:
    at = np.arange(int(seconds * 16_000)) / 16_000
    return Audio((0.1 * np.sin(2 * np.pi * (200 + 40 * number) * at)).astype(np.float32), 16_000)


if __name__ == "__main__":
    sizes = [int(word) for word in sys.argv[2:4]]
    fill(Path(sys.argv[1]), Shape(*sizes))
