"""The plan of the corpus: which sentence is where."""

from __future__ import annotations

import itertools
import subprocess
import sys

import pytest

from bench.datasets.demo.sentences import GRAMMAR, WORDS, plan_corpus, sentence, sentence_count, training_clips
from bench.errors import UsageError


def test_grammar_has_64000_sentences_and_51_words() -> None:
    assert sentence_count() == 64_000
    assert len(WORDS) == 51
    assert "w" not in WORDS
    assert sentence(0) == ("bin", "blue", "at", "a", "zero", "again")
    assert sentence(63_999) == tuple(slot[-1] for slot in GRAMMAR)
    assert len({sentence(i) for i in range(64_000)}) == 64_000


def test_default_corpus_has_the_recipes_sizes() -> None:
    plans = plan_corpus()
    assert {split: len(clips) for split, clips in plans.items()} == {
        "train": 240,
        "val": 24,
        "test": 40,
        "test-long": 8,
        "test-unseen": 10,
    }
    assert sum(plan.n_frames for clips in plans.values() for plan in clips) == 24_750
    assert all(len(plan.sentences) == 1 for split in plans for plan in plans[split] if split != "test-long")
    long = plans["test-long"]
    assert [sum(plan.speaker == s for plan in long) for s in ("s1", "s2", "s3", "s4")] == [2, 2, 2, 2]
    assert {plan.n_frames for plan in long} == {150}


def test_no_sentence_is_in_two_clips_nor_the_unseen_speaker_in_two_splits() -> None:
    plans = plan_corpus("large")
    said = [s for clips in plans.values() for plan in clips for s in plan.sentences]
    assert len(said) == len(set(said)) == 960 + 24 + 40 + 16 + 10
    assert {plan.speaker for plan in plans["test-unseen"]} == {"s5"}
    others = {plan.speaker for split in ("train", "val", "test", "test-long") for plan in plans[split]}
    assert others == {"s1", "s2", "s3", "s4"}


def test_a_longer_train_begins_with_the_shorter_one_and_changes_no_other_split() -> None:
    small, large = plan_corpus(10), plan_corpus(1_000)
    for split in ("val", "test", "test-long", "test-unseen"):
        assert small[split] == large[split]
    assert len(small["train"]) == 10
    assert set(small["train"]) <= set(large["train"])


def test_ids_are_sorted_unique_and_name_speaker_and_split() -> None:
    for split, plans in plan_corpus().items():
        ids = [plan.id for plan in plans]
        assert ids == sorted(set(ids))
        assert all(plan.id.startswith(f"{plan.speaker}-{split}-") for plan in plans)


def test_another_seed_gives_other_sentences_and_other_random_numbers() -> None:
    one, other = plan_corpus(seed=0)["test"][0], plan_corpus(seed=1)["test"][0]
    assert one.id == other.id
    assert one.sentences != other.sentences
    assert one.random_seed() != other.random_seed()


def test_random_seed_is_the_hash_of_the_id() -> None:
    import hashlib

    plan = plan_corpus()["val"][0]
    assert plan.random_seed() == int.from_bytes(hashlib.sha256(plan.id.encode()).digest()[:8], "little")


def test_every_word_of_the_grammar_is_used_in_the_default_training_set() -> None:
    said = set(itertools.chain.from_iterable(plan.transcript.split() for plan in plan_corpus()["train"]))
    assert said == set(WORDS)


@pytest.mark.parametrize("size", [0, -1, 63_919, "0", "huge", "larg"])
def test_wrong_sizes_say_what_is_possible(size: str | int) -> None:
    with pytest.raises(UsageError, match="demo corpus") as error:
        training_clips(size)
    assert "1 to" in error.value.hint


def test_the_data_set_is_listed_without_loading_numpy() -> None:
    code = (
        "import sys; from bench.datasets.demo.dataset import Demo; from pathlib import Path; "
        "Demo(None, Path('/nowhere')); sys.exit('numpy' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
