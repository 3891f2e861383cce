"""Several stores read as one, merged by content.

What the stores hold is brought together in a temporary database, by the rules by which one store takes a second result:
runs by id, outputs by run and clip, scores by their key. An equal result counts once; a failure that is not final gives
way; of two unequal ones that of the store named first stands and both are told as a conflict. The stores are opened for
reading alone: media, features and arrays stay where they are and are read from there.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import UsageError
from bench.store import Store
from bench.store_records import Conflict, OutputRecord, RunClip, ScoreKey
from bench.store_schema import guarded, make_temporary
from bench.store_scores import RowKey, ScoreTable, add_conflict, plain, same_result
from bench.store_sql import Session

if TYPE_CHECKING:
    from bench.records import Array

_CHUNK = 10_000  # rows per step
_SCORE = """protocol, weights, output, reference, ok, layout, numbers, text, kind, detail, final, seconds, versions,
    created"""
_KEY = "protocol = ? AND weights = ? AND output = ? AND reference = ?"
_COST = "cost/"  # two makings of one output never take the same time: that is no conflict


def open_stores(paths: Sequence[Path]) -> Store:
    """One store, or several merged, open for reading; close it, or use it as a context manager.

    In a merged store paths of media are absolute, so that ``store.root / output.video`` is right for both.

    Raises:
        UsageError: no path.
        DataError: nothing to read at a path, or a damaged store.
    """
    distinct = list({Path(path).resolve(): Path(path) for path in paths}.values())
    if not distinct:
        raise UsageError("no store is named", "give its folder as --out.")
    return Store.open(distinct[0], write=False) if len(distinct) == 1 else MergedStore(distinct)


class MergedStore(Store):
    """The union of several stores; reads like one of them. ``unequal``: results on which they do not agree."""

    def __init__(self, paths: Sequence[Path]) -> None:
        with ExitStack() as opened:
            self.sources = [opened.enter_context(Store.open(path, write=False)) for path in paths]
            super().__init__(paths[0], opened.enter_context(closing(make_temporary())), None)
            self._scores = _ScoresOfSources(self._session, self.sources)
            self._with_arrays: set[int] = set()  # protocols
            with self._session.write():
                for source in self.sources:
                    with guarded(source.root):
                        self._take(source)
                self.unequal: list[Conflict] = self.conflicts()
                for source in self.sources:
                    with guarded(source.root):
                        self._take_conflicts(source)
            self._opened = opened.pop_all()

    def close(self) -> None:
        """Close the stores and drop what was merged."""
        self._opened.close()

    def get_features(self, media_sha256: str, keys: Iterable[str]) -> dict[str, dict[str, Array]]:
        """Those of the features ``keys`` that one of the stores keeps for a medium."""
        wanted = list(keys)
        found: dict[str, dict[str, Array]] = {}
        for source in self.sources:
            found = {**source.get_features(media_sha256, [key for key in wanted if key not in found]), **found}
        return found

    def media_dir(self, run_id: str) -> Path:
        """Media of a merged run may lie in several folders.

        Raises:
            UsageError: always; each output names its files.
        """
        raise UsageError("merged stores have no one folder of media", "take the paths of the outputs.")

    def digest(self, run_ids: Iterable[str] | None = None) -> str:
        """Digests are of what one store holds.

        Raises:
            UsageError: always.
        """
        raise UsageError("merged stores have no digest", "take that of each store.")

    def _take(self, source: Store) -> None:
        """Add all that a store holds."""
        other = source._session
        other.connection.execute("BEGIN")  # one state of it, though somebody may be writing there
        numbers = _Numbers(self._session, other)
        for run in source.runs():
            self._runs.add(run)
            self._runs.add_protocols(run.id, source._runs.protocols(source._runs.number(run.id)))
            self._take_clips(run.id, source.run_clips(run.id))
            self._take_outputs(run.id, source)
        self._take_scores(source, numbers)
        self._take_rest(other, numbers)
        other.connection.execute("COMMIT")

    def _take_clips(self, run_id: str, clips: Sequence[RunClip]) -> None:
        known = {clip.clip_id: clip for clip in self._runs.clips(run_id)}
        self._runs.add_clips(run_id, [clip for clip in clips if clip.clip_id not in known])
        number = self._runs.number(run_id)
        for clip in clips:
            there = known.get(clip.clip_id, clip)
            if there.reference_sha256 != clip.reference_sha256:
                key = (run_id, clip.clip_id)
                add_conflict(self._session, "clip", number, None, key, asdict(there), asdict(clip))

    def _take_outputs(self, run_id: str, source: Store) -> None:
        known = self._outputs.of_run(run_id)
        for clip_id, found in source.outputs(run_id).items():
            media = _absolute(found, source.root)
            verdict = "new" if clip_id not in known else self._outputs.compare(found)
            if verdict != "duplicate":
                self._outputs.add(found, media, verdict)

    def _take_scores(self, source: Store, numbers: _Numbers) -> None:
        """Rows of new keys as they are; the others are compared."""
        connection = self._session.connection
        insert = f"INSERT OR IGNORE INTO scores ({_SCORE}) VALUES ({', '.join('?' * 14)})"
        # what has arrays is compared whole; elsewhere rows that are equal as they lie are equal
        with_arrays = source._session.rows("SELECT DISTINCT protocol FROM score_arrays")
        self._with_arrays |= {numbers.names[protocol] for (protocol,) in with_arrays}
        equal = f"SELECT 1 FROM scores WHERE {_KEY} AND (ok, layout, numbers, text, kind, final) = (?, ?, ?, ?, ?, ?)"
        for row in source._session.rows(f"SELECT {_SCORE} FROM scores"):
            mapped = numbers.score(row)
            if connection.execute(insert, mapped).rowcount:
                continue
            result = (*mapped[:9], mapped[10])
            if mapped[0] in self._with_arrays or connection.execute(equal, result).fetchone() is None:
                self._again(source, row[:4], mapped)

    def _again(self, source: Store, theirs: RowKey, mapped: tuple[Any, ...]) -> None:
        """A second result of a key."""
        ours: RowKey = mapped[:4]
        protocol, weights = (self._session.names.text(number) for number in ours[:2])
        output, reference = (self._session.contents.text(number) for number in ours[2:])
        key = ScoreKey(output, reference, protocol, weights)
        there, found = self._scores.read(ours, key), source._scores.read(theirs, key)
        if there is None or found is None or not found.final or protocol.startswith(_COST):
            return
        if not there.final:
            replacing = f"INSERT OR REPLACE INTO scores ({_SCORE}) VALUES ({', '.join('?' * 14)})"
            self._session.connection.execute(replacing, mapped)
        elif not same_result(there, found):
            add_conflict(self._session, "score", None, ours[2], key, plain(there), plain(found))

    def _take_rest(self, other: Session, numbers: _Numbers) -> None:
        """Which weights were used last, and kept aggregates, whose keys name all that they rest on."""
        connection = self._session.connection
        connection.executemany(
            """INSERT INTO used_weights (protocol, weights, newest) VALUES (?, ?, ?)
                ON CONFLICT (protocol, weights) DO UPDATE SET newest = max(newest, excluded.newest)""",
            [
                (numbers.names[protocol], numbers.names[weights], newest)
                for protocol, weights, newest in other.rows("SELECT protocol, weights, newest FROM used_weights")
            ],
        )
        rows = other.rows("SELECT key, value, created FROM cached")
        connection.executemany("INSERT OR IGNORE INTO cached (key, value, created) VALUES (?, ?, ?)", rows)

    def _take_conflicts(self, source: Store) -> None:
        """Conflicts inside one store are told too, but are nothing that the stores disagree on."""
        query = "SELECT id, n FROM runs"
        runs = {number: run_id for run_id, number in source._session.rows(query)}
        for run, subject, key, kept, other in source._session.rows(
            "SELECT run, subject, key, kept, other FROM conflicts ORDER BY n"
        ):
            number = self._runs.number(runs[run]) if run in runs else None
            parts = json.loads(key)
            content = self._session.contents.number(parts[0]) if subject == "score" else None
            add_conflict(self._session, subject, number, content, parts, json.loads(kept), json.loads(other))


class _ScoresOfSources(ScoreTable):
    """Merged rows, whose arrays are read from the store that each row came from."""

    def __init__(self, session: Session, sources: Sequence[Store]) -> None:
        super().__init__(session)
        self._sources = sources

    def arrays(self, row: RowKey) -> bytes | None:
        """The arrays of a row: those of the first store that scored it."""
        protocol, weights = (self._session.names.text(number) for number in row[:2])
        output, reference = (self._session.contents.text(number) for number in row[2:])
        key = ScoreKey(output, reference, protocol, weights)
        for source in self._sources:
            with guarded(source.root):
                if dict(source._scores.states([key])).get(key) == "ok":
                    number = source._scores.row_key(key)
                    return None if number is None else source._scores.arrays(number)
        return None


class _Numbers:
    """The numbers that the strings of another store have here; ``names`` and ``contents`` map its numbers to ours."""

    def __init__(self, here: Session, other: Session) -> None:
        self.names = _mapped(here.names.numbers, other.rows("SELECT n, name FROM names"))
        self.contents = _mapped(here.contents.numbers, other.rows("SELECT n, sha256 FROM contents"))

    def score(self, row: tuple[Any, ...]) -> tuple[Any, ...]:
        """A row of scores with our numbers."""
        protocol, weights, output, reference, ok, layout, *middle, versions, created = row
        names, contents = self.names, self.contents
        key = (names[protocol], names[weights], contents[output], contents[reference])
        return (*key, ok, names[layout], *middle, names[versions], created)


def _mapped(numbers: Any, rows: Iterator[tuple[Any, ...]]) -> Mapping[int, int]:
    found: dict[int, int] = {}
    while part := list(islice(rows, _CHUNK)):
        ours = numbers([text for _, text in part])
        found |= {number: ours[text] for number, text in part}
    return found


def _absolute(output: OutputRecord, root: Path) -> dict[str, str]:
    """The files of an output by stream, wherever it is read from."""
    streams = {"video": output.video, "audio": output.audio}
    return {stream: str((root / path).resolve()) for stream, path in streams.items() if path}
