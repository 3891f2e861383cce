"""Fixtures of the systems' tests."""

from __future__ import annotations

from pathlib import Path

import pytest
from system_helpers import Made, make_clip


@pytest.fixture
def clips(tmp_path: Path) -> list[Made]:
    """Four clips of two speakers; the last one is longer and of another size."""
    folder = tmp_path / "clips"
    folder.mkdir()
    return [
        make_clip(folder, "test/a/1", speaker="a"),
        make_clip(folder, "test/a/2", speaker="a"),
        make_clip(folder, "test/b/1", speaker="b"),
        make_clip(folder, "test/b/2", speaker="b", frames=15, size=(32, 40)),
    ]
