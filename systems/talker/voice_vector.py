"""The speaker condition of the tiny configuration: 64 numbers of a voice's spectrum, without a network (14.3).

Mean and deviation over time of the standardised log-mel, 160 numbers, go through a fixed Gaussian matrix and are scaled
to one norm. Only the speech counts: silence around it would say how long a clip is, not who speaks.
"""

from __future__ import annotations

from functools import lru_cache

import torch

from bench.api import Unscorable

SIZE = 64
NORM = 8.0
SEED = 0  # of the matrix
QUIET_NATS = 3.5  # a frame is speech if its amplitude is at most so far below the loudest one's: about 30 dB
_LEAST_FRAMES = 4


def voice_vector(
    mel: torch.Tensor, mean: torch.Tensor, deviation: torch.Tensor, size: int = SIZE, norm: float = NORM
) -> torch.Tensor:
    """``(size,)`` float32 of a log-mel ``(bands, T)`` in natural logarithms, by its speech.

    ``mean`` and ``deviation`` ``(bands,)`` are those of the training set (the audio VAE has them).

    Raises:
        Unscorable: ``too_short`` for fewer than four frames of speech.
    """
    first, after = speech_span(mel)
    if after - first < _LEAST_FRAMES:
        raise Unscorable("too_short", f"{after - first} frames of speech in the voice reference")
    spoken = mel[:, first:after].float().cpu()
    mean, deviation = mean.flatten().float().cpu(), deviation.flatten().float().cpu()
    told = torch.cat([(spoken.mean(1) - mean) / deviation, spoken.std(1, unbiased=False) / deviation])
    vector = told @ _projection(len(told), size)
    scaled: torch.Tensor = vector * (norm / vector.norm().clamp_min(1e-6))
    return scaled


def speech_span(mel: torch.Tensor) -> tuple[int, int]:
    """First frame of the speech in a log-mel ``(bands, T)``, and the one after its last; ``(0, 0)`` without a frame.

    Speech begins and ends with frames that are less than :data:`QUIET_NATS` below the loudest one.
    """
    if mel.shape[1] == 0:
        return 0, 0
    loudness = torch.logsumexp(mel.float(), 0)  # (T,), up to a constant
    heard = torch.nonzero(loudness >= loudness.max() - QUIET_NATS).flatten()
    return int(heard[0]), int(heard[-1]) + 1


@lru_cache(maxsize=4)
def _projection(inputs: int, size: int) -> torch.Tensor:
    """``(inputs, size)``, the same on every machine: torch's CPU generator is specified."""
    return torch.randn(inputs, size, generator=torch.Generator().manual_seed(SEED))
