"""Scoring in a worker: an output is decoded once and every metric looks at it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from bench import registry
from bench.contracts import Metric
from bench.engines.worker import is_disk_error, is_out_of_memory
from bench.errors import Unscorable, in_words
from bench.joined import Joined, Streams, output_media, reference_features, reference_media
from bench.records import FAILURE_KINDS, MADE, Failure, Protocol, Reference, Score, Source
from bench.render_output import output_sha256

if TYPE_CHECKING:
    from bench.media import Media
    from bench.records import Array

#: Packages whose version can move a number; recorded with every score.
PACKAGES = (
    "av",
    "dlib-bin",
    "jiwer",
    "librosa",
    "numpy",
    "onnxruntime",
    "openai-whisper",
    "opencv-python-headless",
    "pocketsphinx",
    "scikit-image",
    "scipy",
    "soxr",
    "speechmos",
    "torch",
    "webrtcvad",
)
CACHED_REFERENCES = 2  # references that a worker keeps decoded


@dataclass(frozen=True)
class ScoreSetup:
    """What every scoring worker is told once: protocol ids by metric plug-in."""

    metrics: Mapping[str, Sequence[str]]
    device: str


@dataclass(frozen=True)
class ScorePayload:
    """One output with what it is scored against. Features of the truth are read from ``features``."""

    truth: Reference
    video_key: str  # content hashes of the clips that the two reference streams come from
    audio_key: str
    output_sha256: str
    video: Source | None
    audio: Source | None
    cost: Mapping[str, float]
    protocols: Sequence[str]
    store: str
    verify: bool = False  # hold the generated streams against ``output_sha256`` first


@dataclass(frozen=True)
class Scored:
    """Results by protocol id with the seconds of their metric, and new features of the truth."""

    results: Mapping[str, tuple[Score | Failure, float, bool]]
    features: Mapping[str, Mapping[str, Mapping[str, Array]]]
    versions: Mapping[str, str]


def worker(setup: ScoreSetup) -> Callable[[Sequence[ScorePayload]], list[Scored]]:
    """The handler of a scoring worker: loads a metric when it is first needed, keeps references decoded."""
    return _Worker(setup)


class _Worker:
    def __init__(self, setup: ScoreSetup) -> None:
        self._setup = setup
        self._owner = {pid: name for name, ids in setup.metrics.items() for pid in ids}
        self._metrics: dict[str, Metric | Failure] = {}
        self._references: dict[str, Joined] = {}
        self._streams: Streams = Streams()
        self._ahead: dict[str, float] = {}  # by metric: seconds of its preparing for each output of the batch
        self._versions = _versions()

    def __call__(self, payloads: Sequence[ScorePayload]) -> list[Scored]:
        damages = [_damage(payload) if payload.verify else None for payload in payloads]
        whole = [payload for payload, damage in zip(payloads, damages, strict=True) if damage is None]
        pairs = iter(self._prepared(whole))
        return [
            self._score(payload, *next(pairs))
            if damage is None
            else Scored(dict.fromkeys(payload.protocols, (damage, 0.0, False)), {}, self._versions)
            for payload, damage in zip(payloads, damages, strict=True)
        ]

    def _prepared(self, payloads: Sequence[ScorePayload]) -> list[tuple[Joined, Joined]]:
        """References and outputs, none decoded but for what a metric wanted of several at once.

        A given stream of an output is the very medium of its reference, so that the two stay together.
        """
        references = [self._reference(payload) for payload in payloads]
        outputs = [output_media(p, ref, self._streams) for p, ref in zip(payloads, references, strict=True)]
        pairs = list(zip(references, outputs, strict=True))
        self._ahead.clear()
        if len(outputs) < 2:
            return pairs
        for name in dict.fromkeys(self._owner[pid] for payload in payloads for pid in payload.protocols):
            metric = self._metric(name)
            if isinstance(metric, Failure) or type(metric).prepare is Metric.prepare:
                continue
            asked = dict.fromkeys(pid for payload in payloads for pid in payload.protocols if self._owner[pid] == name)
            start = time.perf_counter()
            try:
                metric.prepare(list(asked), outputs)
            except (Exception, SystemExit) as error:
                if is_out_of_memory(error) or is_disk_error(error):
                    raise
                # whatever else it is, `score` meets it again with each clip alone, and says whose fault it is
            self._ahead[name] = (time.perf_counter() - start) / len(outputs)
        return pairs

    def _score(self, payload: ScorePayload, reference: Joined, output: Joined) -> Scored:
        results: dict[str, tuple[Score | Failure, float, bool]] = {}
        for name in dict.fromkeys(self._owner[pid] for pid in payload.protocols):
            asked = [pid for pid in payload.protocols if self._owner[pid] == name]
            self._metric(name)  # loading it is no cost of the clip that happens to be the first
            start = time.perf_counter()
            found, final = self._measure(name, asked, output, reference, payload.truth)
            seconds = (time.perf_counter() - start + self._ahead.get(name, 0.0)) / len(asked)
            results.update({pid: (found[pid], seconds, final) for pid in asked})
        return Scored(results, reference_features(payload, reference), self._versions)

    def _reference(self, payload: ScorePayload) -> Joined:
        key = payload.truth.sha256
        if key not in self._references:
            while len(self._references) >= CACHED_REFERENCES:
                self._references.pop(next(iter(self._references)))
            self._references[key] = reference_media(payload)
        return self._references[key]

    def _measure(
        self, name: str, asked: Sequence[str], output: Media, reference: Media, truth: Reference
    ) -> tuple[Mapping[str, Score | Failure], bool]:
        """One metric on one output; whatever it raises becomes a failure of its protocols alone."""
        metric = self._metric(name)
        if isinstance(metric, Failure):
            return dict.fromkeys(asked, metric), False
        declared = {protocol.id: protocol for protocol in metric.protocols}
        try:
            found = metric.score(asked, output, reference, truth)
            if not isinstance(found, Mapping):
                raise TypeError(f"the metric returned {type(found).__name__}, not a mapping of protocol ids")
            return {pid: checked(declared[pid], found.get(pid)) for pid in asked}, True
        except Unscorable as error:
            return dict.fromkeys(asked, _failure(error)), True
        except (Exception, SystemExit) as error:
            if is_out_of_memory(error) or is_disk_error(error):
                raise  # the scheduler's business: a smaller batch, or the end of the run
            return dict.fromkeys(asked, Failure("model_error", in_words(error))), not isinstance(error, ImportError)

    def _metric(self, name: str) -> Metric | Failure:
        if name not in self._metrics:
            try:
                metric: Metric = registry.get("metrics", name)()
                metric.load(self._setup.device)
                self._metrics[name] = metric
            except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever is missing: tried again by the next run
                self._metrics[name] = Failure("model_error", f"cannot load: {in_words(error)}")
        return self._metrics[name]


def _damage(payload: ScorePayload) -> Failure | None:
    """What is wrong with the stored files of an output: no number may go under a hash that is not theirs."""
    made = MADE[payload.truth.task]
    streams = {"video": payload.video, "audio": payload.audio}
    paths = {name: source.path for name, source in streams.items() if name in made and source is not None}
    remedy = f"`bench generate --force --clips {payload.truth.clip_id!r}` makes it anew"
    for path in paths.values():
        if not path.is_file():
            return Failure("missing_output", f"{path.name} is gone from the store: {remedy}")
    if output_sha256(paths.get("video"), paths.get("audio")) != payload.output_sha256:
        return Failure("missing_output", f"the stored files have changed since they were made: {remedy}")
    return None


def checked(protocol: Protocol, result: Score | Failure | None) -> Score | Failure:
    """A metric's answer held against its declaration: all values there, finite and in range."""
    if isinstance(result, Failure):
        return result
    if not isinstance(result, Score):
        return Failure("model_error", f"{protocol.id}: the metric returned {type(result).__name__}, not a Score")
    for value in protocol.values:
        if value.aggregation.kind == "corpus":
            continue
        number = result.values.get(value.name)
        if number is None:
            return Failure("model_error", f"{protocol.id}: no value {value.name!r}")
        if not math.isfinite(number):
            return Failure("nan", f"{value.name} = {number}")
        if not value.low <= number <= value.high:
            return Failure("model_error", f"{value.name} = {number} outside [{value.low}, {value.high}]")
    return _plain(result)


def _plain(score: Score) -> Score:
    """The score in the types that the store keeps.

    Raises:
        TypeError, ValueError: a part is no number, a text no string, an array of no number type.
    """
    import numpy as np

    arrays = {name: np.ascontiguousarray(array) for name, array in score.arrays.items()}
    for name, array in arrays.items():
        if array.dtype.kind not in "biuf":
            raise TypeError(f"array {name!r} is of type {array.dtype}, not of numbers")
    for name, text in score.text.items():
        if not isinstance(text, str):
            raise TypeError(f"text {name!r} is {type(text).__name__}, not a string")
    return Score(_numbers(score.values), _numbers(score.parts), dict(score.text), arrays)


def _numbers(found: Mapping[str, Any]) -> dict[str, float]:
    return {str(name): float(number) for name, number in found.items()}


def _failure(error: Unscorable) -> Failure:
    if error.kind in FAILURE_KINDS:
        return Failure(error.kind, error.detail)
    return Failure("model_error", f"failure kind {error.kind!r} is not one of {', '.join(FAILURE_KINDS)}")


def _versions() -> dict[str, str]:
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
