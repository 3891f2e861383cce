"""Text to speech as the official script does it, one text after the other and nothing kept between them.

After ``sh-lee-prml/HierSpeechpp: inference.py, ttv_v1/t2w2v_transformer.py`` (specs/hierspeech.md 4.4 and 5): espeak is
set up per text, in this process (its wrapper copies the library, loads the copy and throws it away); the prompt is
read, and both its rows are encoded by both networks, per text; weights are normalised at every call; the alias-free
activation is a transposed and a plain depth-wise convolution; durations are made a matrix of zeros and ones that is
multiplied with. The modules are this project's classes as they are trained.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bench import espeak_child, media
from bench.espeak import Phonemes, library
from bench.records import Source
from bench.systems.hierspeech import alias_free_cpu
from bench.systems.hierspeech import text as front_end
from bench.systems.hierspeech.mel import log_mel
from bench.systems.hierspeech.resample import resample
from bench.systems.hierspeech.text import tokens
from bench.systems.hierspeech.waveform import pad_right, to_int16

NOISE_SCALE = 0.333
LOWEST_PITCH = float(np.log(55))
LONGEST_TOKEN = 100  # frames: the project's own limit


class PlainSpeech:
    """``networks``: ``ttv``, ``synthesizer``, and ``finer`` and ``denoiser`` or None; none of them folded."""

    def __init__(self, ttv: Any, synthesizer: Any, finer: Any, denoiser: Any, denoise_ratio: float) -> None:
        self._ttv, self._synthesizer, self._finer, self._denoiser = ttv, synthesizer, finer, denoiser
        self._ratio = denoise_ratio
        alias_free_cpu.serves = lambda x: False  # this process runs the form with convolutions
        front_end.phonemise = _phonemise

    @torch.no_grad()
    def say(self, text: str, voice: Path, seed: int) -> Any:
        """int16 samples (N,); ``seed`` is that of the generator of torch."""
        draw = torch.Generator().manual_seed(seed)
        mel = self._prompt(voice)
        ids = torch.tensor([tokens(text).tokens])
        w2v, pitch = self._features(ids, mel, draw)
        pitch[pitch < LOWEST_PITCH] = 0
        wave = self._wave(w2v, pitch, mel, draw)
        if self._finer is not None:
            wave = self._finer(wave)
        return to_int16(wave)

    def _prompt(self, voice: Path) -> Any:
        """Both rows' mel (2, 80, T)."""
        audio = media.decode_audio(Source(voice))
        clip = resample(torch.from_numpy(np.array(audio.samples, np.float32))[None], audio.rate, 16_000)
        padded = pad_right(clip, 1600)
        clean = self._denoiser.denoise(padded) if self._denoiser is not None else padded
        return log_mel(torch.cat([clip, clean[:, : clip.shape[1]]]))

    def _blend(self, rows: Any) -> Any:
        return (1 - self._ratio) * rows[:1] + self._ratio * rows[1:]

    def _features(self, ids: Any, mel: Any, draw: torch.Generator) -> tuple[Any, Any]:
        net = self._ttv
        g = self._blend(net.style(mel, torch.full((2,), mel.shape[2])))
        mask = torch.ones(1, 1, ids.shape[1])
        x, mean, log_std = net.enc_p(ids, mask, g)
        noise = torch.randn(1, 2, ids.shape[1], generator=draw)
        durations = (torch.exp(net.dp.sample(x, mask, g, noise)) * mask).ceil().clamp(max=LONGEST_TOKEN)  # (1, 1, Tx)
        frames = max(1, int(durations.sum()))
        path = _path(durations[0, 0].long(), frames)  # (Tx, T)
        mean, log_std = mean @ path, log_std @ path
        z = mean + torch.randn(1, mean.shape[1], frames, generator=draw) * torch.exp(log_std) * NOISE_SCALE
        whole = torch.ones(1, 1, frames)
        w2v = net.w2v_decoder(net.flow(z, whole, g, reverse=True), whole, g)
        return w2v, net.pp(w2v, g)

    def _wave(self, w2v: Any, pitch: Any, mel: Any, draw: torch.Generator) -> Any:
        net = self._synthesizer
        g = self._blend(net.style(mel))
        mask = torch.ones(1, 1, w2v.shape[2])
        mean, log_std = net.enc_p_l(w2v, pitch, mask, g)
        noise = torch.randn(1, mean.shape[1], mean.shape[2], generator=draw)
        z = (mean + noise * torch.exp(log_std) * NOISE_SCALE) * mask
        z = net.flow(net.flow_l(z, mask, g, reverse=True), mask, g, reverse=True)
        source, _ = net.sn(z, g)
        return net.dec(z, source, g)


def _phonemise(texts: Sequence[str], language: str) -> Phonemes:
    """As :func:`bench.espeak.phonemise`, with a copy of the library of its own."""
    file, data = library()
    with tempfile.TemporaryDirectory() as folder:
        copy = shutil.copy(file, folder)
        task = {"library": copy, "data": str(data), "voice": language, "phonemes": list(texts)}
        head, _ = espeak_child.phonemise(task, {})
    return Phonemes(tuple(tuple(parts) for parts in head["phonemes"]), head["version"])


def _path(durations: Any, frames: int) -> Any:
    """1 where a frame (column) belongs to a token (row)."""
    path = torch.zeros(len(durations), frames)
    begin = 0
    for token, count in enumerate(durations.tolist()):
        path[token, begin : begin + count] = 1
        begin += count
    return path
