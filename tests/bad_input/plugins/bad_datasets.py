"""Data sets that are wrong in ways that only a plug-in can be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bench.api import CheckReport, Clip, Dataset, Source


class Base(Dataset):
    """All mp4 files of the root."""

    splits = ("test",)

    def clips(self, split: str, progress: Any = None) -> Any:
        return [self.clip(path) for path in sorted(Path(str(self.root)).rglob("*.mp4"))]

    def clip(self, path: Path, **other: Any) -> Clip:
        known = {
            "id": path.stem + path.parent.name,
            "dataset": self.name,
            "split": "test",
            "video": Source(path),
            "audio": Source(path),
            "transcript": "bin blue at a one now",
            "content_sha256": path.stem + path.parent.name,
            "n_frames": 10,
        }
        return Clip(**{**known, **other})

    def content_sha256(self, split: str) -> str:
        return self.name

    def check(self, split: Any, pattern: Any = None, fast: bool = False, progress: Any = None) -> CheckReport:
        raise OSError("the disk is gone")


class Raises(Base):
    """Cannot list its clips."""

    name = "d-raises"

    def clips(self, split: str, progress: Any = None) -> Any:
        raise KeyError("speaker")


class Empty(Base):
    """Has no clip."""

    name = "d-empty"

    def clips(self, split: str, progress: Any = None) -> Any:
        return []


class Twice(Base):
    """The same id for all clips."""

    name = "d-twice"

    def clip(self, path: Path, **other: Any) -> Clip:
        return super().clip(path, id="one")


class Nothing(Base):
    """No list at all."""

    name = "d-none"

    def clips(self, split: str, progress: Any = None) -> Any:
        return None


class Escapes(Base):
    """Ids that try to leave the store."""

    name = "d-escapes"

    def clip(self, path: Path, **other: Any) -> Clip:
        return super().clip(path, id=f"../../{path.parent.name}\n{path.stem}\x1b[2J")


class Gone(Base):
    """Files that are not there."""

    name = "d-gone"

    def clip(self, path: Path, **other: Any) -> Clip:
        return super().clip(path, video=Source(path.with_name("gone.mp4")), audio=Source(path.with_name("gone.wav")))
