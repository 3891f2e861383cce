"""What was said and understood, and what failed: texts, differences by word, and failures of one row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from bench.api import Protocol
from bench.results.report.collect import View
from bench.results.report.private import clean_text
from bench.store import Store
from bench.store_records import OutputRecord, ScoreRecord

#: A run of equal words, a substitution, a deletion or an insertion: ``("=", words)``, ``("s", said, heard)``, …
Difference = list[tuple[str, ...]]


class Failed(NamedTuple):
    """One clip without a value. ``protocol`` is empty where the system gave no output."""

    protocol: str
    place: int
    kind: str
    detail: str
    attempts: int


@dataclass
class RowTexts:
    """Of one row. ``heard`` and ``words``: by protocol, then by place of the clip; ``said``: transcripts by place."""

    heard: dict[str, dict[int, str]] = field(default_factory=dict)
    words: dict[str, dict[int, Difference]] = field(default_factory=dict)
    said: dict[int, str] = field(default_factory=dict)
    failures: list[Failed] = field(default_factory=list)


def row_texts(store: Store, view: View, place: int, outputs: Mapping[str, OutputRecord]) -> RowTexts:
    """Read the scores of the row at ``place`` that have a text or a failure; ``outputs`` are those of its run."""
    row = view.rows[place]
    found = RowTexts()
    found.failures = [
        Failed("", view.places[clip_id], output.kind, clean_text(output.detail), output.attempts)
        for clip_id, output in sorted(outputs.items())
        if output.status == "failed" and clip_id in view.places
    ]
    protocols = {column.protocol.id: column.protocol for column in view.columns if column.key in row.cells}
    for pid in sorted(protocols):
        if pid.startswith("cer/") and "wer/" + pid.removeprefix("cer/") in protocols:
            continue  # the same recogniser heard the same
        failing = any(cell.n_failed for key, cell in row.cells.items() if key.protocol == pid)
        _read(found, store, view, row.run.id, protocols[pid], failing)
    return found


def _read(found: RowTexts, store: Store, view: View, run_id: str, protocol: Protocol, failing: bool) -> None:
    heard: dict[int, str] = {}
    pairs: dict[int, tuple[str, str]] = {}
    for clip_id, score in store.score_rows(run_id, protocol.id, reference_is_run="cost" in protocol.needs):
        place = view.places[clip_id]
        if score.status == "failed":
            found.failures.append(Failed(protocol.id, place, score.kind, clean_text(score.detail), 1))
        elif score.text:
            _note(found, heard, pairs, place, score)
        elif not failing:
            break  # a protocol that keeps no texts, and none of its clips failed
    if heard:
        found.heard[protocol.id] = heard
    if pairs:
        found.words[protocol.id] = dict(zip(pairs, differences(list(pairs.values())), strict=True))


def _note(
    found: RowTexts, heard: dict[int, str], pairs: dict[int, tuple[str, str]], place: int, score: ScoreRecord
) -> None:
    text = score.text
    if "hypothesis" in text:
        heard[place] = text["hypothesis"]
    if "reference" in text:
        found.said.setdefault(place, text["reference"])
    if text.get("norm_reference", "").split():
        pairs[place] = (text["norm_reference"], text.get("norm_hypothesis", ""))


def differences(pairs: Sequence[tuple[str, str]]) -> list[Difference]:
    """Of (reference, hypothesis), neither reference empty: the steps of the alignment that error rates count."""
    import jiwer

    words = [[text.split() for text in pair] for pair in pairs]
    output = jiwer.process_words([" ".join(said) for said, _ in words], [" ".join(heard) for _, heard in words])
    return [
        [step for chunk in chunks for step in _steps(chunk, said, heard)]
        for (said, heard), chunks in zip(words, output.alignments, strict=True)
    ]


def _steps(chunk: Any, said: list[str], heard: list[str]) -> Difference:
    left = said[chunk.ref_start_idx : chunk.ref_end_idx]
    right = heard[chunk.hyp_start_idx : chunk.hyp_end_idx]
    if chunk.type == "equal":
        return [("=", " ".join(left))]
    if chunk.type == "substitute":
        return [("s", one, other) for one, other in zip(left, right, strict=True)]
    if chunk.type == "delete":
        return [("d", word) for word in left]
    return [("i", "", word) for word in right]
