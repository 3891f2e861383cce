"""How many bytes work reads and leaves, per second of media: looked up on a few files, else guessed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from bench.plan import Item, RunPlan
from bench.records import MADE, Protocol, Source
from bench.store import Store
from bench.store_features import FEATURES

SAMPLE = 50  # files that are looked at
VIDEO_GUESS, SPEECH_GUESS = 125_000.0, 32_000.0  # 1 Mbit/s; 16-bit mono at 16 kHz
ROW_BYTES = 100  # of a score in the database, without arrays (two values; a test holds it)
OUTPUT_ROW_BYTES = 400  # of an output and of its clip's place in the run
#: Bytes of arrays of a score per second of media: float32 features of both sides, of 25 frames and of every fifth.
ARRAY_GUESSES = {"fid": 2 * 25 * 2048 * 4.0, "fd": 2 * 5 * 128 * 4.0}
#: Kept of each truth for later systems, beside the above: the features of its side.
FEATURE_GUESSES = {family: rate / 2 for family, rate in ARRAY_GUESSES.items()}


class ByteRate(NamedTuple):
    """Bytes per second of media; ``samples``: files that it was measured on; 0: a guess."""

    per_s: float
    samples: int = 0


def of_inputs(items: Sequence[Item]) -> ByteRate:
    """The media of a data set as they lie on disk; parts of longer files are guessed."""
    found = [(item, _whole(item)) for item in islice(items, SAMPLE)]
    measured = [(item.clip.duration_s, size) for item, size in found if size and item.clip.duration_s > 0]
    if not measured:
        return ByteRate(VIDEO_GUESS + SPEECH_GUESS)
    return ByteRate(sum(size for _, size in measured) / sum(length for length, _ in measured), len(measured))


def _whole(item: Item) -> int:
    """Bytes of a clip's files; 0 where a part of one is meant or it is not there."""
    sources: list[Source] = [source for source in (item.clip.video, item.clip.audio) if source is not None]
    if any(source.start is not None or source.end is not None for source in sources):
        return 0
    return sum(_size(path) for path in {source.path for source in sources})


def of_outputs(store: Store | None, run: RunPlan) -> ByteRate:
    """What a run's task leaves, from outputs of the same task in the store."""
    made = MADE[run.record.task]
    guess = ByteRate((VIDEO_GUESS if "video" in made else 0.0) + (SPEECH_GUESS if "audio" in made else 0.0))
    if store is None:
        return guess
    runs = sorted(store.runs(task=run.record.task), key=lambda one: one.system != run.record.system)
    outputs = (output for one in runs for output in store.outputs(one.id).values() if output.media_seconds > 0)
    size, seconds, samples = 0, 0.0, 0
    for output in islice(outputs, SAMPLE):
        size += sum(_size(store.root / name) for name in (output.video, output.audio) if name)
        seconds += output.media_seconds
        samples += 1
    return ByteRate(size / seconds, samples) if size else guess


def of_features(store: Store | None, protocols: Iterable[Protocol]) -> ByteRate:
    """What is kept of each truth (faces, embeddings) for the next systems."""
    families = {protocol.family for protocol in protocols}
    guess = ByteRate(sum(rate for family, rate in FEATURE_GUESSES.items() if family in families))
    if store is None or not (store.root / FEATURES).is_dir():
        return guess
    lengths = {clip.reference_sha256: clip.duration_s for run in store.runs() for clip in store.run_clips(run.id)}
    size = sum(_size(path) for path in (store.root / FEATURES).rglob("*.safetensors"))
    return ByteRate(size / sum(lengths.values()), len(lengths)) if size and lengths else guess


def of_arrays(protocol: Protocol, measured: float | None) -> ByteRate:
    """What a score's arrays take; ``measured``: in the store."""
    return ByteRate(ARRAY_GUESSES.get(protocol.family, 0.0)) if measured is None else ByteRate(measured, 1)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0  # an estimate does not fail for a file that the work will miss
