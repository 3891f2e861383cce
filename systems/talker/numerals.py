"""Whole numbers in words, for text that is read letter by letter."""

from __future__ import annotations

import re

_ONES = (
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"),
    *("thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"),
)
_TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_SCALES = ((10**9, "billion"), (10**6, "million"), (1000, "thousand"), (100, "hundred"))
_LONGEST = 12  # digits that are read as one number; more are read one by one
_GROUPED = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
_NUMBER = re.compile(r"(\d+)(?:\.(\d+))?")


def spelled_out(text: str) -> str:
    """``text`` with its numbers as English words: ``2`` as ``two``, ``1,205.5`` as its thousands, ``point``, digits."""
    return _NUMBER.sub(lambda found: f" {_read(found.group(1), found.group(2))} ", _GROUPED.sub("", text))


def _read(whole: str, decimals: str | None) -> str:
    single = len(whole) > _LONGEST or (len(whole) > 1 and whole.startswith("0"))
    said = " ".join(_ONES[int(digit)] for digit in whole) if single else in_words(int(whole))
    return f"{said} point {' '.join(_ONES[int(digit)] for digit in decimals)}" if decimals else said


def in_words(number: int) -> str:
    """``number``, 0 to 999,999,999,999, in words without hyphens or ``and``."""
    if number < len(_ONES):
        return _ONES[number]
    if number < 100:
        tens, ones = divmod(number, 10)
        return _TENS[tens - 2] + (f" {_ONES[ones]}" if ones else "")
    size, name = next((size, name) for size, name in _SCALES if number >= size)
    count, rest = divmod(number, size)
    return f"{in_words(count)} {name}" + (f" {in_words(rest)}" if rest else "")
