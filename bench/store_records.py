"""The records that the run store keeps and hands out. Importing this loads no numeric library.

Hashes are lower-case hexadecimal SHA-256; times are seconds; ``created`` is ISO 8601 in UTC and is
filled in by the store where it is empty.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from bench.records import Array, Task

Status = Literal["ok", "failed"]
Added = Literal["new", "duplicate", "conflict"]
State = Literal["ok", "failed", "retry"]  # "retry": a failure that the next run tries again


@dataclass(frozen=True, slots=True)
class RunRecord:
    """A system on a split of a dataset for a task and condition. ``id`` is the hash of what identifies it.

    ``dataset_sha256``: content hash of the split's index. ``n_split``: clips of the whole split.
    ``config``: the effective configuration; ``environment``: versions, device, machine (not hashed).
    """

    id: str
    system: str
    version: str
    tier: str
    dataset: str
    split: str
    task: Task
    pairing: str = "matched"
    audio: str = "real"
    reference: str = "none"
    seed: int = 0
    dtype: str = "float32"
    settings: Mapping[str, Any] = field(default_factory=dict)
    weights: Mapping[str, str] = field(default_factory=dict)
    dataset_sha256: str = ""
    config: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, Any] = field(default_factory=dict)
    n_split: int = 0
    created: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class RunClip:
    """One requested clip of a run, and the hash of what it is scored against."""

    clip_id: str
    speaker: str | None
    reference_sha256: str
    duration_s: float


@dataclass(frozen=True, slots=True)
class OutputRecord:
    """What generating one clip gave. ``video`` and ``audio`` are relative to the store's folder.

    ``sha256`` identifies both streams together and is ``None`` for a failure, whose ``kind`` is one
    of ``FAILURE_KINDS``. ``final=False`` marks a failure that the next run tries again (lost
    worker, time limit, memory, missing package). ``media_seconds`` is the length of the output.
    """

    run_id: str
    clip_id: str
    status: Status
    sha256: str | None = None
    video: str | None = None
    audio: str | None = None
    n_frames: int | None = None
    n_samples: int | None = None
    sample_rate: int | None = None
    seconds: float = 0.0
    peak_mib: float = 0.0
    media_seconds: float = 0.0
    device: str = "cpu"
    kind: str = ""
    detail: str = ""
    final: bool = True
    attempts: int = 1
    created: str = ""


def cost_reference(run_id: str, clip_id: str) -> str:
    """What stands in place of a cost's reference: a cost belongs to one clip of one run."""
    return f"{run_id}/{clip_id}"


class ScoreKey(NamedTuple):
    """What identifies a score: nothing of machines, workers or order."""

    output_sha256: str
    reference_sha256: str
    protocol: str
    weights_sha256: str


@dataclass(frozen=True, slots=True)
class ScoreRecord:
    """The result of one protocol for one output. ``arrays`` are the bytes of a safetensors file."""

    output_sha256: str
    reference_sha256: str
    protocol: str
    weights_sha256: str
    status: Status
    values: Mapping[str, float] = field(default_factory=dict)
    parts: Mapping[str, float] = field(default_factory=dict)
    text: Mapping[str, str] = field(default_factory=dict)
    arrays: bytes | None = None
    kind: str = ""
    detail: str = ""
    final: bool = True
    seconds: float = 0.0
    versions: Mapping[str, str] = field(default_factory=dict)
    created: str = ""

    @property
    def key(self) -> ScoreKey:
        """The four parts of its key."""
        return ScoreKey(self.output_sha256, self.reference_sha256, self.protocol, self.weights_sha256)


@dataclass(frozen=True)
class ScoreColumn:
    """One protocol over the clips of a run, in order of clip id (bytewise); all arrays have length n.

    ``values`` and ``parts`` are float64, NaN where there is no number. ``ok``: scored.
    ``pending``: neither scored nor failed yet. ``kinds``: failure kind, ``""`` where ok or pending;
    a clip whose output failed has ``missing_output``. ``arrays``: what corpus values need, of the
    scored clips in order, read from the store when indexed (the store must still be open).
    ``weights_sha256`` is ``None`` where nothing has been scored.
    """

    run_id: str
    protocol: str
    weights_sha256: str | None
    clip_ids: Sequence[str]
    speakers: Sequence[str | None]
    values: Mapping[str, NDArray[np.float64]]
    parts: Mapping[str, NDArray[np.float64]]
    ok: NDArray[np.bool_]
    pending: NDArray[np.bool_]
    kinds: Sequence[str]
    failures: Counter[str]
    arrays: Sequence[Mapping[str, Array]]

    @property
    def n(self) -> int:
        """Requested clips."""
        return len(self.clip_ids)

    @property
    def n_scored(self) -> int:
        """Clips with a value."""
        return int(self.ok.sum())

    @property
    def n_pending(self) -> int:
        """Clips without a result so far."""
        return int(self.pending.sum())

    @property
    def n_failed(self) -> int:
        """Clips that failed (pending ones are not counted)."""
        return self.n - self.n_scored - self.n_pending


@dataclass(frozen=True, slots=True)
class Conflict:
    """Two unequal results for one key. ``kept`` is the one that stands, ``other`` the later one.

    ``subject``: ``output`` (key: run id, clip id) or ``score`` (key: the parts of a ``ScoreKey``); in merged stores
    also ``clip`` (key: run id, clip id): what it is scored against.
    ``times``: how often that other result came.
    """

    subject: Literal["output", "score", "clip"]
    key: tuple[str, ...]
    kept: Mapping[str, Any]
    other: Mapping[str, Any]
    times: int
    created: str


@dataclass(frozen=True, slots=True)
class SweepReport:
    """What :meth:`Store.sweep` found (and removed, unless it was a dry run)."""

    files: tuple[str, ...]  # media that no row names, relative to the store's folder
    bytes: int
    scores: int  # scores whose output is of no run
