"""Speech of espeak-ng with the times of its phonemes and words; phonemes of texts without speech.

The library (GPL-3) is the one that the package ``espeakng-loader`` bundles; it is loaded at run
time, in a process of its own per utterance (:mod:`bench.espeak_child` says why). So equal input
gives equal samples, in any order, from any number of threads or processes at once.
"""

from __future__ import annotations

import json
import re
import subprocess
import unicodedata
from bisect import bisect_right
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from bench import espeak_stays
from bench.errors import DataError, UsageError, did_you_mean
from bench.records import Audio

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

LANGUAGE = "gmw/en-US"
PITCH_RANGE = (0, 99)  # espeak's own scale; 50 is the voice's natural pitch
RATE_RANGE = (80, 450)  # words per minute
MAX_CHARACTERS = 4_000  # of one text: about five minutes of speech
MAX_SECONDS = 600.0
PAUSES = frozenset({"_", "_:"})  # phonemes that are none
_TIMEOUT_S = 120.0
_WORD, _PHONEME = 1, 7
_INSTALL = "install the extra: pip install 'bench-avgen[demo]' (it brings espeakng-loader)."


class SpeechError(DataError):
    """A text that cannot be spoken, or a failure of the synthesiser."""


@dataclass(frozen=True, slots=True)
class Phoneme:
    """``name`` as espeak writes it (with stress marks); seconds from the beginning of the sound."""

    name: str
    start_s: float
    end_s: float


@dataclass(frozen=True, slots=True)
class Word:
    """``text`` at character ``position`` (from 0) of the spoken text; seconds from the beginning."""

    text: str
    position: int
    start_s: float
    end_s: float


@dataclass(frozen=True, slots=True)
class Speech:
    """``audio`` (22,050 Hz), and when each phoneme and word is spoken, in order, without gaps.

    Pauses are phonemes too (:data:`PAUSES`). A phoneme lasts until the next one, the last until the end of the
    sound; the last word ends with its last phoneme that is no pause.
    """

    audio: Audio
    phonemes: tuple[Phoneme, ...]
    words: tuple[Word, ...]


def available() -> list[str]:
    """What keeps espeak-ng from speaking here, with the remedy; empty: nothing."""
    if find_spec("espeakng_loader") is None:
        return [f"espeak-ng (package espeakng-loader) is not installed: {_INSTALL}"]
    return []


def variants() -> list[str]:
    """The names of the bundled voice variants (``f2``, ``m1``, ``Diogo`` …), sorted."""
    return sorted(path.name for path in (library()[1] / "voices" / "!v").iterdir() if path.is_file())


def check_text(text: str) -> str:
    """``text`` with its white space collapsed, fit to be spoken by an English voice.

    Raises:
        SpeechError: it has nothing to speak, control characters (NUL), letters of another script
            (espeak would read out their Unicode names), or more than ``MAX_CHARACTERS``.
    """
    if len(text) > MAX_CHARACTERS:
        raise SpeechError(f"text of {len(text)} characters; at most {MAX_CHARACTERS}", "split it into sentences.")
    spoken = " ".join(text.split())
    bad = next((c for c in spoken if unicodedata.category(c) in {"Cc", "Cs", "Cn", "Co"}), None)
    if bad is not None:
        raise SpeechError(f"text with the character U+{ord(bad):04X}", "remove control characters.")
    if not any(c.isalnum() for c in spoken):
        raise SpeechError("text without a letter or digit", "there is nothing to speak.")
    alien = next((c for c in spoken if c.isalpha() and not _is_latin(c)), None)
    if alien is not None:
        name = unicodedata.name(alien, f"U+{ord(alien):04X}")
        raise SpeechError(f"text in another script ({name})", "the English voices speak Latin letters alone.")
    return spoken


def _is_latin(character: str) -> bool:
    # compatibility forms (ligatures, full width) count as what they stand for; ª and º are Latin too
    decomposed = unicodedata.normalize("NFKD", character)
    return all(unicodedata.name(c, "").startswith(("LATIN", "MODIFIER LETTER")) for c in decomposed if c.isalpha())


class Synthesiser:
    """One voice: ``voice`` a variant of American English (``""``: the plain voice), ``pitch`` 0 to 99,
    ``rate`` 80 to 450 words per minute.

    It holds no state of the library: it may be shared by threads and sent to other processes.

    Raises:
        UsageError: espeakng-loader is absent, the voice is unknown, or a number out of range.
    """

    def __init__(self, voice: str = "", pitch: int = 50, rate: int = 175) -> None:
        _in_range("pitch", pitch, PITCH_RANGE)
        _in_range("rate", rate, RATE_RANGE)
        # espeak accepts an unknown variant and speaks the plain voice: so the name is checked here
        if voice and voice not in variants():
            raise UsageError(f"espeak-ng has no voice variant {voice!r}", did_you_mean(voice, variants()))
        self.voice, self.pitch, self.rate = voice, pitch, rate

    def speak(self, text: str) -> Speech:
        """``text`` as speech.

        Raises:
            SpeechError: see :func:`check_text`; or the library failed.
        """
        import numpy as np

        spoken = check_text(text)
        head, sound = self._run(spoken)
        rate = int(head["rate"])
        samples = (np.frombuffer(sound, np.int16) / np.float32(32768)).astype(np.float32)
        seconds = len(samples) / rate
        phonemes = _phonemes(head["events"], rate, seconds)
        return Speech(Audio(samples, rate), phonemes, _words(head["events"], rate, spoken, phonemes))

    def _run(self, text: str) -> tuple[dict[str, Any], bytes]:
        return _ask(
            {
                "voice": f"{LANGUAGE}+{self.voice}" if self.voice else LANGUAGE,
                "pitch": self.pitch,
                "rate": self.rate,
                "text": text,
                "max_samples": int(MAX_SECONDS * 22_050),
            }
        )


@dataclass(frozen=True, slots=True)
class Phonemes:
    """``clauses[i]`` are espeak's clauses of text i in IPA, ``_`` between phonemes; ``version`` is espeak's."""

    clauses: tuple[tuple[str, ...], ...]
    version: str


def phonemise(texts: Sequence[str], language: str = LANGUAGE) -> Phonemes:
    """Phonemes of ``texts`` in the voice ``language``, all in one process, which stays; no limit of characters.

    Raises:
        UsageError: espeakng-loader is absent.
        SpeechError: a text has NUL, or the library failed.
    """
    if any("\0" in text for text in texts):
        raise SpeechError("text with the character U+0000", "remove control characters.")
    task = {"voice": language, "phonemes": list(texts)}
    line = espeak_stays.answer(_told(task), _TIMEOUT_S)
    head = _checked(line) if line else _ask(task)[0]  # a process of its own, where the other one died of it
    return Phonemes(tuple(tuple(parts) for parts in head["phonemes"]), str(head["version"]))


def _ask(task: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
    """The child's answer to ``task``. Raises :class:`SpeechError` where it has none."""
    try:
        done = subprocess.run(
            espeak_stays.CHILD,
            input=_told(task),
            capture_output=True,
            timeout=_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise SpeechError(f"espeak-ng did not finish in {_TIMEOUT_S:.0f} s", "shorten the text.") from error
    line, _, sound = done.stdout.partition(b"\n")
    if done.returncode != 0 or not line:
        last = done.stderr.decode("utf-8", "replace").strip().rsplit("\n", 1)[-1]
        raise SpeechError(f"espeak-ng ended with status {done.returncode}: {last}", "reinstall espeakng-loader.")
    return _checked(line), sound


def _told(task: dict[str, Any]) -> bytes:
    file, data = library()
    return json.dumps({"library": str(file), "data": str(data), **task}).encode()


def _checked(line: bytes) -> dict[str, Any]:
    head: dict[str, Any] = json.loads(line)
    if "error" in head:
        raise SpeechError(f"espeak-ng: {head['error']}", "check the voice and the text.")
    return head


def _in_range(name: str, value: int, limits: tuple[int, int]) -> None:
    if not limits[0] <= value <= limits[1]:
        raise UsageError(f"{name} = {value}", f"possible: {limits[0]} to {limits[1]}.")


def library() -> tuple[Path, Path]:
    """The shared library and its data folder. Raises :class:`UsageError` where espeakng-loader is absent."""
    if available():
        raise UsageError("espeak-ng (package espeakng-loader) is not installed", _INSTALL)
    import espeakng_loader

    return Path(espeakng_loader.get_library_path()), Path(espeakng_loader.get_data_path())


def _phonemes(events: Sequence[Sequence[Any]], rate: int, seconds: float) -> tuple[Phoneme, ...]:
    found = [(str(name), sample / rate) for kind, _, _, sample, name in events if kind == _PHONEME]
    ends = [start for _, start in found[1:]] + [seconds]
    return tuple(Phoneme(name, start, end) for (name, start), end in zip(found, ends, strict=True))


def _words(events: Sequence[Sequence[Any]], rate: int, text: str, phonemes: Sequence[Phoneme]) -> tuple[Word, ...]:
    """The white-space separated words of ``text`` that have a letter or digit, by espeak's events.

    espeak counts characters from 1 and gives one event per part of a word ("it's", "3:45", letters
    that it reads out): the first event of a word counts.
    """
    tokens = [(m.start(), m.end()) for m in re.finditer(r"\S+", text)]
    begins = [start for start, _ in tokens]
    starts: dict[int, float] = {}
    for kind, position, _, sample, _ in events:
        token = bisect_right(begins, position - 1) - 1
        if kind == _WORD and token >= 0 and token > max(starts, default=-1):
            starts[token] = sample / rate
    last = max((p.end_s for p in phonemes if p.name not in PAUSES), default=0.0)
    ends = [*list(starts.values())[1:], last]
    return tuple(
        Word(text[slice(*tokens[token])], tokens[token][0], start, max(start, end))
        for (token, start), end in zip(starts.items(), ends, strict=True)
    )
