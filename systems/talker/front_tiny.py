"""What stands around the backbone in the tiny configuration: MelVAE, voice vector, small LIA-X (talker.md, 14)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from bench import media
from bench.api import FPS
from bench.systems.talker.front import Front, check_heard
from bench.systems.talker.motion_model import COORDINATES, MOUTH_STATES
from bench.systems.talker.voice_vector import SIZE, speech_span, voice_vector

if TYPE_CHECKING:
    from bench.records import Audio, Samples
    from bench.systems.talker.mel_vae import MelVAE
    from bench.systems.talker.motion_stats import MotionStats
    from bench.systems.talker.render import Renderer

_CLOSED_AND_WIDEST = (0.05, 0.98)  # quantiles of the gap over a clip
#: Of the way from closed to widest. On 24 held-out clips of the demo corpus speech begins 0.6 +- 1.0 frames before the
#: lips part by so much, and ends 0.9 +- 1.2 frames after they do for the last time.
_APART = 0.15


class TinyFront(Front):
    """See :class:`.front.Front`."""

    def __init__(self, vae: MelVAE, stats: MotionStats, renderer: Renderer, head: nn.Linear) -> None:
        """``head`` reads the state of the mouth out of raw codes (:class:`.motion_model.MotionModel`)."""
        self._vae, self._renderer, self._head = vae, renderer, head
        self.rate, self.hop = vae.sample_rate, vae.hop
        self.speech_dim, self.voice_size = vae.config.z_dim, SIZE
        self.stats = stats

    @torch.inference_mode()
    def speech(self, audio: Audio) -> torch.Tensor:
        """See :meth:`Front.speech`."""
        wave = self._wave(audio)
        frames = len(audio.samples) * FPS // audio.rate
        latent: torch.Tensor = self._vae.encode(wave[None])[0, : max(1, frames)].float().cpu()
        return latent

    @torch.inference_mode()
    def sound(self, latents: torch.Tensor) -> Samples:
        """See :meth:`Front.sound`."""
        wave = self._vae.decode(latents[None].to(self._vae.latent_mean.device))[0, 0]
        return np.asarray(wave.float().clamp(-1.0, 1.0).cpu().numpy(), np.float32)

    @torch.inference_mode()
    def voice(self, audio: Audio) -> torch.Tensor:
        """See :meth:`Front.voice`."""
        check_heard(audio)
        vae = self._vae
        return voice_vector(vae.log_mel(self._wave(audio)[None])[0].T, vae.mel_mean, vae.mel_std)

    @torch.inference_mode()
    def span(self, audio: Audio) -> tuple[int, int]:
        """See :meth:`Front.span`."""
        first, after = speech_span(self._vae.log_mel(self._wave(audio)[None])[0].T)
        stack = self._vae.config.stack
        return first // stack, -(-after // stack)

    @torch.inference_mode()
    def mouth_span(self, codes: torch.Tensor) -> tuple[int, int] | None:
        """See :meth:`Front.mouth_span`: the lips are further apart than when they are closed."""
        gaps = self._head(codes.to(self._head.weight.device))[:, COORDINATES + MOUTH_STATES.index("gap")].cpu()
        closed, widest = torch.quantile(gaps, torch.tensor(_CLOSED_AND_WIDEST)).tolist()
        apart = torch.nonzero(gaps > closed + _APART * (widest - closed)).flatten()
        return (int(apart[0]), int(apart[-1]) + 1) if len(apart) else None

    @property
    def renderer(self) -> Renderer:
        """See :meth:`Front.renderer`."""
        return self._renderer

    def _wave(self, audio: Audio) -> torch.Tensor:
        """``(N,)`` at the VAE's rate, where the VAE is."""
        samples = media.resample(audio.samples, audio.rate, self.rate)
        return torch.from_numpy(np.array(samples, np.float32)).to(self._vae.latent_mean.device)
