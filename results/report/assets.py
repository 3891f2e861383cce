"""The files that every report has: scripts joined into one, styles, the chart library with its licence."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

FOLDER = Path(__file__).parent / "assets"
ORDER = "ORDER.txt"  # the scripts that make report.js, one name per line
SCRIPT = "report.js"


def files() -> Iterator[tuple[str, bytes]]:
    """Name and content of each file of ``assets/``."""
    parts = scripts()
    joined = "\n".join((FOLDER / name).read_text(encoding="utf-8").rstrip("\n") for name in parts) + "\n"
    yield SCRIPT, joined.encode("utf-8")
    for path in sorted(FOLDER.iterdir()):
        if path.is_file() and path.name not in {*parts, ORDER}:
            yield path.name, path.read_bytes()


def scripts() -> list[str]:
    """Names of the scripts in the order in which they are joined."""
    return (FOLDER / ORDER).read_text(encoding="utf-8").split()
