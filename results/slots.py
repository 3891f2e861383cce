"""Accuracy per word slot of the demo's sentences, and which letters are heard for which, from stored transcripts.

A sentence is command, colour, preposition, letter, digit, adverb (GRID), and the recogniser of
``wer/pocketsphinx-grid@1`` hears one such sentence or nothing, so that words are compared place by place.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench.api import UsageError, did_you_mean
from bench.metrics.wer import SLOTS
from bench.results import labels
from bench.results.imported import is_imported
from bench.results.letters import KINDS, Confusions, Split, split
from bench.store import Store
from bench.store_records import RunRecord

PROTOCOL = "wer/pocketsphinx-grid@1"
LETTER = "letter"


@dataclass(frozen=True)
class Heard:
    """What was said and heard in the clips of one run.

    Attributes:
        sentences: clips that hold one sentence and were scored.
        unheard: those of them in which no sentence was heard; all of their words count as wrong.
        left_out: requested clips without a score, or of other than one sentence.
        right: words heard right, by slot.
        letters: letter that was said and letter that was heard -> how often, equal ones too.
    """

    sentences: int
    unheard: int
    left_out: int
    right: Mapping[str, int]
    letters: Confusions

    def accuracy(self, slot: str) -> float:
        """Share of a slot's words that were heard right."""
        return self.right[slot] / self.sentences

    @property
    def mean(self) -> float:
        """Share of all words."""
        return sum(self.right.values()) / (self.sentences * len(SLOTS))

    def splits(self) -> list[Split]:
        """Wrong letters inside and between classes, for each kind of class."""
        return [split(kind, self.letters) for kind in KINDS]

    def confused(self) -> list[tuple[str, str, int]]:
        """Said, heard, how often, for wrong letters; most frequent first."""
        wrong = [(said, heard, count) for (said, heard), count in self.letters.items() if said != heard]
        return sorted(wrong, key=lambda found: (-found[2], found[0], found[1]))


@dataclass(frozen=True)
class SlotReport:
    """One run, the name of its row, and what was heard."""

    run: RunRecord
    label: str
    heard: Heard


def chance(slot: str) -> float:
    """Accuracy of a guess among the slot's words."""
    return 1 / len(SLOTS[slot])


def count(sentences: Sequence[tuple[str, str]], left_out: int = 0) -> Heard:
    """Counts over (said, heard) texts; a text of other than one word per slot is no sentence."""
    right = Counter(dict.fromkeys(SLOTS, 0))
    confusions: Counter[tuple[str, str]] = Counter()
    kept = unheard = 0
    for said_text, heard_text in sentences:
        said, heard = said_text.lower().split(), heard_text.lower().split()
        if not _is_sentence(said):
            left_out += 1
            continue
        kept += 1
        if not _is_sentence(heard):
            unheard += 1
            continue
        for slot, one, other in zip(SLOTS, said, heard, strict=True):
            right[slot] += one == other
            if slot == LETTER:
                confusions[one, other] += 1
    return Heard(kept, unheard, left_out, right, confusions)


def _is_sentence(words: Sequence[str]) -> bool:
    return len(words) == len(SLOTS) and all(word in SLOTS[slot] for slot, word in zip(SLOTS, words, strict=True))


def reports(store: Store, names: Sequence[str] = (), **filters: Sequence[str]) -> list[SlotReport]:
    """One report for each run that has transcripts; ``names``: systems or beginnings of run ids, () for all.

    Raises:
        UsageError: an unknown name, or no run with transcripts of one sentence.
    """
    from bench.results.leaderboard import chosen_runs

    runs = chosen_runs(store, **filters)
    if names:
        _check_names(names, runs)
        runs = [run for run in runs if any(_is_named(run, name) for name in names)]
    told = labels.tell_apart(runs)
    found = [SlotReport(run, told[run.id], heard) for run in runs if (heard := heard_in(store, run)).sentences]
    if not found:
        raise UsageError(
            f"no transcript of a demo sentence by {PROTOCOL} among these runs",
            f"`bench run --dataset demo --metrics {PROTOCOL}` makes some.",
        )
    return found


def _is_named(run: RunRecord, name: str) -> bool:
    return run.system == name or run.id.startswith(name)


def _check_names(names: Sequence[str], runs: Sequence[RunRecord]) -> None:
    for name in names:
        if not any(_is_named(run, name) for run in runs):
            known = {run.system for run in runs}
            raise UsageError(f"{name!r} is no system and no run here", did_you_mean(name, known, "bench runs list"))


def heard_in(store: Store, run: RunRecord) -> Heard:
    """What the recogniser heard in the outputs of a run."""
    if PROTOCOL not in store.protocols(run.id) or is_imported(run):  # imported scores have no transcripts
        return count([])
    rows = [record for _, record in store.score_rows(run.id, PROTOCOL) if record.status == "ok"]
    texts = [(record.text["reference"], record.text["hypothesis"]) for record in rows]
    return count(texts, len(store.run_clips(run.id)) - len(rows))
