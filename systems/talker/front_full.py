"""What stands around the official backbone: WhisperX-VAE, LIA-X, WavLM with ECAPA-TDNN (talker.md, 1.1 and 6 to 8).

The reference is heard as the official script hears it (``zhenye234/Talker-T2AV: infer.py``): at most 30 s, at 16 and at
24 kHz, both resampled from the original; Whisper sees it padded to 30 s, the codec does not.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from bench.api import FPS, Unscorable
from bench.systems.talker import whisper_mel
from bench.systems.talker.front import Front, check_heard
from bench.systems.talker.resample import resample

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.records import Audio, Samples
    from bench.systems.talker.motion_stats import MotionStats
    from bench.systems.talker.render import Renderer
    from bench.systems.talker.speaker_encoder import SpeakerEncoder
    from bench.systems.talker.whisperx_vae import WhisperXVAE

_LONGEST_S = 30
_HEARD_RATE = 16_000  # of Whisper and of the speaker encoder
_LEAST_SAMPLES = 720  # of which the speaker encoder makes two frames: it cannot normalise one over time


@dataclass(frozen=True)
class FullParts:
    """The networks, each made when it is first asked for."""

    vae: Callable[[], WhisperXVAE]
    renderer: Callable[[], Renderer]
    speaker: Callable[[], SpeakerEncoder]


class FullFront(Front):
    """See :class:`.front.Front`. ``mel``: how Whisper's log-mel is made."""

    def __init__(
        self,
        parts: FullParts,
        stats: MotionStats,
        mel: whisper_mel.WhisperMelConfig = whisper_mel.DEFAULT,
        sizes: tuple[int, int, int, int] = (24_000, 960, 32, 256),
    ) -> None:
        """``sizes``: rate, hop, channels of a latent, numbers of a voice."""
        self._parts, self._mel = parts, mel
        self.rate, self.hop, self.speech_dim, self.voice_size = sizes
        self.stats = stats

    @torch.inference_mode()
    def speech(self, audio: Audio) -> torch.Tensor:
        """See :meth:`Front.speech`; at most 30 s of it."""
        vae = self._parts.vae()
        device = next(vae.parameters()).device
        frames = self._frames(audio)
        heard = self._at(audio, _HEARD_RATE)
        wave = self._at(audio, self.rate)[: frames * self.hop].to(device)
        mel = whisper_mel.whisper_mel(heard[None, None].to(device), self._mel) if self._semantic(vae) else None
        with _official_precision(device):
            latent: torch.Tensor = vae.encode(wave[None, None], mel)
        return latent[0].float().cpu()

    @torch.inference_mode()
    def sound(self, latents: torch.Tensor) -> Samples:
        """See :meth:`Front.sound`; in float32."""
        vae = self._parts.vae()
        wave = vae.decode(latents[None].to(next(vae.parameters()).device))[0, 0]
        return np.asarray(wave.float().clamp(-1.0, 1.0).cpu().numpy(), np.float32)

    @torch.inference_mode()
    def voice(self, audio: Audio) -> torch.Tensor:
        """See :meth:`Front.voice`: of the whole reference, not of its prefix."""
        check_heard(audio)
        wave = self._at(audio, _HEARD_RATE)[: self._frames(audio) * (_HEARD_RATE // FPS)]
        if len(wave) < _LEAST_SAMPLES:
            raise Unscorable("too_short", f"voice reference of {len(wave)} samples; {_LEAST_SAMPLES} are needed")
        speaker = self._parts.speaker()
        device = next(speaker.parameters()).device
        with _official_precision(device):
            found: torch.Tensor = speaker(wave[None].to(device))
        return found[0].float().cpu()

    def span(self, audio: Audio) -> tuple[int, int]:
        """See :meth:`Front.span`: whole clips, as in the official training."""
        return 0, self._frames(audio)

    @property
    def renderer(self) -> Renderer:
        """See :meth:`Front.renderer`."""
        return self._parts.renderer()

    def _frames(self, audio: Audio) -> int:
        """Whole frames of the reference, 1 to 750: by its samples at 16 kHz."""
        samples = -(-len(audio.samples) * _HEARD_RATE // audio.rate)
        return int(np.clip(samples * FPS // _HEARD_RATE, 1, _LONGEST_S * FPS))

    def _at(self, audio: Audio, rate: int) -> torch.Tensor:
        """``(N,)``, at most 30 s."""
        longest = audio.rate * (_LONGEST_S + 1)  # more cannot reach the first 30 s
        wave = torch.from_numpy(np.array(audio.samples[:longest], np.float32))
        return resample(wave[None], audio.rate, rate)[0, : _LONGEST_S * rate]

    @staticmethod
    def _semantic(vae: WhisperXVAE) -> bool:
        return vae.config.whisper is not None


def _official_precision(device: torch.device) -> AbstractContextManager[object]:
    """References are heard in bfloat16 on CUDA, in float32 on a CPU, as by the official script."""
    return torch.autocast("cuda", torch.bfloat16) if device.type == "cuda" else nullcontext()
