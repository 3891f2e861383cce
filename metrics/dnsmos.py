"""DNSMOS, predicted mean opinion score of speech quality (``dnsmos/speechmos@1``).

Four numbers on a scale of about 1 to 5, higher is better: overall (the headline), signal and background
after ITU-T P.835, and the older P.808 score. The networks are those of the package ``speechmos``; no
reference is needed. Specification of metrics, section 12.

A wave outside [-1, 1] is clipped first (part ``clipped``), since the networks are defined on that range.
Zeros throughout are ``silent_audio``; less than 0.1 s is ``too_short``: repeated up to the nine seconds
that the networks read, it would be a tone, not speech.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bench.api import DataError, Failure, Metric, Protocol, Reference, Score, Unscorable
from bench.metrics.declare import (
    AUDIO_ONLY,
    MOS_UNIT,
    SHORTEST_AUDIO_S,
    mean,
    need_modules,
    shipped,
    shipped_path,
)

if TYPE_CHECKING:
    from bench.media import Media
    from bench.metrics.dnsmos_nets import DnsmosNets
    from bench.records import Array, Samples

FEATURE = "audio:dnsmos@1"

P835 = shipped(
    "speechmos/dnsmos_models/sig_bak_ovr.onnx",
    "269fbebdb513aa23cddfbb593542ecc540284a91849ac50516870e1ac78f6edd",
    1157965,
    "MIT",
    "microsoft/DNS-Challenge",
    "speechmos",
)
P808 = shipped(
    "speechmos/dnsmos_models/model_v8.onnx",
    "9246480c58567bc6affd4200938e77eef49468c8bc7ed3776d109c07456f6e91",
    224860,
    "MIT",
    "microsoft/DNS-Challenge",
    "speechmos",
)

PARAMETERS: dict[str, Any] = {
    "sample_rate": 16000,
    "segment_seconds": 9.01,
    "hop_seconds": 1,
    "short_clip": "append the signal to itself until >= 144160 samples",
    "range": "[-1,1]",
    "headline": "ovrl",
    "polynomials": {
        "ovrl": [-0.06766283, 1.11546468, 0.04602535],
        "sig": [-0.08397278, 1.22083953, 0.0052439],
        "bak": [-0.13166888, 1.60915514, -0.39604546],
    },
    "p808_mel": {
        "n_mels": 120,
        "n_fft": 321,
        "hop": 160,
        "db_ref": "max",
        "scale": "(dB+40)/40",
        "input": "segment[:-160]",
    },
}


class Dnsmos(Metric):
    """How clean and natural the output's speech sounds to a network trained on listeners' votes."""

    name = "dnsmos"
    summary = "speech quality predicted by DNSMOS (P.835 overall, signal, background; P.808)"
    licence = "Apache-2.0; DNSMOS networks and speechmos: MIT"
    protocols = (
        Protocol(
            id="dnsmos/speechmos@1",
            values=(
                mean("ovrl", "DNSMOS", "higher", MOS_UNIT),
                mean("sig", "DNSMOS SIG", "higher", MOS_UNIT, headline=False),
                mean("bak", "DNSMOS BAK", "higher", MOS_UNIT, headline=False),
                mean("p808", "DNSMOS P.808", "higher", MOS_UNIT, headline=False),
            ),
            judges=AUDIO_ONLY,
            needs=frozenset({"audio"}),
            status="offline-canonical",
            parameters=PARAMETERS,
            source="package speechmos 0.0.1.1; microsoft/DNS-Challenge: DNSMOS/dnsmos_local.py",
            default=True,
            weights=(P835, P808),
            used_by=("HiCoDiT (variant not stated)",),
            failures=("no_audio_stream", "silent_audio", "too_short"),
            cost_hint_s=1.1,
        ),
    )

    def __init__(self) -> None:
        self._nets: DnsmosNets | None = None

    def missing(self, protocol_id: str) -> list[str]:
        lines = need_modules("onnxruntime", extra="demo")
        if shipped_path(P835) is None or shipped_path(P808) is None:
            lines.append("DNSMOS' networks (package speechmos) were not found: pip install 'bench-avgen[demo]'")
        return lines

    def load(self, device: str) -> None:
        self._nets = load_nets()  # small enough for the CPU, wherever the rest runs

    def score(
        self, protocol_ids: Sequence[str], output: Media, reference: Media, truth: Reference
    ) -> Mapping[str, Score | Failure]:
        import numpy as np

        wave = output.audio(PARAMETERS["sample_rate"], "soxr_hq")
        if wave.size < SHORTEST_AUDIO_S * PARAMETERS["sample_rate"]:
            raise Unscorable("too_short", f"{wave.size} samples at 16 kHz; at least {SHORTEST_AUDIO_S} s are needed")
        if not np.isfinite(wave).all():
            raise Unscorable("nan", "the audio has samples that are not finite")
        peak = float(np.abs(wave).max())
        if peak == 0.0:
            raise Unscorable("silent_audio", "the audio is zero throughout")
        found = output.feature(FEATURE, lambda: self._rate(np.clip(wave, -1.0, 1.0)))
        values = {name: float(array) for name, array in found.items() if name != "segments"}
        score = Score(values=values, parts={"segments": float(found["segments"]), "clipped": float(peak > 1.0)})
        return dict.fromkeys(protocol_ids, score)

    def _rate(self, wave: Samples) -> dict[str, Array]:
        """The mean opinion scores as 0-d arrays; the networks are the dearest part of a clip's audio."""
        import numpy as np

        if self._nets is None:
            self._nets = load_nets()
        values, segments = self._nets.rate(wave, PARAMETERS)
        return {name: np.asarray(number, np.float64) for name, number in {**values, "segments": segments}.items()}


def load_nets() -> DnsmosNets:
    """The two networks of the installed package; raises :class:`DataError` where they are absent."""
    from bench.metrics.dnsmos_nets import DnsmosNets

    p835, p808 = shipped_path(P835), shipped_path(P808)
    if p835 is None or p808 is None:
        raise DataError("DNSMOS' networks were not found", "install them: pip install 'bench-avgen[demo]'")
    return DnsmosNets(p835, p808)
