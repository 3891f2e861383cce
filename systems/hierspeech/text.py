"""The text front end: text to phonemes (espeak-ng), ids and blank-inserted tokens.

Facts: specs/hierspeech.md, section 2 (``sh-lee-prml/HierSpeechpp: ttv_v1/text/cleaners.py``; the punctuation rules
are those of phonemizer 3.2.1: newer versions give other ids). Where the official code raises (a character
outside the table, a language switch of espeak), the character or flag is dropped and recorded.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from bench.errors import DataError
from bench.espeak import LANGUAGE, phonemise
from bench.systems.hierspeech.ascii_fold import to_ascii
from bench.systems.hierspeech.symbols import PUNCTUATION, to_ids, with_blanks

VOICES = {"en-us": LANGUAGE}  # language code -> espeak's identifier of its first voice

_ABBREVIATIONS = tuple(
    (re.compile(rf"\b{short}\.", re.IGNORECASE), full)
    for short, full in (
        ("mrs", "misess"),
        ("mr", "mister"),
        ("dr", "doctor"),
        ("st", "saint"),
        ("co", "company"),
        ("jr", "junior"),
        ("maj", "major"),
        ("gen", "general"),
        ("drs", "doctors"),
        ("rev", "reverend"),
        ("lt", "lieutenant"),
        ("hon", "honorable"),
        ("sgt", "sergeant"),
        ("capt", "captain"),
        ("esq", "esquire"),
        ("ltd", "limited"),
        ("col", "colonel"),
        ("ft", "fort"),
    )
)
_MARKS = re.compile(rf"((?:\s*[{re.escape(PUNCTUATION)}]+\s*)+)")
_LANGUAGE_FLAG = re.compile(r"\([a-z][a-z0-9-]*\)")


class TextError(DataError):
    """A text of which nothing is left to speak."""


@dataclass(frozen=True, slots=True)
class Tokens:
    """A text ready for the text encoder.

    ``phonemes`` as espeak and the punctuation rules give them; ``ids`` their table positions; ``tokens`` the ids
    with blanks (2n + 1); ``dropped`` what the table lacks (characters, language flags); ``espeak`` its version.
    """

    text: str
    phonemes: str
    ids: tuple[int, ...]
    tokens: tuple[int, ...]
    dropped: str
    espeak: str


def tokens(text: str, voice: str = "en-us", *, official_list_repr: bool = False) -> Tokens:
    """:func:`tokens_of` one text."""
    return tokens_of([text], voice, official_list_repr=official_list_repr)[0]


def tokens_of(texts: Sequence[str], voice: str = "en-us", *, official_list_repr: bool = False) -> list[Tokens]:
    """Tokens of ``texts``, with one call of espeak for all.

    ``official_list_repr``: put brackets and quotes around the text as the official script does (it reads its file as a
    list of stripped lines and passes the list's representation on); only to reproduce published numbers.

    Raises:
        TextError: nothing is left of a text.
        UsageError: espeakng-loader is absent.
    """
    given = [_list_repr(text) if official_list_repr else text for text in texts]
    phonemes, version = phonemes_of([clean(text) for text in given], voice)
    return [_tokens(text, string, version) for text, string in zip(texts, phonemes, strict=True)]


def _tokens(text: str, phonemes: str, version: str) -> Tokens:
    flags = "".join(_LANGUAGE_FLAG.findall(phonemes))
    string = collapse(_LANGUAGE_FLAG.sub("", phonemes))
    ids, unknown = to_ids(string)
    if not string.strip() or not ids:
        raise TextError(f"text {text[:40]!r} has nothing to speak", "give letters or digits.")
    return Tokens(text, string, tuple(ids), tuple(with_blanks(ids)), flags + unknown, version)


def _list_repr(text: str) -> str:
    return str([line.strip() for line in text.splitlines()])


def clean(text: str) -> str:
    """``text`` in lower-case ASCII with its abbreviations written out; numbers stay as they are."""
    cleaned = to_ascii(text).lower()
    for pattern, full in _ABBREVIATIONS:
        cleaned = pattern.sub(full, cleaned)
    return cleaned


def collapse(text: str) -> str:
    """``text`` with every run of white space as one blank, without trimming."""
    return re.sub(r"\s+", " ", text)


def phonemes_of(texts: Sequence[str], voice: str = "en-us") -> tuple[list[str], str]:
    """The phoneme strings of cleaned ``texts``, punctuation kept, and espeak's version.

    A text is cut at every run of marks (with the white space around them); the parts between are
    read by espeak one by one, and the runs put back as they are. Lines are read on their own; empty ones vanish.
    """
    lines = [[_MARKS.split(line) for line in text.splitlines() if line.strip()] for text in texts]
    # split() alternates: texts at even places, runs of marks at odd ones
    chunks = [part for text in lines for line in text for part in line[::2] if part]
    heard = phonemise(chunks, VOICES.get(voice, voice))
    spoken = iter([_words(clauses) for clauses in heard.clauses])
    strings = []
    for text in lines:
        for line in text:
            line[::2] = [next(spoken) if part else "" for part in line[::2]]
        strings.append(collapse("\n".join(_joined(line) for line in text)))
    return strings, heard.version


def _words(clauses: Sequence[str]) -> str:
    """espeak's clauses as one string of words."""
    line = " ".join(clauses).strip().replace("\n", " ").replace("  ", " ")
    line = re.sub(r"_+", "_", line).replace("_ ", " ")
    return " ".join(word.strip().replace("_", "") for word in line.split(" "))


def _joined(parts: Sequence[str]) -> str:
    """Phonemes and runs of marks in turn; a run takes the place of a blank at the end of what stands before it."""
    string = parts[0]
    for run, phonemes in zip(parts[1::2], parts[2::2], strict=True):
        string = string.removesuffix(" ") + run + phonemes
    return string
