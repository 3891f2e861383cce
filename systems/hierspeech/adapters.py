"""The table of ``bench conformance`` for component ``hierspeech``: operation -> ``module:function``."""

from __future__ import annotations

from bench.systems.hierspeech.adapters_front import OPS as FRONT
from bench.systems.hierspeech.adapters_synth import OPS as SYNTH
from bench.systems.hierspeech.adapters_ttv import OPS as TTV

ADAPTERS: dict[str, str] = {**FRONT, **SYNTH, **TTV}
