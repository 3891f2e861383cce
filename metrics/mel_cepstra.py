"""Mel cepstra and their distance in dB, for ``mcd/dtw-13@1`` and the alignment of ``f0rmse/pyin@1``.

The logarithm of the mel amplitudes of a frame is written as ``c_0 + sum_d c_d cos(pi d (k + 1/2) / K)`` over
mel bands k. Then ``(10 / ln 10) sqrt(2 sum_d (c_d - c'_d)^2)`` is the root mean square, over the mel axis, of
the difference of two smoothed spectra in dB (R. Kubichek, "Mel-cepstral distance measure for objective speech
quality assessment", 1993). ``c_0``, the level, takes no part. All in float64; the settings are
:data:`bench.metrics.speech_declare.CEPSTRA`.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.api import Unscorable
from bench.media.mel_scale import slaney_filters

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bench.media import Media
    from bench.records import Samples

FEATURE = "audio:mel-cepstra-13@1"
DB_PER_CEPSTRUM = 10.0 / np.log(10.0) * np.sqrt(2.0)
_CHUNK = 2048  # frames at a time: bounds the memory of long recordings


def mel_cepstra(media: Media, settings: Mapping[str, Any]) -> NDArray[np.float64]:
    """Mel cepstra (T, 13) of a medium's audio by ``settings``; see :func:`cepstra`.

    Raises:
        Unscorable: ``no_audio_stream``, ``too_short``, ``nan``, ``silent_audio``.
    """
    from bench.metrics.speech_pairs import sounding

    found = media.feature(FEATURE, lambda: {"cepstra": cepstra(sounding(media, settings), settings)})
    return np.asarray(found["cepstra"], np.float64)


def cepstra(wave: Samples, settings: Mapping[str, Any]) -> NDArray[np.float64]:
    """Coefficients 1..13 of ``wave`` (N,), one row per ``hop`` samples: (1 + N // hop, 13).

    Mel powers are held at ``floor_db`` below the loudest of the clip, so that a gain moves ``c_0`` alone.
    Raises ``Unscorable``: ``silent_audio``.
    """
    powers = _mel_powers(wave.astype(np.float64), settings)
    loudest = float(powers.max())
    if loudest == 0.0:
        raise Unscorable("silent_audio", "the audio has no power in any mel band")
    log_amplitude = 0.5 * np.log(np.maximum(powers / loudest, 10.0 ** (settings["floor_db"] / 10.0)))
    return np.asarray(log_amplitude @ _cosines(settings["n_mels"], settings["coefficients"]))


def _mel_powers(wave: NDArray[np.float64], settings: Mapping[str, Any]) -> NDArray[np.float64]:
    """Mel powers (T, n_mels): periodic Hann window, frames centred on multiples of the hop over zero padding."""
    n_fft, hop = settings["n_fft"], settings["hop"]
    frames = np.lib.stride_tricks.sliding_window_view(np.pad(wave, n_fft // 2), n_fft)[::hop]
    window = 0.5 - 0.5 * np.cos(2.0 * np.pi * np.arange(n_fft) / n_fft)
    bank = slaney_filters(settings["sample_rate"], n_fft, settings["n_mels"])
    out = np.empty((len(frames), settings["n_mels"]))
    for start in range(0, len(frames), _CHUNK):
        spectrum = np.fft.rfft(frames[start : start + _CHUNK] * window, axis=1)
        out[start : start + _CHUNK] = (spectrum.real**2 + spectrum.imag**2) @ bank
    return out


@lru_cache(maxsize=4)
def _cosines(n_mels: int, coefficients: int) -> NDArray[np.float64]:
    """The matrix (n_mels, 13) that takes a log spectrum to c_1..c_13: 2/K cos(pi d (k + 1/2) / K)."""
    bands, order = np.arange(n_mels) + 0.5, np.arange(1, coefficients + 1)
    return np.asarray(2.0 / n_mels * np.cos(np.pi * np.outer(bands, order) / n_mels))
