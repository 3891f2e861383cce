"""The table of ``bench conformance`` for component ``hicodit``: operation -> ``module:function``."""

from __future__ import annotations

from bench.systems.hicodit.adapters_codec import OPS as CODEC
from bench.systems.hicodit.adapters_conditions import OPS as CONDITIONS
from bench.systems.hicodit.adapters_diffusion import OPS as DIFFUSION
from bench.systems.hicodit.adapters_model import OPS as MODEL

ADAPTERS: dict[str, str] = {**DIFFUSION, **MODEL, **CODEC, **CONDITIONS}
