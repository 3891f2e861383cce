"""Text normalisation and edit counts, against second implementations."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.metrics.edits import char_edits, word_edits
from bench.metrics.text_norm import normalise, normalise_stripped

TEXTS = [
    "Bin blue at F two now.",
    "It's £2.50, i.e. two pounds fifty -- 10% off!",
    "the twenty-first of March nineteen ninety nine",
    "ça va? naïve Straße øre",
    "我们在哪里",
    "нет, спасибо",
    "a\x00b",
    "<b>bold</b> [noise] (aside) word",
    "",
    "\t \n",
]


def distance(ref: list[str], hyp: list[str]) -> int:
    """Levenshtein's recursion, row by row."""
    row = np.arange(len(hyp) + 1)
    for unit in ref:
        best = np.minimum(row[1:] + 1, row[:-1] + [unit != other for other in hyp])
        new = [row[0] + 1]
        for value in best:
            new.append(min(int(value), new[-1] + 1))
        row = np.array(new)
    return int(row[-1])


def test_normaliser_equals_the_package_imported_whole() -> None:
    from whisper.normalizers import EnglishTextNormalizer

    whole = EnglishTextNormalizer()
    assert [normalise(text) for text in TEXTS] == [whole(text) for text in TEXTS]


def test_normalising_loads_neither_torch_nor_numba() -> None:
    code = "import sys; from bench.metrics.text_norm import normalise; print(normalise('two'), *sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    said, *modules = done.stdout.split()
    assert said == "2"
    assert not {"torch", "numba", "whisper"} & set(modules)


words = st.lists(st.sampled_from(["a", "b", "bin", "blue", "at"]), max_size=12)


@settings(max_examples=60, deadline=None)
@given(words.filter(bool), words)
def test_word_edits_are_a_minimum_cost_alignment(ref: list[str], hyp: list[str]) -> None:
    edits = word_edits(" ".join(ref), " ".join(hyp))
    assert edits.total == distance(ref, hyp)
    assert edits.reference == len(ref)
    assert edits.insertions + edits.substitutions + edits.hits == len(hyp)


@settings(max_examples=40, deadline=None)
@given(words.filter(bool), words)
def test_char_edits_count_inner_blanks(ref: list[str], hyp: list[str]) -> None:
    one, two = " ".join(ref), " ".join(hyp)
    edits = char_edits(one, two)
    assert (edits.total, edits.reference) == (distance(list(one), list(two)), len(one))


@pytest.mark.parametrize("text", [t for t in TEXTS if normalise_stripped(t)])
def test_text_against_itself_has_no_edits(text: str) -> None:
    text = normalise_stripped(text)
    assert word_edits(text, text).total == char_edits(text, text).total == 0


def test_empty_hypothesis_is_all_deletions() -> None:
    edits = word_edits("bin blue at", "")
    assert (edits.deletions, edits.total, edits.rate) == (3, 3, 1.0)


@pytest.mark.parametrize("count", [word_edits, char_edits])
def test_empty_reference_is_refused(count: object) -> None:
    with pytest.raises(ValueError, match="no denominator"):
        count(" ", "word")  # type: ignore[operator]


def test_ten_thousand_words_are_counted_exactly() -> None:
    reference = " ".join(f"w{i % 977}" for i in range(10_000))
    hypothesis = " ".join([*reference.split()[1:-1], "extra", "more"])
    edits = word_edits(reference, hypothesis)
    assert (edits.total, edits.reference, edits.hits) == (3, 10_000, 9_998)
