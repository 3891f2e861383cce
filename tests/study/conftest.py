"""Stores with media, studies made from them, and visits of their pages."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from study_lab import SYSTEMS, add_run

from bench import registry
from bench.metrics.study import Study
from bench.progress import Progress
from bench.results.study.make import Made, Plan, chosen, make
from bench.store import Store


@pytest.fixture(scope="session")
def filled_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three systems on six clips of task ``t2av``: to be read, not written."""
    folder = tmp_path_factory.mktemp("study-store") / "store"
    with Store.open(folder) as store:
        for system in SYSTEMS:
            add_run(store, system)
    return folder


def study_of(store: Path, folder: Path, **plan: object) -> Made:
    """A study of the three systems."""
    with Store.open(store, write=False) as opened:
        key_file = folder.with_name(folder.name + ".key.json")
        return make(
            opened, chosen(opened, SYSTEMS), Plan(**plan), folder, key_file, None, Progress(quiet=True)
        )  # fmt: skip


@pytest.fixture(scope="session")
def opinions(filled_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Made:
    """A study of opinions: 4 clips, 6 participants, both questions."""
    folder = tmp_path_factory.mktemp("opinions") / "study"
    return study_of(filled_store, folder, clips=4, participants=6, title="Voices <script>alert(1)</script> & faces")


@pytest.fixture(scope="session")
def pairs(filled_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Made:
    """A study of preference: 3 clips, 6 participants."""
    folder = tmp_path_factory.mktemp("pairs") / "study"
    return study_of(
        filled_store, folder, kind="preference", questions=("preference",), clips=3, participants=6, seed=3
    )  # fmt: skip


@pytest.fixture
def own_store(tmp_path: Path) -> Iterator[Path]:
    """The same store as :func:`filled_store`, to be written."""
    folder = tmp_path / "store"
    with Store.open(folder) as store:
        for system in SYSTEMS:
            add_run(store, system)
    yield folder


@pytest.fixture(autouse=True)
def study_metric() -> Iterator[None]:
    """The protocols of studies, where the installed distribution does not name them yet."""
    if "study" in registry.names("metrics"):
        yield
        return
    registry._trial["metrics"]["study"] = Study
    yield
    registry._trial["metrics"].pop("study", None)
