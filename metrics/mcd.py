"""MCD, mel cepstral distance after dynamic time warping (``mcd/dtw-13@1``), dB, lower is better.

How far the smoothed spectrum of the output lies from that of the ground truth, over aligned frames: R. Kubichek,
"Mel-cepstral distance measure for objective speech quality assessment", IEEE PACRIM 1993. Level takes no part,
and speed little. The analysis is :mod:`bench.metrics.mel_cepstra`, the alignment :mod:`bench.metrics.dtw`; the
declaration holds every setting, because published values of MCD depend on them and rarely state them.

Alignment takes time and memory (bytes) as the product of both lengths in frames: 1 MB for 10 s, 36 MB for 60 s.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bench.api import Failure, Metric, Protocol, Reference, Score
from bench.metrics.declare import AUDIO_ONLY, mean, need_modules
from bench.metrics.speech_declare import CEPSTRA, DTW, PAIR_FAILURES, PAIR_NEEDS

if TYPE_CHECKING:
    from bench.media import Media

PARAMETERS: dict[str, Any] = {
    "formula": "(10/ln 10)*sqrt(2*sum_{d=1..13}(c_d-c'_d)^2)",
    "alignment": "DTW",
    "cepstra": "13 mel cepstra without c0 (analysis to be fixed by the implementation and recorded)",
    "analysis": CEPSTRA,
    "dtw": DTW,
    "normalisation": "sum along the path / number of its cells",
}


class Mcd(Metric):
    """How near the output's spectrum comes to the ground truth's."""

    name = "mcd"
    summary = "mel cepstral distance of output and ground truth after time warping"
    protocols = (
        Protocol(
            id="mcd/dtw-13@1",
            values=(mean("mcd", "MCD", "lower", "dB", low=0.0),),
            judges=AUDIO_ONLY,
            needs=PAIR_NEEDS,
            status="offline-real",
            parameters=PARAMETERS,
            source="formula (Kubichek 1993); analysis and alignment as declared here",
            failures=PAIR_FAILURES,
            cost_hint_s=0.05,
            note="Published MCD (mcd/unspecified@0) states no analysis and is not comparable.",
        ),
    )

    def missing(self, protocol_id: str) -> list[str]:
        """See :meth:`bench.api.Metric.missing`."""
        return need_modules("numpy")

    def score(
        self, protocol_ids: Sequence[str], output: Media, reference: Media, truth: Reference
    ) -> Mapping[str, Score | Failure]:
        """The mean distance along the path of least total distance."""
        from bench.metrics.dtw import align
        from bench.metrics.mel_cepstra import DB_PER_CEPSTRUM, mel_cepstra
        from bench.metrics.speech_pairs import of_reference

        ours = mel_cepstra(output, CEPSTRA)
        with of_reference(truth):
            theirs = mel_cepstra(reference, CEPSTRA)
        path = align(ours, theirs)
        value = float(DB_PER_CEPSTRUM * path.distances.mean())
        counts = {"path": len(path.distances), "n_frames": len(ours), "n_frames_reference": len(theirs)}
        return dict.fromkeys(protocol_ids, Score({"mcd": value}, {key: float(n) for key, n in counts.items()}))
