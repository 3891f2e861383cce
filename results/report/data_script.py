"""Data files of the report: scripts of one call each, since pages opened from a disk may load nothing else.

``bench.load("NAME", {…});`` with JSON that no browser reads as markup: ``<``, ``>``, ``&`` and the two line ends of
JavaScript that JSON allows in strings are written as escapes. There is no NaN: a missing number is ``null``.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from typing import Any

SCHEMA = 1  # of every data file; the scripts refuse another one
DIGITS = 6  # significant digits of numbers

_ESCAPED = {ord(character): f"\\u{ord(character):04x}" for character in "<>&\u2028\u2029"}


def to_json(value: Any) -> str:
    """JSON on one line, safe inside a ``script`` element and as a script's text.

    Raises:
        ValueError: a number that is not finite.
    """
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    # half of a surrogate pair, as ids of broken file names have, cannot be written as UTF-8
    text = text.encode("utf-8", "backslashreplace").decode("utf-8")
    return text.translate(_ESCAPED)


def script(name: str, value: Mapping[str, Any]) -> str:
    """The text of ``data/<name>.js``; the schema's number is added."""
    return f"bench.load({to_json(name)},{to_json({'schema': SCHEMA, **value})});\n"


def number(value: float | None) -> float | int | None:
    """``value`` with at most :data:`DIGITS` significant digits, whole numbers as such; ``None`` where not finite."""
    if value is None or not math.isfinite(value):
        return None
    short = float(f"{value:.{DIGITS}g}")
    return int(short) if short.is_integer() and abs(short) < 1e15 else short


def numbers(values: Iterable[float | None]) -> list[float | int | None]:
    """:func:`number` of each."""
    return [number(value) for value in values]


def without_empty(record: Mapping[str, Any]) -> dict[str, Any]:
    """``record`` without what is ``None`` or empty: the scripts read an absent key so."""
    return {key: value for key, value in record.items() if value is not None and value not in ("", [], {})}
