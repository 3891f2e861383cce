"""A good tree of clips, a store with a finished run, and the command line over copies of both."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from bad_kit import Bench
from bad_media import clip

from bench import cli, registry

RUN = ["run", "-q", "--system", "ground-truth", "--dataset", "folder", "--task", "vts", "--metrics", "duration"]


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Indexes and hashes, shared by all tests."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def _own_world(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No variable of the user's, own caches; plug-in files of one test are unknown to the next."""
    for name in ("BENCH_DATA", "BENCH_OUT", "BENCH_PLUGIN", "BENCH_LIMIT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("BENCH_CACHE", str(cache))
    monkeypatch.setattr(registry, "_trial", {group: dict(known) for group, known in registry._trial.items()})
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="session")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two speakers with two clips each; nothing changes it."""
    root = tmp_path_factory.mktemp("good")
    for number, name in enumerate(("ann/one", "ann/two", "bob/one", "bob/two")):
        clip(root / f"{name}.mp4", number)
    return root


@pytest.fixture(scope="session")
def finished(good: Path, cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with one finished run of ``good``; nothing changes it."""
    store = tmp_path_factory.mktemp("finished") / "store"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BENCH_CACHE", str(cache))
        assert cli.invoke([*RUN, "--data-root", str(good), "--workers", "0", "--out", str(store)]) == 0
    return store


@pytest.fixture
def bench(finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Bench:
    """The command line over a copy of the finished store."""
    store = tmp_path / "store"
    shutil.copytree(finished, store)
    return Bench(store, capsys)


@pytest.fixture
def tree(good: Path, tmp_path: Path) -> Path:
    """A copy of two good clips, to which a bad one is added."""
    root = tmp_path / "tree"
    for name in ("ann/one", "bob/one"):
        (root / name).parent.mkdir(parents=True)
        for suffix in (".mp4", ".txt"):
            shutil.copy(good / f"{name}{suffix}", root / f"{name}{suffix}")
    return root
