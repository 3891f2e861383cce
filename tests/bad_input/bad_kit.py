"""What the tests of bad input share: calling the command line, and looking at a store before and after."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from bench import cli
from bench.store import Store
from bench.store_records import OutputRecord, ScoreColumn

PLUGINS = Path(__file__).parent / "plugins"


@dataclass(frozen=True)
class Told:
    """What one call of ``bench`` said, and its exit code."""

    code: int
    out: str
    err: str


class Row(NamedTuple):
    """``kind`` of a failure, or ``ok``."""

    kind: str
    detail: str


@dataclass(frozen=True)
class State:
    """The results of a store and its media files (path, SHA-256)."""

    digest: str
    media: dict[str, str]


class Bench:
    """The command line over one store. Every call is checked for traces and for a hint with an error."""

    def __init__(self, store: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.store = store
        self._capsys = capsys

    def __call__(self, *arguments: str | Path, out: Path | None = None) -> Told:
        """``bench …`` in this process; ``--out`` is added to the verbs that have it."""
        words = [str(argument) for argument in arguments]
        if words and words[0] in _WITH_STORE:
            words += ["--out", str(out or self.store)]
        self._capsys.readouterr()
        code = cli.invoke(words)
        said = self._capsys.readouterr()
        assert "Traceback (most recent call last)" not in said.out + said.err, said.err
        assert "internal error" not in said.err, said.err
        return Told(code, said.out, said.err)

    def run(self, *arguments: str | Path, workers: int = 0) -> Told:
        """``bench run -d folder`` in this process unless ``workers`` says otherwise."""
        return self("run", "-q", "--dataset", "folder", "--workers", str(workers), *arguments)

    def state(self, run_ids: Sequence[str] | None = None) -> State:
        """What is stored now (of these runs; all by default)."""
        return state_of(self.store, run_ids)

    def kept(self, run_ids: Sequence[str]) -> dict[str, Any]:
        """Outputs, first scores and media of runs: what later work must leave alone.

        Further protocols may come to a run through an equal output of another one.
        """
        found: dict[str, Any] = {"media": self.state(run_ids).media}
        with Store.open(self.store, write=False) as store:
            for run_id in run_ids:
                column = store.scores(run_id, "duration/abs@1")
                scores = {name: [float(x) for x in numbers] for name, numbers in column.values.items()}
                found[run_id] = (store.outputs(run_id), scores, list(column.kinds))
        return found

    def run_ids(self) -> list[str]:
        """All runs, oldest first."""
        with Store.open(self.store, write=False) as store:
            return [run.id for run in store.runs()]

    def result(self, run_id: str, protocols: Sequence[str] = ()) -> dict[str, dict[str, Row]]:
        """What became of every requested clip: of its output (key ``""``) and of its score by protocol.

        A clip without a row would be missing here, and so in no table: the tests compare the keys.
        """
        with Store.open(self.store, write=False) as store:
            rows = store.outputs(run_id)
            found: dict[str, dict[str, Row]] = {
                clip.clip_id: {"": Row(rows[clip.clip_id].kind or "ok", rows[clip.clip_id].detail)}
                for clip in store.run_clips(run_id)
                if clip.clip_id in rows
            }
            for protocol in protocols:
                column = store.scores(run_id, protocol)
                details = {clip_id: row.detail for clip_id, row in store.score_rows(run_id, protocol)}
                for clip_id, kind, pending in zip(column.clip_ids, column.kinds, column.pending, strict=True):
                    if not pending:
                        found[clip_id][protocol] = Row(kind or "ok", details.get(clip_id, ""))
        return found

    def run_id(self, system: str, task: str) -> str:
        """The only run of a system on a task."""
        with Store.open(self.store, write=False) as store:
            (found,) = store.runs(system=system, task=task)
            return found.id

    def outputs(self, system: str, task: str = "vts") -> dict[str, OutputRecord]:
        """The rows of the only run of a system on a task."""
        run_id = self.run_id(system, task)
        with Store.open(self.store, write=False) as store:
            return store.outputs(run_id)

    def failures(self, system: str, task: str = "vts") -> dict[str, tuple[str, str]]:
        """Clip id to (kind, detail) of outputs that failed."""
        return {k: (v.kind, v.detail) for k, v in self.outputs(system, task).items() if v.status == "failed"}

    def column(self, system: str, protocol: str, task: str = "vts") -> ScoreColumn:
        """The scores of the only run of a system on a task."""
        run_id = self.run_id(system, task)
        with Store.open(self.store, write=False) as store:
            return store.scores(run_id, protocol)

    def score_failures(self, system: str, protocol: str, task: str = "vts") -> dict[str, tuple[str, str]]:
        """Clip id to (kind, detail) of scores that failed."""
        run_id = self.run_id(system, task)
        with Store.open(self.store, write=False) as store:
            rows = list(store.score_rows(run_id, protocol))
        return {clip_id: (row.kind, row.detail) for clip_id, row in rows if row.status == "failed"}


_WITH_STORE = {"run", "generate", "score", "leaderboard", "compare", "gate", "export"}


def state_of(root: Path, run_ids: Sequence[str] | None = None) -> State:
    """Digest and media of a store."""
    with Store.open(root, write=False) as store:
        chosen = [run.id for run in store.runs()] if run_ids is None else list(run_ids)
        digest = store.digest(chosen)
        folders = [store.media_dir(run_id) for run_id in chosen]
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    media = {path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
    return State(digest, media)


def leftovers(root: Path) -> list[str]:
    """Files in a store that nothing names: unfinished outputs and orphans."""
    with Store.open(root) as store:
        orphans = list(store.sweep(dry_run=True).files)
    return orphans + [path.name for path in (root / "tmp").rglob("*") if path.is_file()]
