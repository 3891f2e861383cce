"""Clean trees, made once; tests that spoil one work on a copy."""

from __future__ import annotations

from pathlib import Path

import pytest
import trees


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One cache for all: facts are kept by content, so copies of a tree are not decoded again."""
    return tmp_path_factory.mktemp("cache")


def _tree(kind: str, factory: pytest.TempPathFactory) -> tuple[Path, dict[str, trees.Placed]]:
    root = factory.mktemp("trees") / kind
    return root, trees.make_tree(kind, root)


@pytest.fixture(scope="session")
def lrs3(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, trees.Placed]]:
    return _tree("lrs3", tmp_path_factory)


@pytest.fixture(scope="session")
def lrs2(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, trees.Placed]]:
    return _tree("lrs2", tmp_path_factory)


@pytest.fixture(scope="session")
def cinepile(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, trees.Placed]]:
    return _tree("cinepile", tmp_path_factory)
