"""Text as the backbone reads it: the chat of the official model (2.3), or characters (14.3).

Both give the ids in front of the first patch: the index of the first placeholder is their number, and the
placeholders themselves are never embedded at inference.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from bench.errors import DataError
from bench.systems.hierspeech.sentences import sentences
from bench.systems.talker.numerals import spelled_out

PADDING, START, END = 0, 1, 2
_FIRST_CHARACTER = 3
CHARACTERS = "abcdefghijklmnopqrstuvwxyz '"
ROWS = 64  # of the embedding; those beyond the characters are reserve
_IDS = {character: _FIRST_CHARACTER + place for place, character in enumerate(CHARACTERS)}
#: Takes the place of START before a clip that is not trimmed to its speech, so that silence may come first.
WHOLE = _FIRST_CHARACTER + len(CHARACTERS)
#: Take its place where no text is given and one stream, known to its end, runs ahead of the other one.
MOUTH, SOUND = WHOLE + 1, WHOLE + 2
_APOSTROPHES = str.maketrans({"\u2019": "'", "\u2018": "'", "\u02bc": "'"})

#: The chat of the Qwen3 template: before and after the user's text, up to the first placeholder.
CHAT = ("<|im_start|>user\n", "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n")


class TextTable(Protocol):
    """Text to ids."""

    def ids(self, text: str) -> list[int]:
        """The ids before the first patch; those of "" where nothing is to be said."""

    def whole_ids(self, text: str) -> list[int]:
        """The same before a clip with whatever silence there is, where that makes a difference."""

    def driven_ids(self, by_mouth: bool) -> list[int]:
        """The ids before speech to a given mouth, or a face to given speech, without any text."""

    def written(self, text: str) -> str:
        """``text`` about as long as what is read of it: with numbers in words, where they are read so."""

    def speakable(self, text: str) -> str:
        """What of ``text`` the table can express; "" if nothing."""


class Characters:
    """The tiny configuration: start, one id a character, end."""

    def ids(self, text: str) -> list[int]:
        """See :meth:`TextTable.ids`."""
        return [START, *(_IDS[character] for character in self.speakable(text)), END]

    def whole_ids(self, text: str) -> list[int]:
        """See :meth:`TextTable.whole_ids`."""
        return for_whole_clip(self.ids(text))

    def driven_ids(self, by_mouth: bool) -> list[int]:
        """See :meth:`TextTable.driven_ids`."""
        return [MOUTH if by_mouth else SOUND, END]

    def written(self, text: str) -> str:
        """See :meth:`TextTable.written`."""
        return spelled_out(text)

    def speakable(self, text: str) -> str:
        """Lower case, numbers in words, accents and foreign scripts left out, punctuation as blanks."""
        plain = unicodedata.normalize("NFKD", spelled_out(text.translate(_APOSTROPHES))).lower()
        bare = "".join(c for c in plain if not unicodedata.combining(c))
        kept = "".join(c if c in _IDS else "" if c.isalnum() else " " for c in bare)
        return " ".join(kept.split()) if any(c.isalpha() for c in kept) else ""


def for_whole_clip(ids: Sequence[int]) -> list[int]:
    """Ids of :class:`Characters` for a clip with whatever silence there is; without this, speech begins at once."""
    return [WHOLE, *ids[1:]]


class Chat:
    """The official tokenizer and chat: ``tokenizer.json`` of the checkpoint's folder."""

    def __init__(self, path: Path) -> None:
        """Raises :class:`DataError` where the file is none, or lacks the chat's special tokens."""
        from tokenizers import Tokenizer

        try:
            self._tokenizer = Tokenizer.from_file(str(path))
        except Exception as error:  # tokenizers raises bare exceptions
            raise DataError(f"{path} is no tokenizer: {error}", "take tokenizer.json of the checkpoint.") from error
        marks = ("<|im_start|>", "<|im_end|>", "<think>", "</think>")
        absent = [mark for mark in marks if self._tokenizer.token_to_id(mark) is None]
        if absent:
            raise DataError(f"{path} does not know {', '.join(absent)}", "it must be the tokenizer of Qwen3.")

    def ids(self, text: str) -> list[int]:
        """See :meth:`TextTable.ids`. Marks of the chat that stand in ``text`` are text."""
        before, after = CHAT
        parts = [(before, True), (self.speakable(text), False), (after, True)]
        return [number for part, is_markup in parts for number in self._encoded(part, is_markup)]

    def whole_ids(self, text: str) -> list[int]:
        """See :meth:`TextTable.whole_ids`: the official model has no such mark."""
        return self.ids(text)

    def driven_ids(self, by_mouth: bool) -> list[int]:
        """See :meth:`TextTable.driven_ids`: nor such marks."""
        return self.ids("")

    def written(self, text: str) -> str:
        """See :meth:`TextTable.written`: the tokenizer reads digits."""
        return text

    def speakable(self, text: str) -> str:
        """``text`` without control characters and lone surrogates; "" where no letter or digit is in it."""
        kept = "".join(c if c == "\n" or not unicodedata.category(c).startswith("C") else " " for c in text).strip()
        return kept if any(c.isalnum() for c in kept) else ""

    def _encoded(self, part: str, is_markup: bool) -> Sequence[int]:
        found: list[int] = self._tokenizer.encode(part if is_markup else _unmarked(part), add_special_tokens=False).ids
        return found


def _unmarked(text: str) -> str:
    """A user cannot end the chat: ``<|`` in a text is no mark."""
    return text.replace("<|", "< |").replace("<think>", "< think>").replace("</think>", "< /think>")


def pieces(text: str, table: TextTable, longest: int) -> list[str]:
    """``text`` in pieces of at most ``longest`` characters that ``table`` can express; none where there is nothing.

    Cuts are made at ends of sentences; a longer sentence becomes parts of about equal length, cut at clauses or blanks.
    Numbers are as long as the words for them, where the table reads them so.
    """
    if not table.speakable(text):
        return []
    text = table.written(text)
    if len(text) <= longest:
        return [text]
    found = [part for sentence in sentences(text, len(text)) for part in _evenly(sentence, longest)]
    return [part for part in found if table.speakable(part)]


def _evenly(sentence: str, longest: int) -> list[str]:
    """As few parts as ``longest`` allows, the longest of them as short as possible."""
    best = sentences(sentence, longest)
    for limit in range(-(-len(sentence) // max(1, len(best))), longest):
        parts = sentences(sentence, limit)
        if len(parts) <= len(best):
            return parts
    return best
