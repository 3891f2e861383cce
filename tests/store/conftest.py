"""Small and read-only file systems, real ones."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest


def _mount(*arguments: str) -> bool:
    try:
        return subprocess.run(["mount", *arguments], capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Gives a folder on a memory file system of the asked size (``4m``); skips where mounting is not allowed."""
    mounted: list[Path] = []

    def make(size: str) -> Path:
        folder = tmp_path / f"disk{len(mounted)}"
        folder.mkdir()
        if not _mount("-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)):
            pytest.skip("mounting a small file system needs root")
        mounted.append(folder)
        return folder

    yield make
    for folder in mounted:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.fixture
def read_only(tmp_path: Path) -> Iterator[Callable[[Path], Path]]:
    """Gives a view of a folder that nobody can write, root neither; skips where mounting is not allowed."""
    mounted: list[Path] = []

    def make(folder: Path) -> Path:
        view = tmp_path / f"view{len(mounted)}"
        view.mkdir()
        if not _mount("--bind", str(folder), str(view)):
            pytest.skip("a read-only mount needs root")
        mounted.append(view)
        if not _mount("-o", "remount,bind,ro", str(view)):
            pytest.skip("a read-only mount needs root")
        return view

    yield make
    for view in mounted:
        subprocess.run(["umount", "-l", str(view)], check=True)
