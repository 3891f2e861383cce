"""The folder of a report: what is written, what an earlier report left, and the manifest of both.

Only files whose content differs are written, and nothing in them depends on time or place: two reports of one store are
equal byte for byte, and a report can be made again over an old one.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from bench.api import UsageError
from bench.media import file_sha256

MANIFEST = "manifest.json"
_KIND = "bench report"


class ReportFolder:
    """A folder that is new, empty, or an earlier report.

    Raises:
        UsageError: it holds something else. Nothing is written before :meth:`begin`.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._names: set[str] = set()
        self._before = _listed(root)

    def begin(self) -> None:
        """Make the folder. It is marked as a report at once, so that one that was interrupted can be made again.

        Raises:
            UsageError: it cannot be written.
        """
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            if not (self.root / MANIFEST).exists():
                self._write_manifest({})
        except OSError as error:
            told = f"--folder {self.root}: {error.strerror or error}"
            raise UsageError(told, "name a folder that can be made.") from error

    def write(self, name: str, content: str | bytes) -> None:
        """Write a file, ``name`` relative to the report, unless it is there with this content."""
        data = content.encode("utf-8") if isinstance(content, str) else content
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.is_file() or path.read_bytes() != data:
            path.write_bytes(data)
        self._names.add(name)

    def add(self, names: Iterable[str]) -> None:
        """Files that were written into the folder by others."""
        self._names |= set(names)

    def finish(self) -> int:
        """Remove what an earlier report left, write the manifest; returns the bytes of the report."""
        for name in sorted(self._before - self._names):
            (self.root / name).unlink(missing_ok=True)
        files: dict[str, dict[str, str | int]] = {}
        for name in sorted(self._names):
            path = self.root / name
            files[name] = {"sha256": file_sha256(path), "size": path.stat().st_size}
        self._write_manifest(files)
        return sum(int(facts["size"]) for facts in files.values())

    def _write_manifest(self, files: Mapping[str, Mapping[str, str | int]]) -> None:
        text = json.dumps({"kind": _KIND, "files": files}, indent=1) + "\n"
        (self.root / MANIFEST).write_text(text, encoding="utf-8")


def _listed(root: Path) -> set[str]:
    """The files of an earlier report at ``root``."""
    if root.is_file():
        raise UsageError(f"--folder {root} is a file", "name a folder.")
    if not root.is_dir() or not any(root.iterdir()):
        return set()
    try:
        listed = json.loads((root / MANIFEST).read_text(encoding="utf-8"))
        if listed["kind"] != _KIND:
            raise ValueError(listed["kind"])
        names = {str(name) for name in listed["files"]}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(
            f"--folder {root} is not empty, and not a report of bench", "name a new folder, or empty that one."
        ) from error
    # a manifest from elsewhere must not point out of its folder
    return {name for name in names if (root / name).resolve().is_relative_to(root.resolve())}
