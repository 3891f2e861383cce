"""Building the index of a split: hashes, decoded facts and findings of every clip, once.

What was computed before is used again while the files are as they were; a changed file is
noticed by size and times, hashed and decoded again. Facts are kept as they come, so that an
interrupted build goes on where it was.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from bench.api import DataError, Progress, Source
from bench.datasets import text as texts
from bench.datasets.check_rules import (
    Finding,
    av_gap,
    decoded_findings,
    header_findings,
    row_severity,
    severity,
    status_of,
)
from bench.datasets.facts import VERSION, Facts, full_facts, in_threads
from bench.datasets.facts_cache import FactsCache
from bench.datasets.files import HashCache, joined, stamp
from bench.datasets.manifest import (
    ClipRow,
    Manifest,
    make_header,
    read_manifest,
    sort_rows,
    tool_versions,
    write_manifest,
)

if TYPE_CHECKING:
    from bench.datasets.layout import Item, Rules, TreeDataset

_SAVE_EVERY = 500  # clips decoded between two saves of hashes and facts
_MAX_THREADS = 8


@dataclass(frozen=True)
class Hashes:
    """SHA-256 of the media of an item; ``None`` where there is no such file."""

    video: str | None
    audio: str | None


def index_folder(cache: Path, dataset: str, root: Path) -> Path:
    """Where the indexes of a data set at this place are kept."""
    return cache / "index" / f"{dataset}-{hashlib.sha256(os.fsencode(root.resolve())).hexdigest()[:12]}"


def build_index(
    dataset: TreeDataset, root: Path, split: str, items: Sequence[Item], progress: Progress | None = None
) -> Manifest:
    """The index of a split, from what is kept where files are unchanged; written to the cache."""
    folder, name = index_folder(dataset.cache, dataset.name, root), quote(split, safe="")
    old = _kept(folder, name)
    builder = Builder(dataset.name, root, dataset.cache, dataset.rules_for(split))
    rows = mark_duplicates(builder.rows(items, old, progress))
    header = make_header(dataset.name, dataset.name, rows, facts_version=VERSION)
    manifest = Manifest(header, rows)
    if old is None or old.header != header or old.rows != rows:
        write_manifest(folder, rows, header, name)
    return manifest


def _kept(folder: Path, name: str) -> Manifest | None:
    """The index of the last time, if it was made by the same rules and libraries."""
    if not (folder / f"{name}.json").is_file():
        return None
    try:
        kept = read_manifest(folder, name)
    except DataError:  # damaged or of an older version: it is only a cache, and built anew
        return None
    same = kept.header.extra.get("facts_version") == VERSION and kept.header.tools == tool_versions()
    return kept if same else None


class Builder:
    """Makes rows of items under one root."""

    def __init__(self, dataset: str, root: Path, cache: Path, rules: Rules) -> None:
        self._dataset = dataset
        self._root = root
        self._root_text = os.fspath(root)
        self._rules = rules
        self._hashes = HashCache(cache, root)
        self._facts = FactsCache(cache)

    def rows(self, items: Sequence[Item], old: Manifest | None, progress: Progress | None = None) -> list[ClipRow]:
        """One row per item, sorted by id; ``progress`` counts all items."""
        known = {row.clip_id: row for row in old.rows} if old else {}
        rows, to_do = [], []
        for item in items:
            kept = self._unchanged(item, known.get(item.clip_id))
            if kept is not None:
                rows.append(kept)
            elif item.video is None:  # nothing to decode: not worth a thread
                rows.append(self._row(item))
            else:
                to_do.append(item)
        total = len(items)
        if progress is not None:
            progress(len(rows), total, "index")
        threads = min(_MAX_THREADS, os.cpu_count() or 1)
        try:
            for count, row in enumerate(in_threads(self._row, to_do, threads), 1):
                rows.append(row)
                if progress is not None:
                    progress(len(rows), total, "index")
                if count % _SAVE_EVERY == 0:
                    self._save()
        finally:
            self._save()
        return sort_rows(rows)

    def _save(self) -> None:
        self._hashes.save()
        self._facts.save()

    def _unchanged(self, item: Item, old: ClipRow | None) -> ClipRow | None:
        """The row of the last time with today's names, if no file has changed."""
        if old is None or item.listed:  # a manifest's own columns may have changed: quick to read anew
            return None
        for path, sha in ((item.video, old.sha256), (item.text, old.text_sha256), (item.audio, old.audio_sha256)):
            if (path is None) != (sha is None) or (path is not None and self._hashes.known(path) != sha):
                return None
        if {code for code, _ in item.problems} != {code for code in old.issues if code.startswith("missing-")}:
            return None
        return _without_duplicate(_named(old, item), self._rules)

    def _row(self, item: Item) -> ClipRow:
        findings = list(item.problems)
        video = self._hash(item.video, "undecodable", findings)
        audio = self._hash(item.audio, "undecodable", findings)
        text, text_sha = self._text(item, findings)
        facts = self._media(item, Hashes(video, audio), findings)
        if facts.n_frames and not facts.code and text is not None:
            findings += texts.media_problems(text, facts.n_frames, _duration(facts))
        size = stamp(joined(self._root_text, item.video)) if item.video is not None else None
        first = dict(reversed(findings))  # the first finding of each code
        codes = tuple(dict.fromkeys(code for code, _ in findings))
        gap = _float32(av_gap(facts))
        severities = [severity(code, gap, self._rules.need_audio) for code in codes]
        return ClipRow(
            item.clip_id,
            self._dataset,
            item.split,
            item.video,
            item.text,
            item.group,
            speaker=item.speaker or _speaker(text),
            tag=item.tag,
            text_raw=text.raw if text else None,
            text_norm=text.norm if text else None,
            conf=text.conf if text else None,
            n_words=len((text.norm or "").split()) if text else 0,
            n_frames=facts.n_frames,
            fps=facts.fps,
            width=facts.width,
            height=facts.height,
            n_samples=facts.n_samples,
            sample_rate=facts.sample_rate if facts.has_audio else 0,
            channels=facts.channels if facts.has_audio else 0,
            av_gap_frames=gap,
            dur_s=_duration(facts),
            bytes=size.size if size is not None else 0,
            sha256=video,
            text_sha256=text_sha,
            status=status_of(severities),
            issues=codes,
            audio_path=item.audio,
            audio_sha256=audio,
            start=item.start,
            end=item.end,
            crop=item.crop,
            n_grid=facts.n_grid,
            details=tuple(first[code] for code in codes),
            extra=_extra(item, text),
        )

    def _hash(self, path: str | None, code: str, findings: list[Finding]) -> str | None:
        if path is None:
            return None
        try:
            return self._hashes.sha256(path)
        except DataError as error:
            findings.append((code, error.message))
            return None

    def _text(self, item: Item, findings: list[Finding]) -> tuple[texts.TextFile | None, str | None]:
        """The transcript, and the hash of what it was read from."""
        if item.transcript is not None:
            data = item.transcript.encode("utf-8", "surrogatepass")
            text = texts.TextFile(item.transcript, texts.plain(item.transcript))
            return text, hashlib.sha256(data).hexdigest()
        sha = self._hash(item.text, "text-head", findings)
        if item.text is None or sha is None:
            return None, sha
        parsed, found = read_text(self._root / item.text, self._rules)
        findings += found
        return parsed, sha

    def _media(self, item: Item, hashes: Hashes, findings: list[Finding]) -> Facts:
        if item.video is None or hashes.video is None or (item.audio is not None and hashes.audio is None):
            return Facts(code="undecodable")
        for path in filter(None, (item.video, item.audio)):
            known = stamp(joined(self._root_text, path))
            if known is not None and known.size == 0:
                findings.append(("empty", f"{path} has zero bytes"))
                return Facts(code="undecodable")
        source = Source(self._root / item.video, item.start, item.end, item.crop)
        key = (hashes.video, hashes.audio, item.start, item.end, item.crop)
        facts = self._facts.get(key)
        if facts is None:
            facts = full_facts(source, self._root / item.audio if item.audio is not None else None)
            self._facts.put(key, facts)
        findings += header_findings(facts, self._rules) + decoded_findings(facts)
        return facts


def read_text(path: Path, rules: Rules) -> tuple[texts.TextFile | None, list[Finding]]:
    """The text file of a clip and what is wrong with it."""
    known = stamp(path)
    if known is None:
        return None, [("text-head", "cannot be read")]
    if known.size == 0:
        return None, [("empty", f"{path.name} has zero bytes")]
    if known.size > texts.MAX_BYTES:
        return None, [("text-head", f"{known.size} bytes are no transcript")]
    try:
        data = path.read_bytes()
    except OSError as error:
        return None, [("text-head", f"cannot be read: {error.strerror}")]
    text = texts.parse_lrs(data) if rules.lrs_text else texts.parse_plain(data)
    return text, list(text.problems)


def mark_duplicates(rows: Sequence[ClipRow]) -> list[ClipRow]:
    """Rows with the finding ``duplicate`` where another row, earlier by id, has the same media."""
    first: dict[object, str] = {}
    marked = []
    for row in rows:
        key = (row.sha256, row.cut, row.audio_sha256)
        other = first.setdefault(key, row.clip_id)
        if row.sha256 is not None and other != row.clip_id and row.bytes > 0:
            row = replace(
                row,
                issues=(*row.issues, "duplicate"),
                details=(*row.details, f"same file as {other}"),
                status="bad" if row.status == "bad" else "warn",
            )
        marked.append(row)
    return marked


def _without_duplicate(row: ClipRow, rules: Rules) -> ClipRow:
    """Duplicates are told anew each time: the other clip may be gone."""
    if "duplicate" not in row.issues:
        return row
    pairs = [pair for pair in zip(row.issues, row.details, strict=True) if pair[0] != "duplicate"]
    status = status_of([row_severity(code, row, rules) for code, _ in pairs])
    return replace(row, issues=tuple(c for c, _ in pairs), details=tuple(d for _, d in pairs), status=status)


def _named(row: ClipRow, item: Item) -> ClipRow:
    """``row`` with what the layout says today; what was read from the files stays."""
    names = (item.split, item.video, item.text, item.audio, item.group, item.tag)
    if names == (row.split, row.video_path, row.text_path, row.audio_path, row.group, row.tag):
        return row
    split, video, text, audio, group, tag = names
    return replace(row, split=split, video_path=video, text_path=text, audio_path=audio, group=group, tag=tag)


def _duration(facts: Facts) -> float:
    """Seconds of video; of audio where there is no video."""
    if facts.has_video:
        return facts.n_frames / facts.fps if facts.fps else 0.0
    return facts.n_samples / facts.sample_rate if facts.sample_rate else 0.0


def _float32(value: float) -> float:
    """The nearest float32: what comes back from the Parquet file."""
    import numpy as np

    return float(np.float32(value))


def _speaker(text: texts.TextFile | None) -> str | None:
    """The speaker that a text file's head names; labels of two films are two people."""
    head = text.head if text else {}
    speaker, film = head.get("Speaker"), head.get("Film")
    return (f"{film}/{speaker}" if film else speaker) if speaker else None


def _extra(item: Item, text: texts.TextFile | None) -> str | None:
    known = {"Text", "Conf", "Speaker"}
    extra = {key: value for key, value in (text.head if text else {}).items() if key not in known}
    extra.update(item.extra)
    return json.dumps(extra, ensure_ascii=False, sort_keys=True) if extra else None
