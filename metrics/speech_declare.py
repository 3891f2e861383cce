"""What the declarations of metrics on pairs of speech signals share; imports nothing heavy."""

from __future__ import annotations

from typing import Any

PAIR_NEEDS = frozenset({"audio", "reference_audio"})
PAIR_FAILURES = ("no_audio_stream", "missing_reference", "silent_audio", "too_short", "nan")

#: For metrics that compare sample by sample.
ALIGNED: dict[str, Any] = {
    "max_length_difference_ms": 40,
    "unequal_lengths": "cut to the shorter; length_mismatch beyond max_length_difference_ms",
    "resampler": "soxr_hq",
}
ALIGNED_NOTE = (
    "The signals are compared sample by sample. Generated speech is rarely aligned that well: read with care, "
    "and not at all where the system sets its own timing."
)

#: The analysis of mcd/dtw-13@1. Published MCD values rarely state theirs: compare within this id alone.
CEPSTRA: dict[str, Any] = {
    "sample_rate": 16000,
    "resampler": "soxr_hq",
    "window": "hann, periodic",
    "n_fft": 400,
    "hop": 160,
    "center": True,
    "pad_mode": "constant",
    "n_mels": 40,
    "band_hz": [0, 8000],
    "scale": "slaney",
    "norm": "slaney",
    "floor_db": -80,
    "floor_reference": "greatest mel power of the clip",
    "log": "natural, of the mel amplitude (half the logarithm of the power)",
    "dct": "type II, orthonormal, times sqrt(2/n_mels): c_d = 2/K sum_k log a_k cos(pi d (k+1/2)/K)",
    "coefficients": 13,
    "lifter": None,
    "silence": "kept",
    "precision": "float64",
}
DTW: dict[str, Any] = {
    "distance": "Euclidean, of coefficients 1..13",
    "steps": [[1, 1], [1, 0], [0, 1]],
    "step_weights": [1, 1, 1],
    "ties": "the step that stands first in steps (of output, of reference)",
    "ends": "both bound",
    "band": None,
}
