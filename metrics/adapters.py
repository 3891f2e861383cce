"""The table of ``bench conformance`` for component ``metrics``: operation -> ``module:function``."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec

_PARTS = ("bench.metrics.adapters_audio", "bench.metrics.adapters_video")

ADAPTERS: dict[str, str] = {
    "bootstrap": "bench.results.adapters:bootstrap",
    "set_result": "bench.results.adapters:set_result",
    "fps_grid": "bench.media.adapters:fps_grid",
    "resample_sinc": "bench.media.adapters:resample_sinc",
}
for _part in _PARTS:
    if find_spec(_part) is not None:
        ADAPTERS |= import_module(_part).OPS
