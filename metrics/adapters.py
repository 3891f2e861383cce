"""The table of ``bench conformance`` for component ``metrics``: operation -> ``module:function``."""

from __future__ import annotations

from bench.metrics.adapters_audio import OPS as AUDIO
from bench.metrics.adapters_video import OPS as VIDEO

ADAPTERS: dict[str, str] = {
    **AUDIO,
    **VIDEO,
    "bootstrap": "bench.results.adapters:bootstrap",
    "set_result": "bench.results.adapters:set_result",
    "fps_grid": "bench.media.adapters:fps_grid",
    "resample_sinc": "bench.media.adapters:resample_sinc",
}
