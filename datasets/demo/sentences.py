"""Sentences of the GRID grammar and the plan of the corpus: which clip says what, in which split.

Every sentence is used once in the whole corpus: one generator shuffles all 64,000 and the splits
are dealt from that one list, so that no sentence of one split occurs in another. ``train`` is dealt
last, so that its size changes no other split, and a longer ``train`` begins with the shorter one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from bench.errors import UsageError, did_you_mean
from bench.records import FPS

COMMANDS = ("bin", "lay", "place", "set")
COLOURS = ("blue", "green", "red", "white")
PREPOSITIONS = ("at", "by", "in", "with")
LETTERS = tuple("abcdefghijklmnopqrstuvxyz")  # 25: without w, whose name is three syllables long
DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
ADVERBS = ("again", "now", "please", "soon")
#: The six slots of a sentence in order.
GRAMMAR: tuple[tuple[str, ...], ...] = (COMMANDS, COLOURS, PREPOSITIONS, LETTERS, DIGITS, ADVERBS)
WORDS = tuple(sorted({word for slot in GRAMMAR for word in slot}))

Sentence = tuple[str, ...]

SPLITS = ("train", "val", "test", "test-long", "test-unseen")
SPEAKERS = ("s1", "s2", "s3", "s4")  # of all splits but the unseen one
UNSEEN_SPEAKERS = ("s5",)
#: Clips per speaker in each split; ``train`` is :data:`SIZES`.
PER_SPEAKER: Mapping[str, int] = {"val": 6, "test": 10, "test-long": 2, "test-unseen": 10}
SIZES: Mapping[str, int] = {"default": 60, "large": 240}  # training clips per speaker
#: Clips of two sentences, for protocols that need more than 100 frames. A split of their own: the sentence
#: grammar of ``wer/pocketsphinx-grid@1`` hears one sentence, so they would add 0.17 to every system's WER.
LONG_SPLIT = "test-long"
FRAMES = 75  # 3.00 s, as in GRID
LONG_FRAMES = 150


@dataclass(frozen=True, slots=True)
class ClipPlan:
    """One clip before it is made: all that its content depends on, beside the recipe."""

    id: str
    split: str
    speaker: str
    sentences: tuple[Sentence, ...]
    n_frames: int
    seed: int

    @property
    def transcript(self) -> str:
        """The words in lower case, separated by single spaces."""
        return " ".join(word for sentence in self.sentences for word in sentence)

    @property
    def duration_s(self) -> float:
        """Seconds of the clip."""
        return self.n_frames / FPS

    @property
    def folder(self) -> str:
        """The folder of the clip's files, relative to the corpus, with ``/``."""
        return f"{self.split}/{self.speaker}"

    def random_seed(self) -> int:
        """Seed of every random number of the clip: the first 8 bytes, little endian, of SHA-256(id).

        A corpus seed other than 0 goes before the id, so that it gives other clips.
        """
        key = self.id if self.seed == 0 else f"{self.seed}:{self.id}"
        return int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "little")


def sentence(index: int) -> Sentence:
    """Sentence ``index`` of the grammar, the last slot varying fastest (0 … 63,999)."""
    words: list[str] = []
    for slot in reversed(GRAMMAR):
        index, word = divmod(index, len(slot))
        words.append(slot[word])
    return tuple(reversed(words))


def sentence_count() -> int:
    """How many sentences the grammar has: 4·4·4·25·10·4 = 64,000."""
    count = 1
    for slot in GRAMMAR:
        count *= len(slot)
    return count


def training_clips(size: str | int) -> int:
    """Training clips of a ``--size``: ``default``, ``large`` or a number (all speakers together)."""
    limit = sentence_count() - len(SPEAKERS) * 20 - 10
    if isinstance(size, str) and size.isdecimal():
        size = int(size)
    if isinstance(size, int):
        if not 1 <= size <= limit:
            raise UsageError(f"demo corpus: size {size} is out of range", f"1 to {limit} training clips")
        return size
    if size not in SIZES:
        hint = f"{did_you_mean(size, SIZES)} Or a number of training clips, 1 to {limit}."
        raise UsageError(f"demo corpus: no size named {size!r}", hint)
    return SIZES[size] * len(SPEAKERS)


def plan_corpus(size: str | int = "default", seed: int = 0) -> dict[str, list[ClipPlan]]:
    """All clips by split, sorted by id.

    The numbers of a speaker's clips begin at 1. Clip n of speaker k is dealt as number n·speakers + k
    of its split, whatever the split's size.
    """
    import numpy as np

    deal = iter(np.random.default_rng(seed).permutation(sentence_count()).tolist())
    plans: dict[str, list[ClipPlan]] = {split: [] for split in SPLITS}
    for split in ("test", "test-unseen", "val", LONG_SPLIT, "train"):
        speakers = UNSEEN_SPEAKERS if split == "test-unseen" else SPEAKERS
        total = training_clips(size) if split == "train" else PER_SPEAKER[split] * len(speakers)
        for index in range(total):
            number, who = divmod(index, len(speakers))
            long = split == LONG_SPLIT
            sentences = tuple(sentence(next(deal)) for _ in range(2 if long else 1))
            plans[split].append(
                ClipPlan(
                    id=f"{speakers[who]}-{split}-{number + 1:04d}",
                    split=split,
                    speaker=speakers[who],
                    sentences=sentences,
                    n_frames=LONG_FRAMES if long else FRAMES,
                    seed=seed,
                )
            )
        plans[split].sort(key=lambda plan: plan.id.encode())
    return plans
