"""``hierspeech`` and ``wav2lip`` with networks of a few channels and weights by rule, for `bench run --plugin`."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.api import Task, WeightFile
from bench.networks import Seeded
from bench.systems.hierspeech.system import HierSpeech
from bench.systems.wav2lip.declare import WAV2LIP
from bench.systems.wav2lip.generator import GeneratorSizes
from bench.systems.wav2lip.system import Wav2Lip

sys.path.insert(0, str(Path(__file__).parent))

from hier_small import SEEDED, SMALL


class SmallSpeech(HierSpeech):
    """See the module."""

    name = "small-speech"
    tiers = ("canonical",)

    def __init__(self, settings: Mapping[str, Any] | None = None) -> None:
        given = {**(settings or {}), "detector": "dlib", "silent": "off"}
        super().__init__(given, SEEDED, None, SMALL)

    def weights_for(self, task: Task) -> tuple[WeightFile, ...]:
        """No file goes into the run's record."""
        return ()


class SmallDub(Wav2Lip):
    """See the module."""

    name = "small-dub"
    tiers = ("canonical",)

    def __init__(self, settings: Mapping[str, Any] | None = None) -> None:
        sizes = GeneratorSizes(64, 4, (4, 6, 8, 8, 8), (1, 1, 1, 1, 1), 8, (4, 4, 6, 8), (8, 8, 8, 6, 4, 4), 4)
        super().__init__({**(settings or {}), "detector": "dlib"}, Seeded({WAV2LIP.name: 2.0}), None, sizes)

    def weights_for(self, task: Task) -> tuple[WeightFile, ...]:
        """See above."""
        return ()

    def missing(self) -> list[str]:
        """Nothing: the rule is there."""
        return []
