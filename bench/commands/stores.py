"""Verbs that read: one store, or several that are merged by content."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from bench.commands import options as o

if TYPE_CHECKING:
    from bench.store import Store
    from bench.store_records import Conflict

SHOWN = 20  # unequal results that are printed
CONFLICT = 3  # exit code


def reading(out: list[Path] | None) -> Store:
    """The stores of every ``--out`` as one that is open for reading; a context manager."""
    from bench.store_merge import open_stores

    return open_stores(out or [o.store_folder(None)])


def agreement(store: Store) -> int:
    """Exit code: 3, with lines on stderr, where merged stores hold unequal results for one key; else 0."""
    from bench.store_merge import MergedStore

    unequal = store.unequal if isinstance(store, MergedStore) else []
    if not unequal:
        return 0
    told = "results on which the stores disagree (that of the store named first stands)"
    typer.echo(f"bench: {told}: {len(unequal)}", err=True)
    for conflict in unequal[:SHOWN]:
        typer.echo(f"  {_line(conflict)}", err=True)
    if len(unequal) > SHOWN:
        typer.echo(f"  … and {len(unequal) - SHOWN} more", err=True)
    return CONFLICT


def _line(conflict: Conflict) -> str:
    """What differs between two results of one key; hashes and numbers, one line."""
    if conflict.subject == "score":
        output, _, protocol, _ = conflict.key
        where = f"score {protocol} of output {output[:12]}"
    else:
        run_id, clip_id = conflict.key
        where = f"{'output' if conflict.subject == 'output' else 'reference'} of {clip_id!r} in run {run_id[:12]}"
    named = ("status", "kind", "sha256", "reference_sha256", "values", "parts", "text", "arrays")
    pairs = [(name, conflict.kept.get(name), conflict.other.get(name)) for name in named]
    return f"{where}: " + "; ".join(
        f"{name} {_short(kept)} and {_short(other)}" for pair in pairs for name, kept, other in _parts(*pair)
    )


def _parts(name: str, kept: object, other: object) -> Iterator[tuple[str, object, object]]:
    """What differs between two facts; of mappings the entries that do."""
    if isinstance(kept, Mapping) and isinstance(other, Mapping):
        for key in sorted({*kept, *other}):
            yield from _parts(f"{name} {key}", kept.get(key), other.get(key))
    elif kept != other:
        yield name, kept, other


def _short(value: object) -> str:
    from bench.errors import printable

    text = printable(str(value)).replace("\n", " ")
    return text if len(text) <= 60 else text[:59] + "…"
