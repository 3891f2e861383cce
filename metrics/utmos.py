"""UTMOS, predicted mean opinion score of naturalness (``utmos/strong-learner@1``).

One number per clip, on the scale of listeners' votes (about 1 to 5, not bounded), higher is better. T. Saeki et
al., "UTMOS: UTokyo-SaruLab system for VoiceMOS Challenge 2022", Interspeech 2022: the *strong learner*, a single
wav2vec 2.0 network, in the form of ``tarepan/SpeechMOS`` (no phoneme encoder, the vectors of one domain and one
judge frozen in the weight file). The network is :mod:`bench.metrics.utmos_net`.

Audio shorter than 0.1 s is ``too_short``. Silence gets the low score that the network gives it, and the part
``silent_audio`` is 1. The network was trained on clips of up to 10 s; longer ones are passed whole, and their
front end runs in pieces, so that memory grows with the frames (50 a second), not with the samples. Attention
compares every frame with every other: its time, not its memory, grows with the square of the length.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bench.api import Failure, Metric, Protocol, Reference, Score, Unscorable, WeightFile
from bench.metrics.declare import AUDIO_ONLY, MOS_UNIT, mean, need_modules, need_weights
from bench.networks import OFFICIAL, WeightSource

if TYPE_CHECKING:
    from bench.media import Media
    from bench.metrics.utmos_net import StrongLearner
    from bench.records import Array, Samples

WEIGHTS = WeightFile(
    "utmos22_strong_step7459_v1.pt",
    None,  # the release states no hash
    None,
    "MIT (derived from sarulab-speech/UTMOS22, MIT)",
    "github.com/tarepan/SpeechMOS, release v1.0.0",
    manifest="utmos_strong.json",
)

PARAMETERS: dict[str, Any] = {
    "sample_rate": 16000,
    "resampler": "torchaudio sinc_interp_hann, lowpass_filter_width=6, rolloff=0.99",
    "input_normalisation": None,
    "padding": "none; batch equal lengths only",
    "score": "2*mean+3",
    "min_samples": 1600,
    "score_scale": 2.0,
    "score_offset": 3.0,
    "domain": "id 0, frozen as domain_emb in the weight file",
    "judge": "id 288, frozen as judge_emb in the weight file",
    "network": {
        "convolutions": [[10, 5], [3, 2], [3, 2], [3, 2], [3, 2], [2, 2], [2, 2]],
        "conv_channels": 512,
        "width": 768,
        "heads": 12,
        "ffn": 3072,
        "layers": 12,
        "pos_conv": {"kernel": 128, "groups": 16},
        "emb": 128,
        "lstm": 512,
        "proj": 2048,
    },
}


class Utmos(Metric):
    """How natural the output's speech sounds to a network trained on listeners' votes."""

    name = "utmos"
    summary = "speech naturalness predicted by the UTMOS22 strong learner"
    licence = "Apache-2.0; the UTMOS weights: MIT"
    protocols = (
        Protocol(
            id="utmos/strong-learner@1",
            values=(mean("utmos", "UTMOS", "higher", MOS_UNIT),),
            judges=AUDIO_ONLY,
            needs=frozenset({"audio"}),
            status="needs-weights",
            parameters=PARAMETERS,
            source="tarepan/SpeechMOS: speechmos/utmos22/strong/model.py",
            default=True,
            weights=(WEIGHTS,),
            used_by=(
                "Shared latent representation, Table 4",
                "HiCoDiT Tables 1, 2",
                "Talker-T2AV Tables 1, 3",
            ),
            failures=("no_audio_stream", "too_short", "nan"),
            cost_hint_s=1.2,
            note="Published ground truth: LRS2 test 3.05, LRS3 test 3.57. Known bias by language and accent: "
            "do not compare across languages.",
        ),
    )

    def __init__(self, weights: WeightSource = OFFICIAL) -> None:
        self._weights = weights
        self._net: StrongLearner | None = None
        self._key = ""

    def missing(self, protocol_id: str) -> list[str]:
        """See :meth:`bench.api.Metric.missing`."""
        return need_modules("torch") + need_weights(WEIGHTS)

    def load(self, device: str) -> None:
        """See :meth:`bench.api.Metric.load`; float32 throughout, TF32 off."""
        import torch

        if torch.device(device).type == "cuda":
            torch.backends.cuda.matmul.allow_tf32 = False
            torch.backends.cudnn.allow_tf32 = False
        self._net = build(self._weights).to(device).settle()
        self._key = f"audio:utmos-{self._weights.identity(WEIGHTS)}@1"

    def score(
        self, protocol_ids: Sequence[str], output: Media, reference: Media, truth: Reference
    ) -> Mapping[str, Score | Failure]:
        """One number from the output's audio alone."""
        if self._net is None:
            self.load("cpu")
        found = output.feature(self._key, lambda: self._rate(output))
        score = Score({"utmos": float(found["utmos"])}, {"silent_audio": float(found["silent_audio"])})
        return dict.fromkeys(protocol_ids, score)

    def _rate(self, media: Media) -> dict[str, Array]:
        """The score and whether the audio is silent, as 0-d arrays."""
        import numpy as np

        wave = checked(media.audio(PARAMETERS["sample_rate"], "sinc"))
        net = self._net
        if net is None:
            raise RuntimeError("load() comes first")
        value = float(net.rate(wave[None])[0])
        if not np.isfinite(value):
            raise Unscorable("nan", "the network's score is not finite")
        return {"utmos": np.asarray(value, np.float64), "silent_audio": np.asarray(not wave.any(), np.uint8)}


def checked(wave: Samples) -> Samples:
    """``wave`` (N,) itself; raises ``Unscorable``: ``too_short``, ``nan``."""
    import numpy as np

    if wave.size < PARAMETERS["min_samples"]:
        raise Unscorable("too_short", f"{wave.size} samples at 16 kHz; at least {PARAMETERS['min_samples']} are needed")
    if not np.isfinite(wave).all():
        raise Unscorable("nan", "the audio has samples that are not finite")
    return wave


def build(weights: WeightSource) -> StrongLearner:
    """The network of the protocol with its weights; raises :class:`bench.api.DataError` where they are absent."""
    from bench.metrics.utmos_net import Sizes, StrongLearner

    return weights.fill(StrongLearner(Sizes.of(PARAMETERS)), WEIGHTS)
