"""A weights folder of one's own, and a metric that declares three files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from weights_kit import HALF, MANY, TOY, metric

from bench import registry, weights


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The weights folder; the kit's metric is the only plug-in with files of the user."""
    made = {"kit": metric(TOY, HALF, MANY)}
    monkeypatch.setattr(registry, "names", lambda group: sorted(made) if group == "metrics" else [])
    monkeypatch.setattr(registry, "get", lambda group, name: made[name])
    monkeypatch.setenv("BENCH_WEIGHTS", str(tmp_path / "home"))
    weights.forget()
    yield tmp_path / "home"
    weights.forget()
