"""How many samples a value rests on whose size matters (FID): beside the value, with a warning where they are few."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from bench.metrics.fid import FULL
from bench.results.alarms import _samples as sample_notes
from bench.results.leaderboard import _samples
from bench.results.table import Cell, Column


def column(generated: list[float], reference: list[float]) -> Any:
    ok = np.isfinite(generated)
    parts = {"n_generated": np.array(generated), "n_reference": np.array(reference)}
    return SimpleNamespace(parts=parts, ok=ok, n_scored=int(ok.sum()))


@pytest.mark.parametrize(("generated", "few"), [(2048.0, False), (2047.0, True)])
def test_samples_of_scored_clips_are_summed(generated: float, few: bool) -> None:
    found = _samples(FULL, column([generated - 48, 48, np.nan], [4000, 96, np.nan]))
    assert found == {"samples": (int(generated), 4096), "few_samples": few}


def test_other_values_have_no_samples() -> None:
    plain = replace(FULL, parameters={})
    assert _samples(plain, column([5], [5])) == {}
    assert _samples(FULL, column([np.nan], [np.nan])) == {}


def section(*cells: Cell) -> Any:
    shown = Column(FULL, FULL.values[0])
    rows = [SimpleNamespace(label=f"row{i}", cells={shown.key: cell}) for i, cell in enumerate(cells)]
    return SimpleNamespace(columns=[shown], rows=rows)


def test_the_note_has_every_row_and_warns() -> None:
    enough = Cell(1.0, 4, samples=(3000, 3000))
    few = Cell(2.0, 4, samples=(300, 3000), few_samples=True)
    (note,) = sample_notes(section(enough, few))
    assert "row0 3000/3000, row1 300/3000 low_n" in note
    assert "WARNING" in note
    assert "2048" in note
    assert "not comparable" in note
    (calm,) = sample_notes(section(enough, enough))
    assert "WARNING" not in calm
    assert "comparable" not in calm
    assert sample_notes(section(Cell(1.0, 4))) == []
