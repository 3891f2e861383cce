"""Which files a model needs, where they are, and what they hash to. Nothing is ever downloaded.

A file is looked for in the package that ships it, then in the user's weights folder
(``$BENCH_WEIGHTS``, else ``bench/weights`` under the user's data folder).
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path

from bench.errors import DataError
from bench.records import WeightFile

__all__ = ["Found", "folder", "locate", "required", "verified"]

_BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class Found:
    """A file and where it is; ``path`` is ``None`` where it is not on this machine."""

    weight: WeightFile
    path: Path | None


def folder() -> Path:
    """The user's weights folder (it need not exist)."""
    chosen = os.environ.get("BENCH_WEIGHTS")
    if chosen:
        return Path(chosen)
    data = os.environ.get("XDG_DATA_HOME")
    return (Path(data) if data else Path.home() / ".local" / "share") / "bench" / "weights"


def locate(weight: WeightFile) -> Path | None:
    """The file's path, or ``None``. No hash is computed."""
    if weight.package is not None:
        return _in_package(weight.package, weight.name)
    path = folder() / weight.name
    return path if path.is_file() else None


def _in_package(package: str, name: str) -> Path | None:
    try:
        listed = files(package) or []
    except PackageNotFoundError:
        return None
    for entry in listed:
        if entry.as_posix() == name or entry.name == name:
            path = Path(str(entry.locate()))
            if path.is_file():
                return path
    return None


def verified(weight: WeightFile) -> Path:
    """The path of a file whose SHA-256 is the declared one.

    Raises:
        DataError: absent, or another hash; the message says where it was looked for.
    """
    path = locate(weight)
    if path is None:
        where = f"package {weight.package}" if weight.package else str(folder())
        raise DataError(
            f"{weight.name} is not in {where}", f"official source: {weight.source}; licence: {weight.licence}."
        )
    actual = sha256(path)
    if weight.sha256 is not None and actual != weight.sha256:
        raise DataError(
            f"{path.name} has SHA-256 {actual[:16]}…, expected {weight.sha256[:16]}…",
            "it is another version or damaged; put the official file in its place.",
        )
    return path


def sha256(path: Path) -> str:
    """Lower-case hexadecimal SHA-256 of a file, read in blocks."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def required() -> Iterator[tuple[str, Found]]:
    """Every file that a registered system or metric can use, with the name of its user."""
    from bench import registry

    for name in registry.names("systems"):
        system = registry.get("systems", name)
        for weight in getattr(system, "weights", ()) if isinstance(getattr(system, "weights", ()), Sequence) else ():
            yield name, Found(weight, locate(weight))
    for name in registry.names("metrics"):
        seen: set[str] = set()
        for protocol in registry.get("metrics", name).protocols:
            for weight in protocol.weights:
                if weight.name not in seen:
                    seen.add(weight.name)
                    yield name, Found(weight, locate(weight))
