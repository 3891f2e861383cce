"""Text to speech as the official script runs it: text-to-vec, then the synthesizer, in the voice of a prompt.

Facts: specs/hierspeech.md, section 5.2 (``sh-lee-prml/HierSpeechpp: inference.py``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from bench.systems.hierspeech.pitch import clip_pitch
from bench.systems.hierspeech.synthesizer import blend
from bench.systems.hierspeech.ttv import TTVSettings

if TYPE_CHECKING:
    from bench.systems.hierspeech.sequence import Noise
    from bench.systems.hierspeech.synthesizer import Synthesizer
    from bench.systems.hierspeech.ttv import TextToVec

NOISE_SCALE = 0.333  # of the synthesizer: robust; 0.667 is expressive


@dataclass(frozen=True, slots=True)
class Style:
    """One voice as both networks take it: ``(1, gin, 1)`` each. Keep it per prompt and denoise ratio."""

    ttv: torch.Tensor
    synthesizer: torch.Tensor


@dataclass(frozen=True, slots=True)
class Said:
    """A text's features ``w2v`` (1, C, T) at 50 Hz, log(F0 + 1) ``pitch`` (1, 1, 4 T), and ``wave`` (1, 1, 320 T)."""

    w2v: torch.Tensor
    pitch: torch.Tensor
    wave: torch.Tensor


@torch.no_grad()
def style_of(ttv: TextToVec, synthesizer: Synthesizer, mel: torch.Tensor, denoise_ratio: float = 0.0) -> Style:
    """The voice of a prompt's mel rows (2, n_mels, T), between as it is (ratio 0) and denoised (1).

    Raises:
        ValueError: not two rows.
    """
    own = ttv.blended_style(mel, denoise_ratio)
    if not denoise_ratio:  # the second row would count for nothing
        return Style(own, synthesizer.style(mel[:1]))
    return Style(own, blend(synthesizer.style(mel), denoise_ratio))


@torch.no_grad()
def say(
    ttv: TextToVec,
    synthesizer: Synthesizer,
    tokens: torch.Tensor,
    style: Style,
    noise: Noise,
    settings: TTVSettings | None = None,
    noise_scale: float = NOISE_SCALE,
) -> Said:
    """``tokens`` (1, Tx), with blanks, spoken at 16 kHz.

    ``noise`` is asked for (1, 2, Tx), (1, inter, T) of text-to-vec and (1, inter, T) of the synthesizer, in that order.
    Predicted pitch below 55 Hz counts as unvoiced.

    Raises:
        DataError: the networks' weights give no durations.
    """
    lengths = torch.full((1,), tokens.shape[1], device=tokens.device)
    made = ttv.infer(tokens, lengths, style.ttv, [noise], settings)
    pitch = clip_pitch(made.pitch)
    wave = synthesizer.speak(made.w2v, pitch, made.lengths, style.synthesizer, noise, noise_scale)[0]
    return Said(made.w2v, pitch, wave[None, None])


@torch.no_grad()
def convert(
    synthesizer: Synthesizer,
    features: torch.Tensor,
    pitch: torch.Tensor,
    style: torch.Tensor,
    noise: Noise,
    noise_scale: float = NOISE_SCALE,
) -> torch.Tensor:
    """A voice conversion's waveform (1, 1, 320 T).

    ``features`` (1, C, T) are those of the padded source, ``pitch`` (1, 1, 4 T) its log-F0 in the target's range,
    ``style`` (1, gin, 1) the target's voice in the synthesizer. Source: ``inference_vc.py``.
    """
    lengths = torch.full((1,), features.shape[-1], device=features.device)
    return synthesizer.speak(features, pitch, lengths, style, noise, noise_scale)[0][None, None]
