"""The symbol table of HierSpeech++: 178 characters of phoneme strings, and their ids.

Facts: specs/hierspeech.md, section 2 (``sh-lee-prml/HierSpeechpp: ttv_v1/text/symbols.py``). The apostrophe stands
twice; the table is read in order, so that it maps to the later id and the earlier one is never produced.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

BLANK = 0  # also the id of padding
_PAD = "_"
PUNCTUATION = ';:,.!?¡¿—…"«»“”'
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_IPA = (
    "ɑɐɒæɓʙβɔɕçɗɖðʤəɘɚɛɜɝɞɟʄɡɠɢʛɦɧħɥʜɨɪʝɭɬɫɮʟɱɯɰŋɳɲɴøɵɸθœɶʘɹɺɾɻʀʁɽʂʃʈʧʉʊʋⱱʌɣɤʍχʎʏʑʐʒʔʡʕʢǀǁǂǃˈˌːˑʼʴʰʱʲʷˠˤ˞↓↑→↗↘'\u0329'ᵻ"
)
SYMBOLS: tuple[str, ...] = (_PAD, *PUNCTUATION, " ", *_LETTERS, *_IPA)

_IDS = {symbol: index for index, symbol in enumerate(SYMBOLS)}
_Item = TypeVar("_Item")


def to_ids(phonemes: str) -> tuple[list[int], str]:
    """The ids of ``phonemes`` without blanks, and the characters outside the table, which are left out.

    The official code raises for those; texts that it accepts give its ids.
    """
    known = [c for c in phonemes if c in _IDS]
    return [_IDS[c] for c in known], "".join(c for c in phonemes if c not in _IDS)


def to_phonemes(ids: Sequence[int]) -> str:
    """The characters of ``ids``. Raises :class:`IndexError` for an id outside the table."""
    return "".join(SYMBOLS[index] for index in ids)


def with_blanks(ids: Sequence[int]) -> list[int]:
    """``ids`` with the blank before, between and after: n become 2n + 1."""
    result = [BLANK] * (2 * len(ids) + 1)
    result[1::2] = ids
    return result
