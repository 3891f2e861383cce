"""What a plug-in implements: systems, controls, metrics, datasets and engines."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from bench.errors import UsageError
from bench.records import (
    TASKS,
    CheckReport,
    Clip,
    Failure,
    Job,
    Outcome,
    Output,
    Protocol,
    Reference,
    Request,
    Score,
    Task,
    Tier,
    Unit,
    WeightFile,
)

if TYPE_CHECKING:
    from pydantic import BaseModel

    from bench.media import Media
    from bench.records import Array

#: Called during long work with (done, total, what).
Progress = Callable[[int, int, str], None]


class System(ABC):
    """A generator. One instance lives in one worker; ``generate`` gets a batch of requests.

    Class attributes: ``name`` and ``version`` enter the run's id. ``tasks`` that it can do.
    ``tier`` as in DESIGN.md; ``tiers``, the best first, where the setting ``tier`` chooses between several (an instance
    has the chosen one as ``tier``), and ``stand_ins`` says what is in the place of which canonical part in tier
    ``embedded``. ``differences``: what is done where the original's paper and code contradict each other. ``uses``
    says which references it needs (``voice``, ``identity``); requests without them fail as ``missing_reference``.
    ``portrait`` asks for a png in place of a video as ``identity``. ``weights`` are the files that it loads.
    ``options`` is the pydantic model of its ``--set key=value`` settings; ``local_settings`` names
    those that only say where things are on this machine: they are no part of the run's id.
    ``request_timeout_s`` is the time that it allows itself per request, where that is longer than
    ``--timeout``. What may differ by setting is read from the instance.
    """

    name: ClassVar[str]
    version: str
    tasks: tuple[Task, ...]
    tier: Tier = "control"
    tiers: ClassVar[tuple[Tier, ...]] = ()
    stand_ins: ClassVar[Mapping[str, str]] = {}
    differences: ClassVar[Mapping[str, str]] = {}
    uses: frozenset[str] = frozenset()
    portrait: bool = False
    deterministic: bool = True
    weights: Sequence[WeightFile] = ()
    local_settings: ClassVar[frozenset[str]] = frozenset()
    request_timeout_s: float = 0.0
    summary: ClassVar[str] = ""
    licence: ClassVar[str] = "Apache-2.0"
    source: ClassVar[str] = ""

    def __init__(self, settings: Mapping[str, Any] | None = None) -> None:
        self.settings: Mapping[str, Any] = dict(settings or {})
        if self.tiers:
            self.tier = self.settings.get("tier", self.tiers[0])

    @classmethod
    def options(cls) -> type[BaseModel] | None:
        """The pydantic model of the settings that ``--set`` accepts; ``None``: it has none."""
        return None

    @classmethod
    def stages(cls) -> Mapping[str, str]:
        """What ``bench train`` can train of it: names to ``"module:function"``, in the order of training.

        The function takes a :class:`bench.train_request.TrainRequest` and returns a :class:`bench.train.Stage`;
        its module is imported when it is needed. Empty: the system is not trained here.
        """
        return {}

    @classmethod
    def preparation(cls) -> str | None:
        """What ``bench data prepare`` runs for its training: ``"module:function"``; ``None``: nothing.

        The function takes a :class:`bench.train_request.TrainRequest`, makes what the training would else make clip by
        clip, and returns something to print.
        """
        return None

    def missing(self) -> list[str]:
        """What keeps the system from running here, one line each with its remedy; empty: nothing."""
        return []

    def missing_for(self, task: Task) -> list[str]:
        """The same for one task, where tasks need different things. Tasks that nobody named and that lack something
        are left out while others can run."""
        return self.missing()

    def weights_for(self, task: Task) -> Sequence[WeightFile]:
        """The files that a run of ``task`` loads: their hashes are part of the run's id."""
        return self.weights

    def note_for(self, task: Task) -> str:
        """What tables say below the rows of ``task`` (what stands in for what); empty: nothing."""
        return ""

    def preflight(self, clip_ids: Sequence[str]) -> list[str]:
        """What the user should know before work begins on these clips (files that match no clip)."""
        return []

    def fingerprint(self) -> str:
        """A hash of files that decide the result and are no ``weights`` (a gateway's YAML, a folder of
        finished outputs); part of the run's id."""
        return ""

    def load(self, device: str, dtype: str) -> None:
        """Load weights. Called once per worker before the first batch."""

    @abstractmethod
    def generate(self, requests: Sequence[Request]) -> Sequence[Output | Failure]:
        """One output (or typed failure) per request, in order; never sees the clip.

        Its wall time is the requests' cost. What an instance keeps from one request for the next is its own merit;
        for what it finds on disk from other runs it must call :func:`bench.api.charge`.
        """


class Control(System):
    """A system that may look at the truth: bounds, shuffles and finished outputs of others.

    Its tier is ``control`` or ``external``; the registry refuses any other.
    """

    def generate(self, requests: Sequence[Request]) -> Sequence[Output | Failure]:
        raise TypeError(f"{self.name} is a control: call generate_from_truth")

    def prepare(self, clips: Sequence[Clip]) -> None:
        """Told once per worker which clips the whole split has, in order of their ids."""

    @abstractmethod
    def generate_from_truth(
        self, requests: Sequence[Request], truths: Sequence[Reference]
    ) -> Sequence[Output | Failure]:
        """As ``generate``, with the reference of each request."""


class Metric(ABC):
    """A family of protocols that share their computation. One instance lives in one worker."""

    name: ClassVar[str]
    protocols: ClassVar[tuple[Protocol, ...]]
    summary: ClassVar[str] = ""
    licence: ClassVar[str] = "Apache-2.0"

    def missing(self, protocol_id: str) -> list[str]:
        """What keeps a protocol from running here, one line each with its remedy."""
        return []

    def unsuited(self, protocol_id: str, transcripts: Sequence[str]) -> str:
        """Why a protocol cannot judge a data set with these transcripts (a closed vocabulary); empty: it can.

        ``--metrics auto`` leaves such a protocol out; one that is named by the user fails clip by clip.
        """
        return ""

    def load(self, device: str) -> None:
        """Load models. Called once per worker before the first clip."""

    def prepare(self, protocol_ids: Sequence[str], outputs: Sequence[Media]) -> None:
        """Told of the outputs of a batch before they are scored one by one.

        For features that several media share a network call for; ``score`` finds them kept. Whatever is
        not prepared, ``score`` computes itself, with the same result.
        """

    @abstractmethod
    def score(
        self, protocol_ids: Sequence[str], output: Media, reference: Media, truth: Reference
    ) -> Mapping[str, Score | Failure]:
        """The result of each asked protocol. May raise :class:`Unscorable` when all fail alike.

        Per-medium features go through ``Media.feature``, so that those of the ground truth are
        computed once for all systems and kept.
        """

    def aggregate(self, protocol_id: str, value: str, arrays: Sequence[Mapping[str, Array]], counts: Array) -> Array:
        """Corpus values: one per row of ``counts`` (B, n), the multiplicity of each clip."""
        raise TypeError(f"{self.name} has no corpus value")


class Dataset(ABC):
    """A collection of clips on the user's disk.

    ``root`` is the dataset's root, or the parent that holds a folder of its name; ``cache`` is
    where the index and hashes are kept. ``progress(done, total, what)`` is called during long work.
    """

    name: ClassVar[str]
    tasks: ClassVar[tuple[Task, ...]] = TASKS
    splits: ClassVar[tuple[str, ...]] = ("test",)
    default_split: ClassVar[str] = "test"
    made_here: ClassVar[bool] = False  # made by `bench data make`: the variable BENCH_DATA does not concern it
    any_split: ClassVar[bool] = False  # splits are named by the user's manifest; ``splits`` are examples
    summary: ClassVar[str] = ""
    licence: ClassVar[str] = ""
    notice: ClassVar[str] = ""  # printed once per run (LRS2's agreement)
    notes: ClassVar[str] = ""  # what `bench info` should say beyond the summary
    speakers_known: ClassVar[bool] = True
    redistributable: ClassVar[bool] = True  # whether `bench report` may put its recordings into a folder for others

    def __init__(self, root: Path | None, cache: Path) -> None:
        self.root = root
        self.cache = cache

    def locate(self) -> Path:
        """The folder that holds the data. Raises ``UsageError`` where there is none."""
        if self.root is None or not self.root.is_dir():
            raise UsageError(f"{self.name}: no such folder: {self.root}", "give --data-root DIR, or set BENCH_DATA.")
        return self.root

    @abstractmethod
    def clips(self, split: str, progress: Progress | None = None) -> list[Clip]:
        """All clips of a split, sorted by id bytewise; builds the index where there is none."""

    @abstractmethod
    def content_sha256(self, split: str) -> str:
        """Hash of the split's index: part of a run's id."""

    @abstractmethod
    def check(
        self, split: str | None, pattern: str | None = None, fast: bool = False, progress: Progress | None = None
    ) -> CheckReport:
        """The report of datasets.md section 8; never raises for what it finds."""


class Engine(ABC):
    """Decides where a batch runs, nothing else; never writes the store.

    A context manager. ``submit`` takes a non-empty batch; every unit of it comes back from
    ``poll`` exactly once. ``cancel`` kills the worker that holds the unit: its batch comes back
    as ``lost``.
    """

    name: ClassVar[str]

    @abstractmethod
    def start(self, job: Job) -> None: ...

    @abstractmethod
    def free(self) -> int:
        """How many batches may be submitted now."""

    @abstractmethod
    def submit(self, batch: Sequence[Unit]) -> None: ...

    @abstractmethod
    def poll(self, timeout: float) -> list[Outcome]: ...

    @abstractmethod
    def cancel(self, key: str, reason: str) -> None: ...

    @abstractmethod
    def close(self) -> None: ...

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
