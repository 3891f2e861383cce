"""What must not leave the machine: absolute paths and its name are taken out of every text of a report.

Settings, messages of failures and notes come from runs, and name folders of whoever made them. Of a path its last
part stays, which is what says something to others. Ids of clips and transcripts are data and stay as they are.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from functools import cache
from typing import Any, TypeVar

_T = TypeVar("_T")

# two parts at least, so that "and/or" and "/second" stay; the last part is kept
_PATH = re.compile(
    r"(?<![\w.~:/…-])(?:~|[A-Za-z]:)?(?:[/\\][^\s/\\'\"<>|,;:()\[\]{}]+)+[/\\]([^\s/\\'\"<>|,;:()\[\]{}]*)"
)
_SHORT_HOST = 4  # names shorter than this are words; they are left alone


def clean_text(text: str) -> str:
    """``text`` with absolute paths cut to ``…/<last part>`` and without this machine's name."""
    shorter = _PATH.sub(lambda found: f"…/{found.group(1)}", text)
    host = _host()
    return host.sub("(this machine)", shorter) if host is not None else shorter


def clean(value: _T) -> _T:
    """``value`` with every text in it cleaned: texts, mappings, sequences and dataclasses of these."""
    result: Any = value
    if isinstance(value, str):
        result = clean_text(value)
    elif isinstance(value, Mapping):
        result = {clean(key): clean(item) for key, item in value.items()}
    elif is_dataclass(value) and not isinstance(value, type):
        result = replace(value, **{field.name: clean(getattr(value, field.name)) for field in fields(value)})
    elif isinstance(value, Sequence) and not isinstance(value, bytes) and not hasattr(value, "_fields"):
        result = [clean(item) for item in value]
    return result  # type: ignore[no-any-return]


@cache
def _host() -> re.Pattern[str] | None:
    """This machine's name as a whole word, unless it is too short or common to tell anything."""
    name = socket.gethostname()
    if len(name) < _SHORT_HOST or name.startswith("localhost"):
        return None
    return re.compile(rf"(?<!\w){re.escape(name)}(?!\w)")
