"""F0 RMSE, error of the fundamental frequency (``f0rmse/pyin@1``), Hz, lower is better.

The fundamental frequency of both signals by pYIN (M. Mauch, S. Dixon, ICASSP 2014; ``librosa.pyin``), frames
aligned by dynamic time warping of their mel cepstra as in ``mcd/dtw-13@1``, root mean square difference over the
cells of the path whose frames are voiced in both. Audio without a voiced frame is ``silent_audio``; voiced
frames that never meet leave nothing to average and are ``nan``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bench.api import Failure, Metric, Protocol, Reference, Score, Unscorable
from bench.metrics.declare import AUDIO_ONLY, mean, need_modules
from bench.metrics.speech_declare import CEPSTRA, DTW, PAIR_FAILURES, PAIR_NEEDS

if TYPE_CHECKING:
    from bench.media import Media
    from bench.records import Array

FEATURE = "audio:pyin-f0@1"

PARAMETERS: dict[str, Any] = {
    "f0": "librosa pyin, fmin 65, fmax 500, hop 160, 16 kHz",
    "alignment": "DTW on mel cepstra",
    "frames": "both voiced",
    "sample_rate": 16000,
    "resampler": "soxr_hq",
    "pyin": {
        "fmin": 65.0,
        "fmax": 500.0,
        "hop_length": 160,
        "frame_length": 2048,
        "n_thresholds": 100,
        "beta_parameters": [2, 18],
        "boltzmann_parameter": 2,
        "resolution": 0.1,
        "max_transition_rate": 35.92,
        "switch_prob": 0.01,
        "no_trough_prob": 0.01,
        "center": True,
        "pad_mode": "constant",
    },
    "analysis": CEPSTRA,
    "dtw": DTW,
}


class F0Rmse(Metric):
    """Whether the output's melody is the ground truth's."""

    name = "f0rmse"
    summary = "error of the fundamental frequency on aligned voiced frames"
    licence = "Apache-2.0; librosa: ISC"
    protocols = (
        Protocol(
            id="f0rmse/pyin@1",
            values=(mean("f0rmse", "F0-RMSE", "lower", "Hz", low=0.0),),
            judges=AUDIO_ONLY,
            needs=PAIR_NEEDS,
            status="offline-real",
            parameters=PARAMETERS,
            source="formula; package librosa: pyin",
            failures=PAIR_FAILURES,
            cost_hint_s=1.5,
        ),
    )

    def missing(self, protocol_id: str) -> list[str]:
        """See :meth:`bench.api.Metric.missing`."""
        return need_modules("librosa", extra="speech")

    def score(
        self, protocol_ids: Sequence[str], output: Media, reference: Media, truth: Reference
    ) -> Mapping[str, Score | Failure]:
        """The error over the cells of the path that are voiced on both sides."""
        import numpy as np

        from bench.metrics.dtw import align
        from bench.metrics.mel_cepstra import mel_cepstra
        from bench.metrics.speech_pairs import of_reference

        ours, our_cepstra = voiced_f0(output), mel_cepstra(output, CEPSTRA)
        with of_reference(truth):
            theirs, their_cepstra = voiced_f0(reference), mel_cepstra(reference, CEPSTRA)
        path = align(our_cepstra, their_cepstra)
        generated, expected = ours[path.first], theirs[path.second]
        both = (generated > 0) & (expected > 0)
        if not both.any():
            raise Unscorable("nan", "no aligned frame is voiced on both sides")
        value = float(np.sqrt(np.mean((generated[both] - expected[both]) ** 2)))
        counts = {"path": len(both), "path_voiced": int(both.sum()), "n_voiced": int((ours > 0).sum())}
        counts["n_voiced_reference"] = int((theirs > 0).sum())
        return dict.fromkeys(protocol_ids, Score({"f0rmse": value}, {key: float(n) for key, n in counts.items()}))


def voiced_f0(media: Media) -> Array:
    """Fundamental frequency (T,) in Hz, float64, 0 where a frame is not voiced.

    Raises:
        Unscorable: ``silent_audio`` where no frame is voiced; what the audio itself fails with.
    """
    found = media.feature(FEATURE, lambda: {"f0": _pyin(media)})["f0"]
    if not found.any():
        raise Unscorable("silent_audio", "no frame of the audio is voiced")
    return found


def _pyin(media: Media) -> Array:
    import librosa
    import numpy as np

    from bench.metrics.speech_pairs import sounding

    settings = {**PARAMETERS["pyin"], "beta_parameters": tuple(PARAMETERS["pyin"]["beta_parameters"])}
    f0, _, _ = librosa.pyin(sounding(media, PARAMETERS), sr=PARAMETERS["sample_rate"], fill_na=0.0, **settings)
    return np.asarray(f0, np.float64)
