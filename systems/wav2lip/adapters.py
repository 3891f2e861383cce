"""The table of ``bench conformance`` for component ``tfg``: operation -> ``module:function``."""

from __future__ import annotations

from bench.golden_adapters import ADAPTERS as PAIRS
from bench.systems.wav2lip.adapters_wav2lip import OPS as WAV2LIP

ADAPTERS: dict[str, str] = {**PAIRS, **WAV2LIP}
