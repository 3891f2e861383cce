"""Tiny media, and a world of one's own: no variable of the user's, own caches, no plug-ins of another test."""

from __future__ import annotations

from pathlib import Path

import pytest
from e2e_kit import make_talks

from bench import registry


@pytest.fixture(scope="session")
def talks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two speakers, five tiny clips each; nothing changes it."""
    return make_talks(tmp_path_factory.mktemp("talks"))


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Indexes and hashes, shared by all tests."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def _own_world(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("BENCH_DATA", "BENCH_OUT", "BENCH_PLUGIN", "BENCH_LIMIT", "BENCH_CONFIG", "BENCH_WORKERS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("BENCH_CACHE", str(cache))
    monkeypatch.setattr(registry, "_trial", {group: dict(known) for group, known in registry._trial.items()})
    monkeypatch.chdir(tmp_path)
