"""ESTOI, extended short-time objective intelligibility (``estoi/pystoi@1``), up to 1, higher is better.

J. Jensen, C. H. Taal, "An algorithm for predicting the intelligibility of speech masked by modulated noise
maskers", IEEE/ACM TASLP 24(11), 2016, by the package ``pystoi``, which works at 10 kHz inside. The signals are
compared frame by frame as they lie: lengths that differ by more than 40 ms are a ``length_mismatch``, else the
longer one is cut. Less than 30 frames (about 0.4 s) of speech are ``too_short``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from bench.api import Failure, Metric, Protocol, Reference, Score, Unscorable
from bench.metrics.declare import AUDIO_ONLY, mean, need_modules
from bench.metrics.speech_declare import ALIGNED, ALIGNED_NOTE, PAIR_FAILURES, PAIR_NEEDS

if TYPE_CHECKING:
    from bench.media import Media
    from bench.records import Samples

PARAMETERS: dict[str, Any] = {
    "package": "pystoi",
    "extended": True,
    "needs": "time-aligned reference of equal length",
    **ALIGNED,
    "sample_rate": 16000,
    "noise_seed": 0,
}


class Estoi(Metric):
    """How much of the ground truth's modulation over time and frequency the output has."""

    name = "estoi"
    summary = "extended short-time objective intelligibility against the ground truth"
    licence = "Apache-2.0; pystoi: MIT"
    protocols = (
        Protocol(
            id="estoi/pystoi@1",
            values=(mean("estoi", "ESTOI", "higher", "1", low=-1.0, high=1.0),),
            judges=AUDIO_ONLY,
            needs=PAIR_NEEDS,
            status="offline-canonical",
            parameters=PARAMETERS,
            source="package pystoi: pystoi/stoi.py",
            failures=(*PAIR_FAILURES, "length_mismatch"),
            cost_hint_s=0.05,
            note=ALIGNED_NOTE,
        ),
    )

    def missing(self, protocol_id: str) -> list[str]:
        """See :meth:`bench.api.Metric.missing`."""
        return need_modules("pystoi", extra="speech")

    def score(
        self, protocol_ids: Sequence[str], output: Media, reference: Media, truth: Reference
    ) -> Mapping[str, Score | Failure]:
        """One number per clip from both signals."""
        from bench.metrics.speech_pairs import aligned

        pair = aligned(output, reference, truth, PARAMETERS)
        score = Score({"estoi": estoi(pair.reference, pair.generated)}, pair.parts())
        return dict.fromkeys(protocol_ids, score)


def estoi(reference: Samples, generated: Samples) -> float:
    """ESTOI of signals (N,) at the protocol's rate; raises ``Unscorable``: ``too_short``, ``nan``."""
    import warnings

    import numpy as np
    from pystoi import stoi

    with warnings.catch_warnings(record=True) as raised, repeatable_noise(PARAMETERS["noise_seed"]):
        warnings.simplefilter("always")
        signals = reference.astype(np.float64), generated.astype(np.float64)
        value = float(stoi(*signals, PARAMETERS["sample_rate"], extended=PARAMETERS["extended"]))
    if any("Not enough STFT frames" in str(warning.message) for warning in raised):
        raise Unscorable("too_short", "less than 30 frames of the reference are speech")
    if not np.isfinite(value):
        raise Unscorable("nan", "ESTOI is not finite")
    return min(value, 1.0)  # rounding can pass 1 by some 1e-16


@contextmanager
def repeatable_noise(seed: int) -> Iterator[None]:
    """NumPy's global generator from ``seed`` inside, as it was afterwards.

    pystoi adds noise of 2e-16 before it normalises; where the output is digitally silent, nothing else is there
    to be normalised, and the value would change from call to call.
    """
    import numpy as np

    state = np.random.get_state()
    np.random.set_state(np.random.RandomState(seed).get_state())
    try:
        yield
    finally:
        np.random.set_state(state)
