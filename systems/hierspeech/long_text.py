"""Text of any length: into pieces, spoken a few at a time, and put together again without clicks.

Between pieces the sound goes through zero: the one before falls, the one behind rises, each over
:data:`FADE_S` along half a cosine. Nothing overlaps and nothing is cut away, so that feature k still belongs to the
samples from 320 k on (at 16 kHz). The first beginning and the last end are left as they are: a text of one piece
is what the official script makes of it. Memory beyond the result is that of one batch of pieces.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from bench.api import Failure
from bench.errors import DataError
from bench.systems.hierspeech.cascade import Said
from bench.systems.hierspeech.pitch import clip_pitch
from bench.systems.hierspeech.sentences import sentences
from bench.systems.hierspeech.sequence import pad_items
from bench.systems.hierspeech.symbols import PUNCTUATION
from bench.systems.hierspeech.text import TextError, Tokens, tokens_of

if TYPE_CHECKING:
    from bench.systems.hierspeech.cascade import Style
    from bench.systems.hierspeech.sequence import Noise
    from bench.systems.hierspeech.speechsr import SpeechSr
    from bench.systems.hierspeech.synthesizer import Synthesizer
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


@torch.no_grad()
def say_many(
    ttv: TextToVec,
    synthesizer: Synthesizer,
    tokens: Sequence[torch.Tensor],
    style: Style,
    noises: Sequence[Noise],
    settings: TTVSettings,
    noise_scale: float,
) -> list[Said]:
    """:func:`bench.systems.hierspeech.cascade.say` of several tokens (1, Tx_i), each with its own noise.

    Every item is what it is alone, up to rounding; one alone exactly.

    Raises:
        DataError: the networks' weights give no durations.
    """
    counts = torch.tensor([item.shape[1] for item in tokens], device=tokens[0].device)
    padded = pad_items([item[None] for item in tokens], int(counts.max()))[:, 0]  # (B, Tx)
    made = ttv.infer(padded, counts, style.ttv, noises, settings)
    pitch = clip_pitch(made.pitch)
    frames: list[int] = made.lengths.tolist()
    g = style.synthesizer.expand(len(tokens), -1, -1)
    waves = synthesizer.speak(made.w2v, pitch, made.lengths, g, _side_by_side(noises, frames), noise_scale)
    return [
        Said(made.w2v[i : i + 1, :, :n], pitch[i : i + 1, :, : 4 * n], wave[None, None])
        for i, (n, wave) in enumerate(zip(frames, waves, strict=True))
    ]


def _side_by_side(noises: Sequence[Noise], frames: Sequence[int]) -> Noise:
    """Each item's noise in its own length, (1, C, n_i), as one padded draw (B, C, T)."""

    def draw(shape: tuple[int, ...]) -> torch.Tensor:
        return pad_items([noise((1, shape[1], n)) for noise, n in zip(noises, frames, strict=True)], shape[2])

    return draw


def speech_of(
    ttv: TextToVec,
    synthesizer: Synthesizer,
    finer: SpeechSr | None,
    pieces: Sequence[Sequence[int]],
    style: Style,
    noises: Sequence[Noise],
    manner: Manner,
) -> Speech:
    """All pieces (ids with blanks) spoken in their order; ``finer`` lifts 16 kHz to its own rate.

    Raises:
        DataError: the networks' weights give no durations.
    """
    features: list[torch.Tensor] = []
    waves: list[torch.Tensor] = []
    for begin in range(0, len(pieces), manner.batch):
        part = slice(begin, begin + manner.batch)
        tokens = [torch.tensor([list(ids)], device=style.ttv.device) for ids in pieces[part]]
        for said in say_many(ttv, synthesizer, tokens, style, noises[part], manner.settings, manner.noise_scale):
            features.append(said.w2v.cpu())
            waves.append((said.wave if finer is None else finer.enhance(said.wave)).flatten().cpu())
    rate = 16000 if finer is None else finer.output_rate
    return Speech(torch.cat(features, dim=2), joined(waves, round(FADE_S * rate)), rate)


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
