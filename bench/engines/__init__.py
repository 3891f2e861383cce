"""Where batches run, and nothing else: ``local`` on this machine, ``ray`` on this one or on many.

Engines never write the store.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bench.errors import UsageError, did_you_mean

if TYPE_CHECKING:
    from bench.config import RunSettings
    from bench.contracts import Engine

ENGINES = ("local", "ray")


def get_engine(name: str, **options: Any) -> Engine:
    """The engine of that name; ``options`` are its constructor's.

    Raises:
        UsageError: no such engine, or options out of range.
    """
    if name == "local":
        from bench.engines.local import LocalEngine

        return LocalEngine(**options)
    if name == "ray":
        from bench.engines.ray_engine import RayEngine

        return RayEngine(**options)
    raise UsageError(f"unknown engine {name!r}", did_you_mean(name, ENGINES))


def check(settings: RunSettings) -> None:
    """Refuse an engine that is not there, and settings of the ray engine for another, before any work.

    Raises:
        UsageError: what is wrong.
    """
    if settings.engine not in ENGINES:
        raise UsageError(f"unknown engine {settings.engine!r}", did_you_mean(settings.engine, ENGINES))
    if settings.engine == "ray":
        from bench.engines.ray_session import require

        require()
        if settings.workers == 0:
            raise UsageError("--workers 0 runs in this process", "--engine ray needs at least one.")
        return
    for option, value in (("--ray-address", settings.ray_address), ("--gpus-per-worker", settings.gpus_per_worker)):
        if value is not None:
            raise UsageError(f"{option} is a setting of --engine ray", "add --engine ray, or leave it out.")
