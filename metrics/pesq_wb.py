"""PESQ, perceptual evaluation of speech quality, wide band (``pesq/wb@1``), MOS-LQO, higher is better.

ITU-T P.862.2 by the package ``pesq``, at 16 kHz. It finds delays of whole utterances itself, but knows nothing of
speech that is faster or slower: lengths that differ by more than 40 ms are a ``length_mismatch``, else the longer
one is cut. P.862's code counts utterances (0.2 s of speech and 0.2 s of pause at least) into a table of 50 without
looking at its end, so clips beyond 20 s, which might overrun it and kill the worker, are ``model_error``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bench.api import Failure, Metric, Protocol, Reference, Score, Unscorable
from bench.metrics.declare import AUDIO_ONLY, mean, need_modules
from bench.metrics.speech_declare import ALIGNED, ALIGNED_NOTE, PAIR_FAILURES, PAIR_NEEDS

if TYPE_CHECKING:
    from bench.media import Media
    from bench.records import Samples

PARAMETERS: dict[str, Any] = {
    "package": "pesq",
    "mode": "wb",
    "sample_rate": 16000,
    "needs": "time-aligned reference",
    **ALIGNED,
    "max_seconds": 20,
}

#: The mapping of P.862.2 to MOS-LQO, 0.999 + 4 / (1 + exp(...)), lies between these.
_LOWEST, _HIGHEST = 0.999, 4.999


class Pesq(Metric):
    """How listeners would rate the output as a degraded copy of the ground truth."""

    name = "pesq"
    summary = "perceptual speech quality (P.862.2, wide band) against the ground truth"
    licence = "Apache-2.0; pesq: MIT, with code of ITU-T P.862 under ITU's terms"
    protocols = (
        Protocol(
            id="pesq/wb@1",
            values=(mean("pesq", "PESQ", "higher", "MOS-LQO", low=_LOWEST, high=_HIGHEST),),
            judges=AUDIO_ONLY,
            needs=PAIR_NEEDS,
            status="offline-canonical",
            parameters=PARAMETERS,
            source="package pesq: pesq/pesqmod.c (ITU-T P.862.2)",
            failures=(*PAIR_FAILURES, "length_mismatch", "model_error"),
            cost_hint_s=0.3,
            note=ALIGNED_NOTE,
        ),
    )

    def missing(self, protocol_id: str) -> list[str]:
        """See :meth:`bench.api.Metric.missing`."""
        return need_modules("pesq", extra="speech")

    def score(
        self, protocol_ids: Sequence[str], output: Media, reference: Media, truth: Reference
    ) -> Mapping[str, Score | Failure]:
        """One number per clip from both signals."""
        from bench.metrics.speech_pairs import aligned

        pair = aligned(output, reference, truth, PARAMETERS)
        score = Score({"pesq": rate(pair.reference, pair.generated)}, pair.parts())
        return dict.fromkeys(protocol_ids, score)


def rate(reference: Samples, generated: Samples) -> float:
    """MOS-LQO of signals (N,) at 16 kHz.

    Raises:
        Unscorable: ``too_short``, ``silent_audio`` where P.862 finds no utterance, ``model_error``, ``nan``.
    """
    import math

    from pesq import BufferTooShortError, NoUtterancesError, PesqError, pesq

    seconds = len(reference) / PARAMETERS["sample_rate"]
    if seconds > PARAMETERS["max_seconds"]:
        raise Unscorable("model_error", f"{seconds:.1f} s; the package is safe up to {PARAMETERS['max_seconds']} s")
    try:
        value = float(pesq(PARAMETERS["sample_rate"], reference, generated, PARAMETERS["mode"]))
    except BufferTooShortError as error:
        raise Unscorable("too_short", f"{seconds:.3f} s; P.862 needs a quarter of a second") from error
    except NoUtterancesError as error:
        raise Unscorable("silent_audio", "P.862 finds no utterance") from error
    except PesqError as error:
        raise Unscorable("model_error", f"pesq: {error}") from error
    if not math.isfinite(value):
        raise Unscorable("nan", "PESQ is not finite")
    return value
