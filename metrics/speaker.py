"""Resemblyzer's utterance embedding: preparation of the wave, partial windows, batched network.

After ``resemble-ai/Resemblyzer: resemblyzer/audio.py, voice_encoder.py``: raise the volume to -30 dBFS,
cut long silences by WebRTC's voice activity detection, embed overlapping windows of 1.6 s, average.
All waves are float32 mono (N,) at 16 kHz. No parameter is written here: they come from the protocol.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.api import Unscorable
from bench.metrics.mel import mel_power

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bench.metrics.speaker_net import VoiceEncoder
    from bench.records import Samples

_FULL_SCALE = 32767


@dataclass(frozen=True, slots=True)
class Recipe:
    """The settings of the embedding, read from the parameters of a protocol."""

    rate: int
    volume_dbfs: float
    vad_mode: int
    vad_window: int  # samples
    vad_average: int  # windows
    vad_dilation: int  # windows
    n_fft: int
    hop: int
    n_mels: int
    window: int  # mel frames per partial window
    step: int  # mel frames between partial windows
    min_coverage: float

    @classmethod
    def of(cls, parameters: Mapping[str, Any]) -> Recipe:
        """The recipe of ``secs/resemblyzer@1`` and its like."""
        rate, vad, mel = int(parameters["sample_rate"]), parameters["vad"], parameters["mel"]
        return cls(
            rate=rate,
            volume_dbfs=parameters["volume_dbfs"],
            vad_mode=vad["mode"],
            vad_window=rate * vad["window_ms"] // 1000,
            vad_average=vad["moving_average"],
            vad_dilation=vad["dilation"],
            n_fft=mel["n_fft"],
            hop=mel["hop"],
            n_mels=mel["n_mels"],
            window=parameters["partial_frames"],
            step=parameters["frame_step"],
            min_coverage=parameters["min_coverage"],
        )


@dataclass(frozen=True, slots=True)
class Embedded:
    """An utterance: ``mel`` (T, n_mels), ``starts`` in mel frames, ``partials`` (P, D), ``embedding`` (D,)."""

    mel: NDArray[np.float32]
    starts: tuple[int, ...]
    partials: NDArray[np.float32]
    embedding: NDArray[np.float32]


def prepare(wave: Samples, recipe: Recipe) -> Samples:
    """The wave without long silences, at the volume of the recipe; raises ``Unscorable`` where nothing is left."""
    if wave.size < recipe.vad_window:
        raise Unscorable("too_short", f"{wave.size} samples; one window of {recipe.vad_window} is needed")
    if not np.isfinite(wave).all():
        raise Unscorable("nan", "the audio has samples that are not finite")
    voiced = trim_silences(raise_volume(wave, recipe.volume_dbfs), recipe)
    if not voiced.size:
        raise Unscorable("silent_audio", "no voice was found in the audio")
    return voiced


def raise_volume(wave: Samples, target_dbfs: float) -> Samples:
    """``wave`` with its level raised to ``target_dbfs`` where it lies below; never lowered."""
    rms = float(np.sqrt(np.mean((wave * np.float32(_FULL_SCALE)) ** 2)))
    if rms == 0.0:  # the level would be -inf and the gain infinite
        raise Unscorable("silent_audio", "the audio is zero throughout")
    gain_db = target_dbfs - 20.0 * np.log10(rms / _FULL_SCALE)
    return wave if gain_db < 0 else wave * np.float32(10.0 ** (gain_db / 20.0))


def trim_silences(wave: Samples, recipe: Recipe) -> Samples:
    """The voiced windows of ``wave`` and what lies within some windows of them."""
    from scipy.ndimage import binary_dilation

    wave = wave[: len(wave) - len(wave) % recipe.vad_window]
    width = recipe.vad_average
    padded = np.pad(voice_flags(wave, recipe).astype(np.int64), ((width - 1) // 2, width // 2))
    sums = np.concatenate([[0], np.cumsum(padded)])
    smooth = np.round((sums[width:] - sums[:-width]) / width).astype(bool)  # half rounds to even: 4 of 8 is silence
    kept = binary_dilation(smooth, np.ones(recipe.vad_dilation, bool))
    result: Samples = wave[np.repeat(kept, recipe.vad_window)]
    return result


def voice_flags(wave: Samples, recipe: Recipe) -> NDArray[np.bool_]:
    """WebRTC's decision for each whole window of ``wave``."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # webrtcvad imports pkg_resources, which warns of its own end
        import webrtcvad

    # A gain can push a peak beyond full scale; the original lets 16 bits wrap around there, and so do we.
    pcm = np.round(wave * np.float32(_FULL_SCALE)).astype(np.int32).astype(np.int16).tobytes()
    detector, size = webrtcvad.Vad(recipe.vad_mode), 2 * recipe.vad_window
    flags = [detector.is_speech(pcm[i : i + size], recipe.rate) for i in range(0, len(pcm), size)]
    return np.array(flags, bool)


def partial_starts(n_samples: int, recipe: Recipe) -> tuple[int, ...]:
    """First mel frame of each partial window of a wave of ``n_samples``.

    The last window is dropped where it would be filled by less than ``min_coverage`` and is not the only one.
    """
    n_frames = -(-(n_samples + 1) // recipe.hop)
    starts = list(range(0, max(1, n_frames - recipe.window + recipe.step + 1), recipe.step))
    filled = n_samples - starts[-1] * recipe.hop
    if len(starts) > 1 and filled < recipe.min_coverage * recipe.window * recipe.hop:
        starts.pop()
    return tuple(starts)


def embed(wave: Samples, encoder: VoiceEncoder, recipe: Recipe) -> Embedded:
    """The embedding of a prepared wave; its partial windows go through the network as one batch."""
    starts = partial_starts(len(wave), recipe)
    end = (starts[-1] + recipe.window) * recipe.hop
    padded = np.pad(wave, (0, max(0, end - len(wave))))
    mel = mel_power(padded, recipe.rate, recipe.n_fft, recipe.hop, recipe.n_mels)
    partials = encoder.embed(np.stack([mel[start : start + recipe.window] for start in starts]))
    total = partials.mean(axis=0)
    norm = float(np.linalg.norm(total))
    if not np.isfinite(norm) or norm == 0.0:
        raise Unscorable("nan", "the speaker embedding has no direction")
    return Embedded(mel, starts, partials, total / np.float32(norm))
