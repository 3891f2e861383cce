"""Clip ids that come from file names and manifests of users: which are safe, and which look alike."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable

MAX_LENGTH = 400  # bytes of UTF-8
#: Unicode categories that no id may hold: controls, invisible format marks, surrogates, private and
#: unassigned characters, line and paragraph separators.
_REFUSED = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def normal_form(clip_id: str) -> str:
    """The form in which ids are kept: Unicode NFC."""
    return unicodedata.normalize("NFC", clip_id)


def problem(clip_id: str) -> str:
    """Why ``clip_id`` cannot be used; empty: it can. Spaces inside and quotes are allowed."""
    strange = next((c for c in clip_id if unicodedata.category(c) in _REFUSED), None)
    if strange is not None:
        return f"holds the character U+{ord(strange):04X}"
    if len(clip_id.encode()) > MAX_LENGTH:
        return f"is longer than {MAX_LENGTH} bytes"
    if "\\" in clip_id:
        return "holds a backslash"
    for part in clip_id.split("/"):
        if part in {"", ".", ".."}:
            return f"has the part {part!r}: ids are relative, without `.` and `..`"
        if part != part.strip():
            return f"has the part {part!r}, which begins or ends with a blank"
    return ""


def problems(clip_ids: Iterable[str]) -> list[tuple[str, str]]:
    """(id, reason) of all ids that cannot be used, alone or beside an earlier one that looks the same."""
    found: list[tuple[str, str]] = []
    seen: dict[str, str] = {}
    for clip_id in clip_ids:
        reason = problem(clip_id)
        if not reason:
            folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", clip_id).casefold())
            other = seen.setdefault(folded, clip_id)
            if other is not clip_id:
                reason = "is there twice" if other == clip_id else f"looks like {printable(other)}"
        if reason:
            found.append((clip_id, reason))
    return found


def printable(clip_id: str) -> str:
    """An id in one line of plain characters: quoted where it holds others than visible ASCII."""
    return clip_id if clip_id.isascii() and clip_id.isprintable() else ascii(clip_id)
