"""SECS, speaker embedding cosine similarity (``secs/resemblyzer@1``).

``SECS = cos(e_gen, e_ref)`` with Resemblyzer's utterance embeddings of the output's audio and of the
clip's ground-truth audio. Range [0, 1] (embeddings have no negative parts), higher is better; papers
print it in per cent. Source: ``resemble-ai/Resemblyzer``; its weights come with the package.

The embedding of a medium is kept under the feature key ``audio:resemblyzer-embedding@1``, so that the ground
truth's is computed once. Audio of zeros, or without voice, is ``silent_audio``; less than 30 ms is
``too_short``; less than 1.6 s is one window filled up with zeros, and scored.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bench.api import DataError, Failure, Metric, Protocol, Reference, Score, Unscorable
from bench.metrics.declare import AUDIO_ONLY, mean, need_modules, shipped, shipped_path

if TYPE_CHECKING:
    from bench.media import Media
    from bench.metrics.speaker_net import VoiceEncoder
    from bench.records import Array

FEATURE = "audio:resemblyzer-embedding@1"

WEIGHTS = shipped(
    "resemblyzer/pretrained.pt",
    "39373b86598fa3da9fcddee6142382efe09777e8d37dc9c0561f41f0070f134e",
    17090379,
    "Apache-2.0",
    "resemble-ai/Resemblyzer",
    "Resemblyzer",
)

PARAMETERS: dict[str, Any] = {
    "sample_rate": 16000,
    "resampler": "librosa soxr_hq (librosa>=0.10)",
    "volume_dbfs": -30,
    "volume_increase_only": True,
    "vad": {
        "engine": "webrtcvad",
        "mode": 3,
        "window_ms": 30,
        "moving_average": 8,
        "max_silence_windows": 6,
        "dilation": 7,
    },
    "mel": {
        "n_fft": 400,
        "hop": 160,
        "n_mels": 40,
        "power": 2,
        "window": "hann",
        "center": True,
        "pad_mode": "constant",
        "scale": "slaney",
        "norm": "slaney",
        "log": False,
    },
    "partial_frames": 160,
    "rate": 1.3,
    "frame_step": 77,
    "min_coverage": 0.75,
    "reference": "ground-truth audio of the clip",
}


class Secs(Metric):
    """Whether the output sounds like the speaker of the ground truth."""

    name = "secs"
    summary = "speaker similarity: cosine of Resemblyzer embeddings of output and ground truth"
    licence = "Apache-2.0; Resemblyzer and its weights: Apache-2.0"
    protocols = (
        Protocol(
            id="secs/resemblyzer@1",
            values=(
                mean("secs", "SECS", "higher", "cosine 0..1 (72% = 0.72)", low=0.0, high=1.0, scale=100.0, digits=2),
            ),
            judges=AUDIO_ONLY,
            needs=frozenset({"audio", "reference_audio"}),
            status="offline-canonical",
            parameters=PARAMETERS,
            source="resemble-ai/Resemblyzer: resemblyzer/audio.py, voice_encoder.py, hparams.py",
            default=True,
            weights=(WEIGHTS,),
            used_by=("Shared latent representation, Table 4 (72%)",),
            failures=("no_audio_stream", "silent_audio", "too_short", "nan"),
            cost_hint_s=0.02,
        ),
    )

    def __init__(self) -> None:
        self._encoder: VoiceEncoder | None = None

    def missing(self, protocol_id: str) -> list[str]:
        lines = need_modules("torch", "webrtcvad", "pkg_resources", "scipy")
        if shipped_path(WEIGHTS) is None:
            lines.append(f"{WEIGHTS.name} was not found: pip install Resemblyzer==0.1.4")
        return lines

    def load(self, device: str) -> None:
        self._encoder = load_encoder(device)

    def score(
        self, protocol_ids: Sequence[str], output: Media, reference: Media, truth: Reference
    ) -> Mapping[str, Score | Failure]:
        ours = self._embedding(output)
        try:
            theirs = self._embedding(reference)
        except Unscorable as error:
            raise Unscorable(error.kind, f"ground truth: {error.detail}") from error
        return dict.fromkeys(protocol_ids, Score(values={"secs": cosine(ours, theirs)}))

    def _embedding(self, media: Media) -> Array:
        return media.feature(FEATURE, lambda: self._features(media))["embedding"]

    def _features(self, media: Media) -> Mapping[str, Array]:
        from bench.metrics.speaker import Recipe, embed, prepare

        if self._encoder is None:
            self._encoder = load_encoder("cpu")
        recipe = Recipe.of(PARAMETERS)
        wave = prepare(media.audio(recipe.rate, "soxr_hq"), recipe)
        return {"embedding": embed(wave, self._encoder, recipe).embedding}


def load_encoder(device: str) -> VoiceEncoder:
    """The network with the weights of the installed package; raises :class:`DataError` where they are absent."""
    from bench.metrics.speaker_net import load_voice_encoder

    path = shipped_path(WEIGHTS)
    if path is None:
        raise DataError(f"{WEIGHTS.name} was not found", "install it: pip install Resemblyzer==0.1.4")
    return load_voice_encoder(path, WEIGHTS, device)


def cosine(a: Array, b: Array) -> float:
    """Cosine of two embeddings (D,), in float64, held to [0, 1] against rounding."""
    import numpy as np

    x, y = np.asarray(a, np.float64), np.asarray(b, np.float64)
    return float(np.clip(x @ y / np.sqrt((x @ x) * (y @ y)), 0.0, 1.0))
