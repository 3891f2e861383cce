"""Whisper's transcription at temperature 0: the reference's text, several clips at a time.

The rules are those of ``openai/whisper: whisper/decoding.py`` (which tokens may follow) and
``whisper/transcribe.py`` (where the next window begins, what is left out), for greedy decoding with
timestamps, without fallback, prompts and word timings. What the text does not depend on is not
computed: the probability of all tokens, and of the sentence unless the window may be without speech.

Alone, a window's logits are those of the reference to the bit on the CPU. In a batch they can differ in
their last bits, so every decision that such bits could turn marks the window as doubtful, and it is decoded
again alone. The margin is a thousandth of the largest logit in float32 (measured on random networks: a
thousandth of that for tame ones, a tenth to a half for wild ones that magnify rounding).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from bench.api import Failure
from bench.metrics.whisper_net import Network, Steps, set_precision
from bench.metrics.whisper_rules import Recipe, Tokens

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Pcm = NDArray[np.int16]

#: Differences of logits that arithmetic in another order may make, as a part of the largest, with room to spare.
_UNSURE = {torch.float32: 1e-3, torch.float16: 2e-2}
_SAME = 1e-3  # below this the reference's own formula decides between text and timestamp
_BATCH_BYTES = 2 * 2**30  # of keys and values of encoded windows
_LARGEST_BATCH = 16


@dataclass(slots=True)
class Window:
    """What was said in 30 s: ``tokens`` up to the end of text, and whether the window is without speech."""

    tokens: list[int] = field(default_factory=list)
    no_speech_prob: float = 0.0
    sum_logprob: float = 0.0  # of the tokens and the end of text; only where speech is in doubt
    slack: float = 0.0  # by how much the logits may differ because of the batch; 0 alone
    unsure: bool = False  # a decision was so narrow that the batch may have made it

    @property
    def avg_logprob(self) -> float:
        """Mean over the tokens and the end of text."""
        return self.sum_logprob / (len(self.tokens) + 1)

    def decided_by(self, lead: float) -> None:
        """Notes by how much a decision was made."""
        self.unsure |= abs(lead) < self.slack


class Transcriber:
    """A filled network with the recipe of its protocol. ``dtype``: of the matrices and activations."""

    def __init__(self, model: Network, recipe: Recipe, dtype: torch.dtype) -> None:
        self.dtype = dtype
        self._model = set_precision(model, dtype)
        self._device = model.device
        self._recipe = recipe
        self._tokens = Tokens.of(recipe, model)

    @property
    def batch(self) -> int:
        """Windows that are decoded at once: as many as their encoded forms leave room for."""
        dims = self._model.dims
        each = 2 * dims.n_text_layer * dims.n_audio_ctx * dims.n_text_state * self.dtype.itemsize
        return max(1, min(_LARGEST_BATCH, _BATCH_BYTES // int(each)))

    def transcribe(self, pcm: Pcm) -> str | Failure:
        """The text of one clip, 16 kHz mono (N,); see :meth:`transcribe_many`."""
        return self.transcribe_many([pcm])[0]

    @torch.inference_mode()
    def transcribe_many(self, clips: Sequence[Pcm]) -> list[str | Failure]:
        """The text of each clip, as the reference gives it alone; ``nan`` where the network overflows."""
        waiting, active = deque(enumerate(clips)), dict[int, _Clip]()
        found: dict[int, str | Failure] = {}
        while waiting or active:
            while waiting and len(active) < self.batch:
                index, pcm = waiting.popleft()
                active[index] = _Clip(pcm, self._model.dims.n_mels, self._tokens)
            for clip, window in zip(active.values(), self._hear(list(active.values())), strict=True):
                clip.advance(window, self._recipe)
            found |= {index: clip.result() for index, clip in active.items() if clip.done}
            active = {index: clip for index, clip in active.items() if not clip.done}
        return [found[index] for index in range(len(clips))]

    def _hear(self, clips: Sequence[_Clip]) -> list[Window | Failure]:
        """The current window of each clip; the doubtful ones once more, alone."""
        features = [self._encode(clip.mel()) for clip in clips]
        sound = [i for i, x in enumerate(features) if bool(x.isfinite().all())]
        found: list[Window | Failure] = [Failure("nan", "the network's encoding is not finite")] * len(clips)
        windows = self.decode([features[i] for i in sound]) if sound else []
        for i, window in zip(sound, windows, strict=True):
            found[i] = self.decode([features[i]])[0] if window.unsure else window
        return found

    def _encode(self, mel: Tensor) -> Tensor:
        """Window (1, n_mels, 3000) to features (1, 1500, C); one by one, for equal bits in every batch."""
        encoded: Tensor = self._model.encoder(mel.to(self._device).to(self.dtype))
        return encoded

    def decode(self, features: Sequence[Tensor]) -> list[Window]:
        """Greedy tokens of encoded windows, each (1, S, C). Only among several can one be ``unsure``."""
        start, limit = self._tokens.start, self._model.dims.n_text_ctx // 2
        steps = Steps(self._model, features, len(start) + limit)
        search = _Search(self._tokens, self._recipe, len(features), self._guard(len(features)))
        heard = torch.tensor([start] * len(features), device=self._device)
        for position in range(limit):
            logits = steps(heard)  # (B, n, V)
            if position == 0:
                search.note_silence(logits[:, 0])
            chosen = search.choose(logits[:, -1])
            if not search.rows:
                break
            if len(search.rows) <= len(chosen) // 2:
                rows = search.narrow()
                steps.keep(torch.tensor(rows, device=self._device))
                chosen = [chosen[row] for row in rows]
            heard = torch.tensor(chosen, device=self._device)[:, None]
        return search.windows

    def _guard(self, rows: int) -> float:
        return _UNSURE[self.dtype] if rows > 1 else 0.0


class _Search:
    """Greedy search over rows of logits. ``rows``: row of the batch to window, of those not at their end."""

    def __init__(self, tokens: Tokens, recipe: Recipe, count: int, guard: float) -> None:
        self.windows = [Window() for _ in range(count)]
        self.rows = dict(enumerate(self.windows))
        self._tokens, self._recipe, self._guard = tokens, recipe, guard
        self._weigh = False

    def note_silence(self, logits: Tensor) -> None:
        """Takes the probability of no speech from the logits (B, V) after the first token."""
        self._measure(logits)
        for window, prob in zip(self.windows, logits.softmax(-1)[:, self._tokens.no_speech].tolist(), strict=True):
            window.no_speech_prob = prob
            window.decided_by(prob - self._recipe.no_speech_threshold)
            self._weigh |= prob > self._recipe.no_speech_threshold

    def choose(self, logits: Tensor) -> list[int]:
        """The next token of every row of logits (B, V), which are changed; rows at their end leave ``rows``."""
        self._measure(logits)
        self._tokens.forbid(logits, {row: window.tokens for row, window in self.rows.items()})
        begin, end = self._tokens.timestamps, self._tokens.end
        text, stamps = logits[:, :begin], logits[:, begin:]
        (best, at), (late, late_at) = text.max(-1), stamps.max(-1)
        mass = stamps.logsumexp(-1)
        timed = self._timed(logits, mass, best)
        chosen: list[int] = torch.where(timed, late_at + begin, at).tolist()
        if self._guard:
            self._doubt(text, stamps, timed, (mass - best).tolist())
        if self._weigh:
            whole = torch.where(timed, mass, logits.logsumexp(-1))
            for row, gain in enumerate((torch.where(timed, late, best) - whole).tolist()):
                if row in self.rows:
                    self.rows[row].sum_logprob += gain
        for row, window in list(self.rows.items()):
            if chosen[row] == end:
                self._finish(row, window)
            else:
                window.tokens.append(chosen[row])
        return chosen

    def _measure(self, logits: Tensor) -> None:
        """Takes the slack of every row from the size of its logits (B, V)."""
        if self._guard:
            sizes = logits.abs().amax(-1).tolist()
            for row, window in self.rows.items():
                window.slack = max(window.slack, self._guard * sizes[row])

    def narrow(self) -> list[int]:
        """The rows still at work, which are numbered anew from 0 in this order."""
        kept = list(self.rows)
        self.rows = dict(enumerate(self.rows.values()))
        return kept

    def _timed(self, logits: Tensor, mass: Tensor, best: Tensor) -> Tensor:
        """Where timestamps together (B,) outweigh the best other token; close calls as the reference computes them."""
        timed = mass > best
        close = (mass - best).abs() < _SAME
        if bool(close.any()):
            exact = logits.log_softmax(-1)
            begin = self._tokens.timestamps
            timed = torch.where(close, exact[:, begin:].logsumexp(-1) > exact[:, :begin].amax(-1), timed)
        return timed

    def _doubt(self, text: Tensor, stamps: Tensor, timed: Tensor, leads: Sequence[float]) -> None:
        top = torch.where(timed[:, None], stamps.topk(2).values, text.topk(2).values)  # (B, 2)
        for row, lead in enumerate((top[:, 0] - top[:, 1]).tolist()):
            if row in self.rows:
                self.rows[row].decided_by(lead)
                self.rows[row].decided_by(leads[row])

    def _finish(self, row: int, window: Window) -> None:
        del self.rows[row]
        if self._weigh:
            window.decided_by(window.avg_logprob - self._recipe.logprob_threshold)


class _Clip:
    """Where a clip's transcription stands. ``seek``: frame of 10 ms at which the next window begins."""

    def __init__(self, pcm: Pcm, n_mels: int, tokens: Tokens) -> None:
        from whisper.audio import N_FRAMES, N_SAMPLES, log_mel_spectrogram

        wave = torch.from_numpy(pcm).to(torch.float32) / 32768.0
        self._mel = log_mel_spectrogram(wave, n_mels, padding=N_SAMPLES)  # (n_mels, T + 3000)
        self._frames = self._mel.shape[-1] - N_FRAMES
        self._window = N_FRAMES
        self._tokens = tokens
        self._said: list[int] = []
        self._failure: Failure | None = None
        self.seek = 0

    @property
    def done(self) -> bool:
        """Whether nothing is left to hear."""
        return self._failure is not None or self.seek >= self._frames

    def mel(self) -> Tensor:
        """The current window (1, n_mels, 3000), zeros after the end of the clip."""
        from whisper.audio import pad_or_trim

        window: Tensor = pad_or_trim(self._mel[:, self.seek : self.seek + self._size()], self._window)
        return window[None]

    def advance(self, window: Window | Failure, recipe: Recipe) -> None:
        """Takes in what was heard and moves to the next window."""
        if isinstance(window, Failure):
            self._failure = window
            return
        size = self._size()
        if recipe.without_speech(window.no_speech_prob, window.avg_logprob):
            self.seek += size
            return
        said, frames = self._tokens.spoken(window.tokens)
        self._said += said
        self.seek += size if frames is None else frames

    def result(self) -> str | Failure:
        """The whole text, as the reference joins it."""
        return self._tokens.text(self._said) if self._failure is None else self._failure

    def _size(self) -> int:
        return int(min(self._window, self._frames - self.seek))


def transcriber(model: Network, parameters: Mapping[str, Any], device: str) -> Transcriber:
    """A filled network moved to ``device``, ready for the protocol with these ``parameters``."""
    kind = torch.device(device).type
    if kind == "cuda":
        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.allow_tf32 = False
    half = parameters["asr"]["fp16"].get(kind, False)
    return Transcriber(model.to(device), Recipe.of(parameters), torch.float16 if half else torch.float32)
