"""``talker`` with networks of a few channels and weights by rule, for `bench run --plugin`."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.api import Task, WeightFile
from bench.systems.talker.system import Talker
from bench.systems.talker.text import Characters

sys.path.insert(0, str(Path(__file__).parent))

from talker_small import ENDLESS, SEEDED, SMALL


class SmallTalker(Talker):
    """See the module."""

    name = "small-talker"
    tiers = ("canonical",)

    def __init__(self, settings: Mapping[str, Any] | None = None) -> None:
        super().__init__({**ENDLESS, **(settings or {})}, SEEDED, None, SMALL, Characters())

    def weights_for(self, task: Task) -> tuple[WeightFile, ...]:
        """No file goes into the run's record."""
        return ()
