"""Phonemes to mouth states."""

from __future__ import annotations

import itertools
import logging

import numpy as np
import pytest

from bench.datasets.demo import speech
from bench.datasets.demo.sentences import GRAMMAR
from bench.datasets.demo.speakers import SPEAKERS
from bench.datasets.demo.visemes import LEAD_S, PHONEMES, VISEMES, Timed, bare, mouth_states, spans
from bench.espeak import available

GAP, WIDTH = 0, 1


def test_every_class_is_used_and_exists() -> None:
    assert {v for classes in PHONEMES.values() for v in classes} == set(VISEMES)


@pytest.mark.skipif(bool(available()), reason="espeak-ng is not installed")
def test_whole_grammar_has_known_phonemes_and_one_time_per_word() -> None:
    """25 sentences hold every word; every voice of the corpus says some of them."""
    speakers = list(SPEAKERS.values())
    for index in range(25):
        words = [slot[index % len(slot)] for slot in GRAMMAR]
        said = speech.speak(speakers[index % 5].voice, words)
        unknown = {p.name for p in said.phonemes if bare(p.name) not in PHONEMES and p.name != ";"}
        assert not unknown, f"{words}: {unknown}"
        assert [w.name for w in said.words] == words
        edges = [t for w in said.words for t in (w.start, w.end)]
        assert edges == sorted(edges)
        assert edges[0] >= 0 and edges[-1] <= said.duration_s


@pytest.mark.slow
@pytest.mark.skipif(bool(available()), reason="espeak-ng is not installed")
def test_every_pair_of_neighbouring_words_has_known_phonemes() -> None:
    """Words change beside others ("four eight" has a linking r): 250 sentences hold all pairs."""
    pairs = set()
    for letter, digit in itertools.product(range(25), range(10)):
        places = (letter % 4, (letter + digit) % 4, (letter // 4 + digit) % 4, letter, digit, (letter + digit // 4) % 4)
        words = [slot[place] for slot, place in zip(GRAMMAR, places, strict=True)]
        pairs |= set(itertools.pairwise(enumerate(words)))
        said = speech.speak(SPEAKERS["s1"].voice, words)
        assert not {p.name for p in said.phonemes if bare(p.name) not in PHONEMES and p.name != ";"}, words
    assert len(pairs) == 4 * 4 + 4 * 4 + 4 * 25 + 25 * 10 + 10 * 4


@pytest.mark.skipif(bool(available()), reason="espeak-ng is not installed")
def test_the_letter_a_is_read_as_a_letter() -> None:
    said = speech.speak(SPEAKERS["s1"].voice, ("bin", "blue", "at", "a", "two", "now"))
    letter = said.words[3]
    inside = [bare(p.name) for p in said.phonemes if letter.start <= p.start < letter.end]
    assert inside == ["eI"]


def test_silence_is_a_closed_mouth() -> None:
    states = mouth_states([], 10)
    assert states.shape == (10, 6)
    np.testing.assert_allclose(states, np.tile(VISEMES["sil"].state(), (10, 1)))


def test_mouth_leads_the_sound_by_20_ms() -> None:
    """A step to an open vowel at 0.5 s is half done 20 ms before it."""
    states = mouth_states([Timed("a", 0.5, 1.5)], 50)
    vowel, rest = VISEMES["aa"], VISEMES["sil"]
    times = (np.arange(50) + 0.5) / 25
    half = (vowel.gap * vowel.dominance) / (vowel.dominance + rest.dominance)
    crossing = np.interp(half, states[5:20, GAP], times[5:20])
    assert crossing == pytest.approx(0.5 - LEAD_S, abs=0.004)


def test_dominance_closes_a_short_p_between_open_vowels() -> None:
    vowels = [Timed("A:", 0.0, 0.5), Timed("p", 0.5, 0.6), Timed("A:", 0.6, 1.1)]
    weak = [Timed("A:", 0.0, 0.5), Timed("k", 0.5, 0.6), Timed("A:", 0.6, 1.1)]
    assert mouth_states(vowels, 25)[12:15, GAP].min() < 0.06
    assert mouth_states(weak, 25)[12:15, GAP].min() > 0.12


def test_diphthongs_are_two_classes_cut_at_55_per_cent() -> None:
    found = spans([Timed("aI", 1.0, 2.0)])
    assert [(v, s, e) for v, _, s, e in found] == [(VISEMES["aa"], 1.0, 1.55), (VISEMES["ih"], 1.55, 2.0)]


def test_stress_opens_more_and_marks_are_no_part_of_the_name() -> None:
    assert spans([Timed("'V", 0, 1)])[0][:2] == (VISEMES["uh"], 1.1)
    assert VISEMES["uh"].state(1.1)[0] == pytest.approx(0.22)
    assert spans([Timed(",V", 0, 1)])[0][:2] == (VISEMES["uh"], 1.0)
    assert spans([Timed(";", 0, 1)]) == []


def test_unknown_phonemes_become_the_neutral_vowel_and_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        found = spans([Timed("x!", 0, 1)])
    assert found[0][0] is VISEMES["ax"]
    assert "x!" in caplog.text
