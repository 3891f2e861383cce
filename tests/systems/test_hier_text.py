"""The text front end of HierSpeech++: table, folding, espeak phonemes, pieces of long text."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open

from bench import espeak, espeak_stays
from bench.conformance import Case, run_case
from bench.errors import UsageError
from bench.systems.hierspeech.adapters_front import OPS
from bench.systems.hierspeech.ascii_fold import to_ascii
from bench.systems.hierspeech.sentences import sentences
from bench.systems.hierspeech.symbols import BLANK, SYMBOLS, to_ids, to_phonemes, with_blanks
from bench.systems.hierspeech.text import TextError, clean, phonemes_of, tokens, tokens_of

GOLDEN = Path(__file__).parents[1] / "golden" / "hierspeech"
speaks = pytest.mark.skipif(bool(espeak.available()), reason="espeakng-loader is not installed")


def test_golden_symbols() -> None:
    result = run_case(Case("hierspeech", "symbols", "symbols", GOLDEN / "symbols.safetensors"), OPS["symbols"])
    assert result.passed, result.detail


def test_table() -> None:
    assert len(SYMBOLS) == 178
    assert SYMBOLS[BLANK] == "_"
    assert to_ids("'") == ([176], "")  # the apostrophe stands at 174 too
    assert to_ids("a\u0303b") == ([43, 44], "\u0303")
    assert with_blanks([5, 6]) == [0, 5, 0, 6, 0]
    assert with_blanks([]) == [0]


@given(st.lists(st.sampled_from([i for i in range(178) if i != 174]), max_size=20))
def test_ids_and_phonemes_are_inverse(ids: list[int]) -> None:
    assert to_ids(to_phonemes(ids)) == (ids, "")
    assert with_blanks(ids)[1::2] == ids
    assert set(with_blanks(ids)[::2]) == {0}


@speaks
def test_golden_text_with_espeak() -> None:
    with safe_open(GOLDEN / "text.safetensors", "np") as file:
        header = file.metadata()
        found = tokens_of(json.loads(header["texts"]))
        assert [one.phonemes for one in found] == json.loads(header["phonemes"])
        for i, one in enumerate(found):
            assert list(one.ids) == file.get_tensor(f"out.ids_{i}").tolist()
            assert list(one.tokens) == file.get_tensor(f"out.tokens_{i}").tolist()
            assert one.dropped == ""
            assert one.espeak.startswith("1.")


def test_golden_ids_of_recorded_phonemes() -> None:
    with safe_open(GOLDEN / "text.safetensors", "np") as file:
        for i, string in enumerate(json.loads(file.metadata()["phonemes"])):
            ids, unknown = to_ids(string)
            assert (ids, unknown) == (file.get_tensor(f"out.ids_{i}").tolist(), "")
            assert with_blanks(ids) == file.get_tensor(f"out.tokens_{i}").tolist()


@pytest.mark.parametrize(
    ("text", "ascii_text"),
    [
        ("café naïve — résumé", "cafe naive -- resume"),
        ("“Straße” ½ €5…", '"Strasse"  1/2 EUR5...'),
        ("Łódź Þór ʼn", "Lodz Thor n"),
        ("Ðøđıĸ œuvre", "Dodik oeuvre"),
        ("漢字 привет", " "),
        ("a\0b\tc", "a b\tc"),
    ],
)
def test_fold(text: str, ascii_text: str) -> None:
    assert to_ascii(text) == ascii_text


def test_fold_equals_unidecode_on_latin() -> None:
    unidecode = pytest.importorskip("unidecode", reason="Unidecode is not installed")
    for code in [*range(0x20, 0x7F), *range(0xA0, 0x180), *range(0x2010, 0x2017), *range(0x2018, 0x2023)]:
        assert to_ascii(chr(code)) == unidecode.unidecode(chr(code)), hex(code)


@given(st.text(max_size=60))
def test_fold_gives_ascii_that_espeak_can_read(text: str) -> None:
    folded = to_ascii(text)
    assert folded.isascii()
    assert all(c.isprintable() or c.isspace() for c in folded)


def test_abbreviations_want_a_whole_word_and_a_stop() -> None:
    assert clean("Mr. Mrs. DR. drs. st.") == "mister misess doctor doctors saint"
    assert clean("best. mr ammr. 3rd.") == "best. mr ammr. 3rd."


@speaks
def test_punctuation_is_put_back_as_it_stood() -> None:
    found, _ = phonemes_of(["... wait -- , what ?! ", "?!", "a\n\nb", " \n "])
    assert found[0].startswith("... w")
    assert found[0].endswith(" ?! ")
    assert ", w" in found[0]
    assert found[1:] == ["?!", "ˈeɪ bˈiː", ""]


@speaks
def test_texts_do_not_depend_on_each_other() -> None:
    together = tokens_of(["one two", "it's $3.50", "one two"])
    assert together[0] == together[2] == tokens("one two")
    assert together[1] == tokens("it's $3.50")


@speaks
def test_phonemes_of_espeak_alone() -> None:
    found = espeak.phonemise(["hello world", "", "one. two"])
    assert found.clauses == (("h_ə_l_ˈoʊ w_ˈɜː_l_d",), (), ("w_ˈʌ_n t_ˈuː",))
    with pytest.raises(espeak.SpeechError, match=r"U\+0000"):
        espeak.phonemise(["a\0b"])
    with pytest.raises(espeak.SpeechError, match="no voice"):
        espeak.phonemise(["a"], "no-such-language")


@speaks
def test_the_process_that_stays_is_started_again_when_it_dies() -> None:
    first = espeak.phonemise(["hello"])
    child = espeak_stays._running[os.getpid()]
    child.kill()
    child.wait()
    assert espeak.phonemise(["hello"]) == first
    assert espeak_stays._running[os.getpid()].pid != child.pid


@speaks
def test_a_text_that_the_staying_process_does_not_answer_goes_to_one_of_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first = espeak.phonemise(["hello"])
    child = espeak_stays._running[os.getpid()]
    monkeypatch.setattr(espeak_stays, "_asked", lambda child, request, timeout_s: b"")
    assert espeak.phonemise(["hello"]) == first
    assert child.poll() is not None
    assert os.getpid() not in espeak_stays._running


@speaks
def test_what_the_table_lacks_is_dropped_and_recorded() -> None:
    found = tokens("a croissant")  # espeak writes a nasal vowel with U+0303
    assert found.dropped == "\u0303"
    assert "\u0303" in found.phonemes
    assert len(found.tokens) == 2 * len(found.ids) + 1


@speaks
@pytest.mark.parametrize("text", ["", "   ", "\n\n", "[]{}", "—", "漢字"])
def test_nothing_to_speak_is_an_error(text: str) -> None:
    with pytest.raises(TextError):
        tokens(text)


@speaks
def test_official_representation_adds_quotes_around_apostrophes() -> None:
    assert tokens("hello", official_list_repr=True).ids == tokens("hello").ids
    plain = tokens("it's").phonemes
    assert tokens("it's", official_list_repr=True).phonemes == f'"{plain}"'


@speaks
def test_long_text() -> None:
    found = tokens("word " * 1000)
    assert found.phonemes.split() == ["wˈɜːd"] * 1000


@speaks
@settings(max_examples=12, deadline=None)
@given(st.text(max_size=40))
def test_any_text_gives_tokens_or_a_typed_error(text: str) -> None:
    try:
        found = tokens(text)
    except TextError:
        return
    assert 0 < len(found.ids) <= len(found.phonemes)


def test_sentences() -> None:
    assert sentences("Dr. Who came. He left! Why?  No one knows…") == [
        "Dr. Who came.",
        "He left!",
        "Why?",
        "No one knows…",
    ]
    assert sentences('He said "stop!" Then J. Smith left') == ['He said "stop!"', "Then J. Smith left"]
    assert sentences("... ?! \n\n --") == []
    with pytest.raises(UsageError):
        sentences("a", 0)


@given(st.text(alphabet="ab ,.;!?\n—'", max_size=200), st.integers(1, 40))
def test_sentences_lose_nothing_and_keep_their_limit(text: str, longest: int) -> None:
    found = sentences(text, longest)
    assert all(len(piece) <= longest for piece in found)
    kept = "".join("".join(found).split())
    assert [c for c in kept if c.isalnum()] == [c for c in text if c.isalnum()]
