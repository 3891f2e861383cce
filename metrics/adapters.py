"""The table of ``bench conformance`` for component ``metrics``: operation -> ``module:function``."""

from __future__ import annotations

from bench.metrics.adapters_audio import OPS as AUDIO
from bench.metrics.adapters_lse import OPS as LSE
from bench.metrics.adapters_nets_audio import OPS as NETS_AUDIO
from bench.metrics.adapters_nets_video import OPS as NETS_VIDEO
from bench.metrics.adapters_s3fd import OPS as S3FD
from bench.metrics.adapters_video import OPS as VIDEO

ADAPTERS: dict[str, str] = {
    **AUDIO,
    **LSE,
    **NETS_AUDIO,
    **NETS_VIDEO,
    **S3FD,
    **VIDEO,
    "bootstrap": "bench.results.adapters:bootstrap",
    "set_result": "bench.results.adapters:set_result",
    "fps_grid": "bench.media.adapters:fps_grid",
    "resample_sinc": "bench.media.adapters:resample_sinc",
}
