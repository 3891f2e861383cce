"""Text of any length: into pieces, spoken a few at a time, and put together again without clicks.

Between pieces the sound goes through zero: the one before falls, the one behind rises, each over
:data:`FADE_S` along half a cosine. Nothing overlaps and nothing is cut away, so that feature k still belongs to the
samples from 320 k on (at 16 kHz). The first beginning and the last end are left as they are: a text of one piece
is what the official script makes of it. Memory beyond the results is that of one batch of pieces.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from bench.api import Failure
from bench.errors import DataError
from bench.systems.hierspeech.sentences import sentences
from bench.systems.hierspeech.symbols import PUNCTUATION
from bench.systems.hierspeech.text import TextError, Tokens, tokens_of
from bench.systems.hierspeech.together import say_all

if TYPE_CHECKING:
    from bench.systems.hierspeech.speechsr import SpeechSr
    from bench.systems.hierspeech.synthesizer import Synthesizer
    from bench.systems.hierspeech.together import Script
    from bench.systems.hierspeech.ttv import TextToVec, TTVSettings

FADE_S = 0.005


def pieces_of(
    texts: Sequence[str | None], longest: int, *, official_list_repr: bool = False
) -> list[list[Tokens] | Failure]:
    """The pieces of each text, with one call of espeak for all texts; pieces of which nothing is left are dropped.

    A text without any is a :class:`Failure` ``empty_reference``, one that espeak cannot read ``model_error``.
    """
    cut = [sentences(_printable(text), longest) if text else [] for text in texts]
    every = [piece for pieces in cut for piece in pieces]
    try:
        read: Iterator[Tokens | DataError] = iter(tokens_of(every, official_list_repr=official_list_repr))
    except DataError:  # one of them: who it is shows when each is asked alone
        read = iter([_alone(piece, official_list_repr) for piece in every])
    return [_result(text, [next(read) for _ in pieces]) for text, pieces in zip(texts, cut, strict=True)]


def _printable(text: str) -> str:
    """Control characters, NUL and lone surrogates as blanks; line ends stay."""
    return "".join(c if c == "\n" or (ord(c) >= 32 and not 0xD800 <= ord(c) < 0xE000) else " " for c in text)


def _alone(piece: str, official_list_repr: bool) -> Tokens | DataError:
    try:
        return tokens_of([piece], official_list_repr=official_list_repr)[0]
    except DataError as error:
        return error


def _result(text: str | None, read: Sequence[Tokens | DataError]) -> list[Tokens] | Failure:
    broken = next((item for item in read if isinstance(item, DataError) and not isinstance(item, TextError)), None)
    if broken is not None:
        return Failure("model_error", broken.message)
    left = [item for item in read if isinstance(item, Tokens) and _sounds(item)]
    return left or Failure("empty_reference", f"text {(text or '')[:40]!r} has nothing to speak")


def _sounds(piece: Tokens) -> bool:
    """Whether there is more to it than marks: of another script they alone are left."""
    return any(not c.isspace() and c not in PUNCTUATION for c in piece.phonemes)


@dataclass(frozen=True, slots=True)
class Manner:
    """How to speak: settings of text-to-vec, spread of the synthesizer, and how many pieces are made at once."""

    settings: TTVSettings
    noise_scale: float
    batch: int


@dataclass(frozen=True, slots=True)
class Speech:
    """``w2v`` (1, C, T) at 50 Hz, ``wave`` (T · rate / 50,) before its level is set, ``rate`` in Hz; on the CPU."""

    w2v: torch.Tensor
    wave: torch.Tensor
    rate: int


def speeches_of(
    ttv: TextToVec,
    synthesizer: Synthesizer,
    finer: SpeechSr | None,
    texts: Sequence[Sequence[Script]],
    manner: Manner,
) -> list[Speech]:
    """Each text's pieces spoken in their order; ``finer`` lifts 16 kHz to its own rate.

    Pieces of all texts are made together; what a text gets is what it gets alone, up to rounding
    (:mod:`.together`).

    Raises:
        DataError: the networks' weights give no durations.
    """
    rate = 16000 if finer is None else finer.output_rate
    every = [script for pieces in texts for script in pieces]
    made: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}
    for place, said in say_all(ttv, synthesizer, every, manner.settings, manner.noise_scale, manner.batch):
        wave = said.wave if finer is None else finer.enhance(said.wave)
        made[place] = (said.w2v.cpu(), wave.flatten().cpu())
    left = iter(range(len(every)))
    speeches = []
    for pieces in texts:
        own = [made.pop(next(left)) for _ in pieces]
        features = torch.cat([w2v for w2v, _ in own], dim=2)
        speeches.append(Speech(features, joined([wave for _, wave in own], round(FADE_S * rate)), rate))
    return speeches


def shares(texts: Sequence[Sequence[Tokens] | Failure], most: int) -> list[slice]:
    """Neighbouring texts in groups of at most ``most`` tokens in all, or one longer text; for bounded memory."""
    found: list[slice] = []
    begin = total = 0
    for place, pieces in enumerate(texts):
        count = 0 if isinstance(pieces, Failure) else sum(len(piece.tokens) for piece in pieces)
        if place > begin and total + count > most:
            found.append(slice(begin, place))
            begin, total = place, 0
        total += count
    return [*found, slice(begin, len(texts))]


def joined(waves: Sequence[torch.Tensor], fade: int) -> torch.Tensor:
    """``waves`` (N_i,) one after the other, (sum of N_i,), faded over ``fade`` samples where two meet."""
    out = []
    for place, wave in enumerate(waves):
        faded = wave.clone()
        ramp = rise(min(fade, len(wave) // 2)).to(wave)
        if place > 0:
            faded[: len(ramp)] *= ramp
        if place < len(waves) - 1:
            faded[len(wave) - len(ramp) :] *= ramp.flip(0)
        out.append(faded)
    return torch.cat(out)


def shortened(wave: torch.Tensor, length: int, fade: int) -> torch.Tensor:
    """The first ``length`` samples; where something is cut away, faded out over ``fade`` samples."""
    if len(wave) <= length:
        return wave
    ramp = rise(min(fade, length)).flip(0).to(wave)
    kept = wave[:length].clone()
    kept[length - len(ramp) :] *= ramp
    return kept


def rise(count: int) -> torch.Tensor:
    """Half a cosine from 0 to 1, neither of them included, (count,)."""
    steps = (torch.arange(count, dtype=torch.float32) + 0.5) / max(1, count)
    return 0.5 - 0.5 * torch.cos(torch.pi * steps)
