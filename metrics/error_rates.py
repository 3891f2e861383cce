"""What all word and character error rates share, whichever recogniser heard the speech.

Values of a protocol, the samples that a recogniser gets, and the score of one hypothesis. Definition
and rules: specification of metrics, section 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from bench.api import Reference, Score, Unscorable, Value
from bench.metrics.declare import mean, rate

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from bench.media import Media

#: Denominator of a family's corpus rate: its key in the parts of a score.
UNITS: Mapping[str, str] = {"wer": "ref_words", "cer": "ref_chars"}


def rate_values(family: str) -> tuple[Value, Value]:
    """The corpus rate of ``wer`` or ``cer``, and the mean of the clips' own rates, ``macro``."""
    label = family.upper()
    corpus = rate(family, label, "edits", UNITS[family])
    macro = mean("macro", f"{label} clip mean", "lower", corpus.unit, low=0.0, headline=False, scale=100.0, digits=2)
    return corpus, macro


def expected_text(truth: Reference) -> str:
    """The normalised transcript, not empty. Raises ``missing_reference`` or ``empty_reference``."""
    from bench.metrics.text_norm import normalise_stripped

    if truth.transcript is None:
        raise Unscorable("missing_reference", "the clip has no transcript")
    expected = normalise_stripped(truth.transcript)
    if not expected:
        raise Unscorable("empty_reference", "the transcript is empty after normalisation")
    return expected


def spoken_pcm(output: Media, audio: Mapping[str, Any], min_seconds: float) -> NDArray[np.int16]:
    """The output's audio (N,) as the declaration's ``audio`` asks. Raises ``too_short`` or ``nan``."""
    import numpy as np

    from bench.metrics.recognise import to_pcm

    sample_rate = int(audio["sample_rate"])
    samples = output.audio(sample_rate, "swr")
    if samples.size < min_seconds * sample_rate:
        shown = f"{samples.size} samples at {sample_rate} Hz; at least {min_seconds} s are needed"
        raise Unscorable("too_short", shown)
    if not np.isfinite(samples).all():
        raise Unscorable("nan", "the audio has samples that are not finite")
    return to_pcm(samples)


def rate_score(family: str, transcript: str, expected: str, heard: str, silent: bool) -> Score:
    """The score of one hypothesis ``heard``; ``expected`` is the normalised transcript, not empty."""
    from bench.metrics.edits import char_edits, word_edits
    from bench.metrics.text_norm import normalise_stripped

    norm = normalise_stripped(heard)
    edits = (char_edits if family == "cer" else word_edits)(expected, norm)
    return Score(
        values={family: edits.rate, "macro": edits.rate},
        parts={**edits.parts(UNITS[family]), "silent_audio": float(silent)},
        text={"reference": transcript, "hypothesis": heard, "norm_reference": expected, "norm_hypothesis": norm},
    )
