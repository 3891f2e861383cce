"""Stores with invented scores."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from results_lab import TOY, Lab

from bench import registry
from bench.store import Store


@pytest.fixture(autouse=True)
def toy_metrics() -> Iterator[None]:
    """The toy protocols, and nothing of them left behind."""
    before = {group: dict(found) for group, found in registry._trial.items()}
    registry.load_file(TOY)
    yield
    registry._trial.update(before)


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    with Store.open(tmp_path / "store") as store:
        yield Lab(store)


@pytest.fixture
def filled(lab: Lab) -> Lab:
    """Ground truth, two systems, one control: all complete, in one group."""
    lab.fill(lab.run("ground-truth", tier="control"), 0.0, seed=1)
    lab.fill(lab.run("talker"), 0.3, seed=2)
    lab.fill(lab.run("hicodit"), 0.6, seed=3)
    lab.fill(lab.run("shuffled", tier="control"), 0.9, seed=4)
    return lab
