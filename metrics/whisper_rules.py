"""Which tokens Whisper may choose, and what a chosen row of tokens says.

Rules of ``openai/whisper: whisper/decoding.py`` (suppressed tokens, timestamps in pairs, in order) and
``whisper/transcribe.py`` (segments, the next window's start, windows without speech).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    from whisper.tokenizer import Tokenizer

    from bench.metrics.whisper_net import Network

#: Ways of decoding that would need other code; a declaration that asks for one is refused.
_ABSENT = (
    *("temperature", "temperature_fallback", "beam_size", "best_of", "condition_on_previous_text"),
    *("without_timestamps", "initial_prompt", "word_timestamps"),
)


@dataclass(frozen=True, slots=True)
class Recipe:
    """The settings of a declaration that decide the text."""

    language: str
    task: str
    no_speech_threshold: float
    logprob_threshold: float
    suppress_tokens: tuple[int, ...]  # -1 stands for all symbols that are no speech
    max_initial_timestamp: float  # seconds

    @classmethod
    def of(cls, parameters: Mapping[str, Any]) -> Recipe:
        """The recipe of a protocol. Raises ``ValueError`` for decoding other than greedy with timestamps."""
        asr, defaults = parameters["asr"], parameters["defaults"]
        if asked := [name for name in _ABSENT if asr[name]]:
            raise ValueError(f"only greedy decoding with timestamps is known here, not {', '.join(asked)}")
        return cls(
            language=asr["language"],
            task=asr["task"],
            no_speech_threshold=defaults["no_speech_threshold"],
            logprob_threshold=defaults["logprob_threshold"],
            suppress_tokens=tuple(int(token) for token in defaults["suppress_tokens"].split(",")),
            max_initial_timestamp=defaults["max_initial_timestamp"],
        )

    def without_speech(self, no_speech_prob: float, avg_logprob: float) -> bool:
        """Whether a window is left out: probably nobody speaks, and the text is improbable too."""
        return no_speech_prob > self.no_speech_threshold and avg_logprob <= self.logprob_threshold


@dataclass(frozen=True)
class Tokens:
    """The vocabulary's places that matter. Ids from ``timestamps`` on are times, ``precision`` seconds apart."""

    tokenizer: Tokenizer
    start: tuple[int, ...]
    end: int
    timestamps: int
    no_speech: int
    latest_first: int  # the latest id that may come first
    frames_per_step: int  # of 10 ms, between two timestamps
    never: Tensor  # (n,) ids that are never chosen

    @classmethod
    def of(cls, recipe: Recipe, model: Network) -> Tokens:
        """For a multilingual network and the recipe's language and task."""
        from whisper.audio import CHUNK_LENGTH, N_FRAMES
        from whisper.tokenizer import get_tokenizer

        words = get_tokenizer(
            model.is_multilingual, num_languages=model.num_languages, language=recipe.language, task=recipe.task
        )
        steps = model.dims.n_audio_ctx
        return cls(
            tokenizer=words,
            start=tuple(words.sot_sequence),
            end=words.eot,
            timestamps=words.timestamp_begin,
            no_speech=words.no_speech,
            latest_first=words.timestamp_begin + round(recipe.max_initial_timestamp / (CHUNK_LENGTH / steps)),
            frames_per_step=N_FRAMES // steps,
            never=torch.tensor(_never(words, recipe.suppress_tokens), device=model.device),
        )

    def forbid(self, logits: Tensor, said: Mapping[int, Sequence[int]]) -> None:
        """Sets what may not follow to -inf in logits (B, V); ``said``: the tokens so far, by row."""
        logits.index_fill_(1, self.never, -torch.inf)
        begin = self.timestamps
        for row, tokens in said.items():
            if not tokens:
                logits[row, :begin] = -torch.inf
                logits[row, self.latest_first + 1 :] = -torch.inf
                continue
            timed = tokens[-1] >= begin
            closed = len(tokens) < 2 or tokens[-2] >= begin
            if timed and closed:
                logits[row, begin:] = -torch.inf
            elif timed:
                logits[row, : self.end] = -torch.inf
            if times := [token for token in tokens if token >= begin]:
                # A segment that has just ended may begin the next one at the same time; none is without length.
                first = times[-1] if timed and not closed else times[-1] + 1
                logits[row, begin:first] = -torch.inf

    def spoken(self, tokens: Sequence[int]) -> tuple[list[int], int | None]:
        """What a window adds to the text, and by how many frames the next one begins later.

        ``None``: by the whole window. Two timestamps in a row end a segment; what is begun after the last
        such pair is heard again in the next window, unless the window ends with a single timestamp.
        """
        timed = [token >= self.timestamps for token in tokens]
        cuts = [i for i in range(1, len(tokens)) if timed[i - 1] and timed[i]]
        if not cuts:
            return ([], None) if self._blank(tokens) else (list(tokens), None)
        complete = timed[-2:] == [False, True]
        frames = None if complete else (tokens[cuts[-1] - 1] - self.timestamps) * self.frames_per_step
        bounds = [0, *cuts, len(tokens)] if complete else [0, *cuts]
        segments = [tokens[a:b] for a, b in pairwise(bounds)]
        kept = (segment for segment in segments if segment[0] != segment[-1] and not self._blank(segment))
        return [token for segment in kept for token in segment], frames

    def text(self, tokens: Sequence[int]) -> str:
        """The text of tokens, without times."""
        return str(self.tokenizer.decode(list(tokens)))

    def _blank(self, tokens: Sequence[int]) -> bool:
        return not self.tokenizer.decode([token for token in tokens if token < self.end]).strip()


def _never(words: Tokenizer, asked: Sequence[int]) -> list[int]:
    """Ids that the reference suppresses throughout: those asked for, tasks and marks of the prompt."""
    found = {token for token in asked if token >= 0}
    if -1 in asked:
        found |= set(words.non_speech_tokens)
    marks = (words.transcribe, words.translate, words.sot, words.sot_prev, words.sot_lm, words.no_speech)
    return sorted(found | set(marks) | {words.no_timestamps})
