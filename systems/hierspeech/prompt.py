"""A reference clip as the style encoders take it: two mel rows, as it is and denoised.

Facts: specs/hierspeech.md, section 3 (``sh-lee-prml/HierSpeechpp: inference.py``).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from bench.systems.hierspeech.mel import DEFAULT, MelConfig, log_mel
from bench.systems.hierspeech.waveform import PROMPT_STEP, pad_right

#: Padded audio (1, N) to its denoised form (1, N).
Denoise = Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True, slots=True)
class Prompt:
    """``rows`` (2, L): the clip and its denoised form; ``mel`` (2, n_mels, T) of both; ``peak`` of the clip."""

    rows: torch.Tensor
    mel: torch.Tensor
    peak: float


def prompt_rows(audio: torch.Tensor, denoise: Denoise | None = None, config: MelConfig = DEFAULT) -> Prompt:
    """``audio`` (C, L) at 16 kHz, of which the first channel counts, as a :class:`Prompt`.

    The denoiser gets the clip padded to a multiple of 1600 samples (a full 1600 more where it is one); both rows are
    cut back to L. Without ``denoise`` (denoise_ratio 0) the second row is a copy.

    Raises:
        DataError: the clip is too short for a mel frame.
    """
    first = audio[:1]
    length = first.shape[-1]
    second = first if denoise is None else denoise(pad_right(first, PROMPT_STEP))[..., :length]
    rows = torch.cat([first, second])
    return Prompt(rows, log_mel(rows, config), float(first.abs().max()) if length else 0.0)


def repeated(audio: torch.Tensor, shortest: int = 48000, times: int = 5) -> torch.Tensor:
    """``audio`` (C, L), ``times`` in a row where it is shorter than ``shortest`` samples.

    "Style prompt replication" of the public demo (``camenduru/HierSpeech_TTS-hf: app.py``); helps below 3 s.
    """
    return audio.repeat(1, times) if audio.shape[-1] < shortest else audio
