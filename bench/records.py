"""The records that pass between the stages: clips, requests, outputs, scores, protocols.

Importing this module loads no numeric library. Media conventions, everywhere: frames are uint8
RGB ``(T, H, W, 3)`` at 25 fps; audio is float32 mono in [-1, 1] ``(N,)`` with its rate beside it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Frames = NDArray[np.uint8]  # (T, H, W, 3) RGB
    Samples = NDArray[np.float32]  # (N,) mono
    Array = NDArray[Any]

FPS = 25  # frames per second of every video that the harness hands on
Task = Literal["vts", "dub", "a2v", "t2av", "tts"]
TASKS: tuple[Task, ...] = ("vts", "dub", "a2v", "t2av", "tts")
Tier = Literal["canonical", "embedded", "gateway", "control", "external"]

#: The kinds of failure of specs/metrics.md 0.2; there are no further ones.
FAILURE_KINDS = (
    "no_audio_stream",
    "no_video_stream",
    "decode_error",
    "too_short",
    "silent_audio",
    "empty_reference",
    "no_face",
    "no_track",
    "multiple_faces",
    "length_mismatch",
    "shape_mismatch",
    "nan",
    "model_error",
    "missing_output",
    "missing_reference",
)

#: Streams that a task generates, and streams that it gets from the clip.
MADE: Mapping[Task, frozenset[str]] = {
    "vts": frozenset({"audio"}),
    "dub": frozenset({"audio"}),
    "a2v": frozenset({"video"}),
    "t2av": frozenset({"audio", "video"}),
    "tts": frozenset({"audio"}),
}


@dataclass(frozen=True, slots=True)
class Source:
    """Where a stream lies: a file, and the part of it that is meant.

    ``start`` and ``end`` are seconds from the first frame (``None``: whole file); ``crop`` is
    ``(x, y, width, height)`` in pixels of the source picture.
    """

    path: Path
    start: float | None = None
    end: float | None = None
    crop: tuple[int, int, int, int] | None = None


@dataclass(frozen=True, slots=True)
class Clip:
    """One item of a dataset. Systems never see it; they see a :class:`Request`.

    ``audio`` is the WAV beside the video where there is one, else the video file itself.
    ``content_sha256`` identifies video, audio and transcript together; two clips with equal
    content have equal hashes, wherever they lie.
    """

    id: str
    dataset: str
    split: str
    video: Source | None
    audio: Source | None
    transcript: str | None
    content_sha256: str
    n_frames: int  # on the 25 fps grid
    speaker: str | None = None
    group: str | None = None  # source video, programme, talker: the fallback of ``speaker``
    tag: str | None = None
    width: int = 0
    height: int = 0
    extra: Mapping[str, str] = field(default_factory=dict)

    @property
    def duration_s(self) -> float:
        """Seconds of video (of audio where there is no video)."""
        return self.n_frames / FPS

    @property
    def identity(self) -> str | None:
        """What counts as the same speaker for pairs and references."""
        return self.speaker or self.group


@dataclass(frozen=True, slots=True)
class Condition:
    """Where driving audio, voice and face come from; see DESIGN.md, Vocabulary.

    ``pairing``: ``matched``, ``cross``, or ``file:<first 12 hex digits of the list's SHA-256>``.
    ``audio``: ``real`` or ``tts:<system>``. ``reference``: ``none``, ``same``, ``other`` or
    ``external``.
    """

    pairing: str = "matched"
    audio: str = "real"
    reference: str = "none"


def request_seed(run_seed: int, clip_id: str) -> int:
    """The seed of one request: the first 8 bytes (big endian) of SHA-256(``<seed>:<clip id>``)."""
    return int.from_bytes(hashlib.sha256(f"{run_seed}:{clip_id}".encode()).digest()[:8], "big")


@dataclass(frozen=True, slots=True)
class Request:
    """All that a system may see of a clip for a task. Media are staged copies with plain names.

    ========  =============================================================================
    task      fields that are set
    ========  =============================================================================
    ``vts``   ``video`` (silent mp4), ``voice``
    ``dub``   ``video`` (silent mp4), ``text``, ``voice``
    ``a2v``   ``audio`` (wav), ``identity`` (silent mp4, or png where the system asks for a portrait)
    ``t2av``  ``text``, ``voice``, ``identity``
    ``tts``   ``text``, ``voice``
    ========  =============================================================================

    ``voice`` and ``identity`` are ``None`` where the condition's reference is ``none`` (``a2v`` always has an identity:
    dubbing redraws the mouth of the clip's own video). ``key`` is opaque and stable; ``voice_key`` and ``identity_key``
    are content hashes to cache per-reference state by. ``n_frames`` is the length of the given driving stream on the 25
    fps grid, ``None`` where the system sets the length itself (``tts``, ``t2av``). ``workdir`` is a private folder,
    empty but for the staged media and deleted afterwards: what the system writes, and its output names, belongs there.
    """

    key: str
    task: Task
    seed: int
    video: Path | None = None
    audio: Path | None = None
    text: str | None = None
    voice: Path | None = None
    voice_key: str | None = None
    identity: Path | None = None
    identity_key: str | None = None
    n_frames: int | None = None
    workdir: Path | None = None

    def generator(self) -> np.random.Generator:
        """A fresh NumPy generator for this request, independent of batch and order."""
        import numpy as np

        return np.random.default_rng(self.seed)


@dataclass(frozen=True, slots=True)
class Audio:
    """``samples`` float32 mono (N,) in [-1, 1] at ``rate`` Hz."""

    samples: Samples
    rate: int


@dataclass(frozen=True, slots=True)
class Output:
    """What a system made for a request: arrays, or files that the harness reads and encodes.

    A task needs the streams of :data:`MADE`; further ones are ignored.
    ``video``: uint8 RGB (T, H, W, 3) at 25 fps, or a file. ``audio``: :class:`Audio`, or a file.
    """

    video: Frames | Path | None = None
    audio: Audio | Path | None = None


@dataclass(frozen=True, slots=True)
class WeightFile:
    """A file that a system or metric needs.

    ``package`` names the installed distribution that ships it (then nobody has to bring it).
    ``manifest`` names a JSON of tensor names and shapes in ``bench/manifests``.
    """

    name: str
    sha256: str | None
    size: int | None
    licence: str
    source: str
    package: str | None = None
    manifest: str | None = None


@dataclass(frozen=True, slots=True)
class Reference:
    """What an output is scored against: frames of ``video``, ``audio`` and ``transcript``.

    Under ``cross`` pairing the video is the clip's own and audio and transcript are those of
    the clip that it was paired with. ``sha256`` identifies the three together.
    """

    clip_id: str
    sha256: str
    video: Source | None
    audio: Source | None
    transcript: str | None
    speaker: str | None = None
    task: Task = "vts"
    own_length: bool = False  # the output must have the reference's length (a2v, matched, real audio)


@dataclass(frozen=True, slots=True)
class Failure:
    """A clip that has no value, and why. ``kind`` is one of :data:`FAILURE_KINDS`."""

    kind: str
    detail: str = ""

    def __post_init__(self) -> None:
        if self.kind not in FAILURE_KINDS:
            raise ValueError(f"failure kind {self.kind!r} is not one of {', '.join(FAILURE_KINDS)}")


@dataclass(frozen=True, slots=True)
class Score:
    """The values of one protocol for one output.

    ``values`` has one finite number per :class:`Value` that is a mean or a ratio over clips (for a ratio: the clip's
    own ratio). ``parts`` holds further numbers per clip: numerators and denominators of ratios, counts, flags (0 or 1).
    ``text`` holds strings worth keeping (hypotheses). ``arrays`` holds what a corpus value (Fréchet) needs of a clip.
    """

    values: Mapping[str, float]
    parts: Mapping[str, float] = field(default_factory=dict)
    text: Mapping[str, str] = field(default_factory=dict)
    arrays: Mapping[str, Array] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Aggregation:
    """How clip results become a set value.

    ``mean``: mean of the clip values. ``ratio``: sum of ``numerator`` over sum of
    ``denominator``, both keys of ``Score.parts``. ``corpus``: :meth:`Metric.aggregate`.
    """

    kind: Literal["mean", "ratio", "corpus"] = "mean"
    numerator: str = ""
    denominator: str = ""


@dataclass(frozen=True, slots=True)
class Value:
    """One number of a protocol. ``name`` is its key (``avs_corr``), ``label`` its column (``AVS-corr``).

    ``low`` and ``high`` bound every clip value and set value; a value outside is a defect of the
    metric and fails as ``model_error``. ``scale`` and ``digits`` are for tables alone (100 for
    rates that tables show in per cent).
    """

    name: str
    label: str
    direction: Literal["higher", "lower", "zero"]
    unit: str
    low: float = float("-inf")
    high: float = float("inf")
    aggregation: Aggregation = Aggregation()
    headline: bool = True  # has a column of its own; others are in the tidy formats only
    scale: float = 1.0
    digits: int = 3


@dataclass(frozen=True)
class Protocol:
    """The exact recipe of one metric: ``<family>/<what>@<version>``; a change makes a new id.

    ``judges``: the streams that must have been *generated* for the protocol to apply to a task:
    any of them for ``either``. ``needs``: what it reads, of ``audio``, ``video``,
    ``reference_audio``, ``reference_video``, ``transcript``, ``cost``; a stream that the task does
    not generate is the one that the system was given (the silent video of ``vts``, the driving
    audio of ``a2v``).
    ``status`` is one of protocols.json: ``offline-canonical``, ``offline-real``, ``needs-weights``.
    ``default``: part of ``--metrics auto``.
    """

    id: str
    values: tuple[Value, ...]
    judges: frozenset[str]
    needs: frozenset[str]
    status: str
    parameters: Mapping[str, Any]
    source: str
    judges_either: bool = False
    default: bool = False
    gated: bool = True
    weights: tuple[WeightFile, ...] = ()
    used_by: tuple[str, ...] = ()
    failures: tuple[str, ...] = ()
    cost_hint_s: float = 0.05  # seconds per clip of 3 s on one core, for --dry-run
    note: str = ""
    sampled: bool = False  # judges some of a run's clips (people do): the others are neither failed nor to do

    @property
    def family(self) -> str:
        """``wer`` of ``wer/pocketsphinx-grid@1``."""
        return self.id.split("/", 1)[0]

    def applies_to(self, task: Task) -> bool:
        """Whether an output of ``task`` has what the protocol judges and reads."""
        made = MADE[task]
        judged = bool(self.judges & made) if self.judges_either else self.judges <= made
        has_video = task != "tts"
        return judged and (has_video or "video" not in self.needs)


@dataclass(frozen=True, slots=True)
class Issue:
    """One finding of ``bench data check``."""

    code: str
    severity: Literal["error", "warn", "info"]
    where: str
    detail: str = ""


@dataclass(frozen=True)
class CheckReport:
    """What ``bench data check`` found; ``splits`` maps a split to its counts and sums."""

    dataset: str
    root: str
    mode: Literal["full", "fast"]
    splits: Mapping[str, Mapping[str, float | None]]
    issues: tuple[Issue, ...]
    content_sha256: str | None

    def count(self, severity: str) -> int:
        """How many findings have ``severity``."""
        return sum(issue.severity == severity for issue in self.issues)


@dataclass(frozen=True, slots=True)
class Unit:
    """A piece of work. ``key`` is unique in its job; ``cost`` orders units, longest first.

    Units of equal ``group`` may share a batch. ``payload`` is picklable and small.
    """

    key: str
    payload: Any
    cost: float = 1.0
    group: str = ""


@dataclass(frozen=True, slots=True)
class Job:
    """What a worker runs: ``target`` is ``module:factory``.

    In the worker, ``factory(setup)`` is called once and returns ``handler(payloads) -> records``, one record (any
    picklable) per payload, in order. A handler never lets an exception out for bad input: it returns typed failures
    inside its records; what it does let out marks the whole batch as failed.

    ``renews``: a worker process has units of one group alone, so that what a group leaves loaded is no cost of the
    next one (an engine that runs in the calling process cannot).

    ``repeatable``: a unit that takes long may be run a second time beside the first: it leaves nothing behind, and
    gives the same record again.
    """

    target: str
    setup: Any
    renews: bool = False
    repeatable: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one unit: a record, an error of the handler (final), or a loss (retried).

    ``reason`` of a loss: ``worker_lost``, ``timeout`` or ``out_of_memory``. ``again``: a second record of a unit of a
    ``repeatable`` job, whose first one has come before: it is there to be held against that, and counts for nothing.
    """

    key: str
    status: Literal["ok", "failed", "lost"]
    record: Any = None
    reason: str = ""
    detail: str = ""
    seconds: float = 0.0
    worker: int = 0
    again: bool = False
