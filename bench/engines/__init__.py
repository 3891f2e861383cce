"""Where batches run, and nothing else. ``local`` is this machine; engines never write the store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bench.errors import UsageError, did_you_mean

if TYPE_CHECKING:
    from bench.contracts import Engine

ENGINES = ("local",)


def get_engine(name: str, **options: Any) -> Engine:
    """The engine of that name; ``options`` are its constructor's.

    Raises:
        UsageError: no such engine, or options out of range.
    """
    if name == "local":
        from bench.engines.local import LocalEngine

        return LocalEngine(**options)
    raise UsageError(f"unknown engine {name!r}", did_you_mean(name, ENGINES))
