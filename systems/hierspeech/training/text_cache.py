"""Tokens of many transcripts, espeak asked once per batch of them."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from bench.espeak import SpeechError
from bench.systems.hierspeech.text import TextError, Tokens, tokens_of

if TYPE_CHECKING:
    from bench.progress import Progress

_AT_ONCE = 500  # texts
_VERSION = 1


def kept_tokens(texts: Sequence[str], folder: Path, progress: Progress) -> list[Tokens | None]:
    """Tokens of each text; ``None`` where it has nothing to speak. Batches of texts are kept in ``folder``.

    Raises:
        UsageError: espeakng-loader is absent.
    """
    found: list[Tokens | None] = []
    with progress.stage("phonemes of the texts", len(texts)) as bar:
        for first in range(0, len(texts), _AT_ONCE):
            batch = list(texts[first : first + _AT_ONCE])
            found += _batch(batch, folder)
            for _ in batch:
                bar.advance()
    return found


def _batch(texts: list[str], folder: Path) -> list[Tokens | None]:
    key = hashlib.sha256(json.dumps([_VERSION, texts]).encode()).hexdigest()[:32]
    path = folder / f"tokens-{key}.json"
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        return [None if one is None else _from(one) for one in kept]
    except (FileNotFoundError, ValueError, TypeError):
        made = _made(texts)
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    part.write_text(json.dumps([None if one is None else asdict(one) for one in made]), encoding="utf-8")
    part.replace(path)
    return made


def _from(kept: dict[str, object]) -> Tokens:
    fields = {name: tuple(value) if isinstance(value, list) else value for name, value in kept.items()}
    return Tokens(**fields)  # type: ignore[arg-type]  # written by asdict


def _made(texts: list[str]) -> list[Tokens | None]:
    """All at once, or, where one of them cannot be spoken, one by one."""
    try:
        return list(tokens_of(texts))
    except (TextError, SpeechError):
        return [_single(text) for text in texts]


def _single(text: str) -> Tokens | None:
    try:
        return tokens_of([text])[0]
    except (TextError, SpeechError):
        return None
