"""The three resamplers that protocols name. Mono float32 in, mono float32 out.

``soxr_hq``
    libsoxr at quality HQ, cut or padded to ceil(n * out / in) samples (what
    ``librosa.resample`` does by default).
``sinc``
    windowed sinc: width 6, roll-off 0.99, squared-cosine (Hann) window, ceil(n * out / in)
    samples (the definition of ``torchaudio.functional.resample``).
``swr``
    libswresample with its defaults (what an ``ffmpeg -ar`` command uses), in float32.

Equal rates return the input unchanged, bit for bit.
"""

from __future__ import annotations

import math
from fractions import Fraction
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from bench.errors import UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bench.records import Samples

ResampleMethod = Literal["soxr_hq", "sinc", "swr"]
_ROWS = 1 << 15  # windows per matrix product: bounds the copy that the product makes


def resample(samples: Samples, rate_in: int, rate_out: int, method: ResampleMethod = "soxr_hq") -> Samples:
    """``samples`` (N,) from ``rate_in`` to ``rate_out`` Hz. Raises :class:`UsageError` for bad settings."""
    if method not in get_args(ResampleMethod):
        raise UsageError(f"unknown resampler {method!r}", "use soxr_hq, sinc or swr")
    if rate_in <= 0 or rate_out <= 0:
        raise UsageError(f"sample rates must be positive, not {rate_in} and {rate_out}", "give rates in Hz")
    signal = np.ascontiguousarray(samples, dtype=np.float32)
    if signal.ndim != 1:
        raise UsageError(f"audio must be mono (N,), not {signal.shape}", "mix the channels first")
    if rate_in == rate_out or signal.size == 0:
        return signal
    if method == "soxr_hq":
        return _soxr(signal, rate_in, rate_out)
    if method == "swr":
        return _swr(signal, rate_in, rate_out)
    return sinc(signal, rate_in, rate_out)


def _soxr(signal: Samples, rate_in: int, rate_out: int) -> Samples:
    import soxr

    # The ratio is a float here, as in librosa, so that lengths agree in every case.
    wanted = math.ceil(signal.size * (float(rate_out) / rate_in))
    out = np.asarray(soxr.resample(signal, rate_in, rate_out, quality="HQ"), dtype=np.float32)
    return out[:wanted] if out.size >= wanted else np.pad(out, (0, wanted - out.size))


def _swr(signal: Samples, rate_in: int, rate_out: int) -> Samples:
    import av

    frame = av.AudioFrame.from_ndarray(signal[None, :], format="fltp", layout="mono")
    frame.sample_rate = rate_in
    resampler = av.AudioResampler(format="fltp", layout="mono", rate=rate_out)
    parts = [part.to_ndarray()[0] for part in [*resampler.resample(frame), *resampler.resample(None)]]
    return np.concatenate([np.zeros(0, np.float32), *parts]).astype(np.float32, copy=False)


def sinc(
    signal: NDArray[Any], rate_in: int, rate_out: int, lowpass_filter_width: int = 6, rolloff: float = 0.99
) -> Samples:
    """Windowed-sinc resampling of the last axis, float32; see :func:`sinc_kernel`."""
    ratio = Fraction(rate_out, rate_in)
    new, old = ratio.numerator, ratio.denominator
    flat = np.asarray(signal, dtype=np.float32).reshape(-1, signal.shape[-1])
    kernel, width = sinc_kernel(old, new, lowpass_filter_width, rolloff)
    length = math.ceil(new * flat.shape[1] / old)
    rows = [_convolve(np.pad(row, (width, width + old)), kernel, old)[:length] for row in flat]
    return np.stack(rows).reshape(*signal.shape[:-1], length)


def _convolve(padded: Samples, kernel: Samples, stride: int) -> Samples:
    """Correlate with every phase of ``kernel`` (K, n) at steps of ``stride``; phases interleaved."""
    windows = sliding_window_view(padded, kernel.shape[0])[::stride]  # (L, K), a view
    parts = [windows[i : i + _ROWS] @ kernel for i in range(0, len(windows), _ROWS)]
    return np.concatenate(parts).reshape(-1)


@lru_cache(maxsize=16)
def sinc_kernel(old: int, new: int, lowpass_filter_width: int, rolloff: float) -> tuple[Samples, int]:
    """The kernel float32 (2 * width + old, new), one column per output phase, and ``width``.

    ``old`` and ``new`` are the rates without their common divisor. With the cut-off
    b = rolloff * min(old, new), tap j of phase i is at t = (j/old - i/new) * b, clamped to the
    filter's width L, and weighs (b/old) * cos^2(pi t / 2L) * sinc(t); computed in float64.
    """
    cutoff = min(old, new) * rolloff
    width = math.ceil(lowpass_filter_width * old / cutoff)
    taps = np.arange(-width, width + old, dtype=np.float64)[:, None] / old
    phases = np.arange(new, dtype=np.float64)[None, :] / new
    t = np.clip((taps - phases) * cutoff, -lowpass_filter_width, lowpass_filter_width)
    window = np.cos(np.pi * t / (2 * lowpass_filter_width)) ** 2
    kernel = (cutoff / old) * window * np.sinc(t)
    return kernel.astype(np.float32), width
