"""Several texts through the networks at once, each of them what it is alone.

Padding is masked everywhere, and noise comes from each text's own source, so a text's numbers do not depend on the
others but for rounding, which batches of different shapes do in different order. Where rounding could become more than
that, it decides nothing: a text with a duration next to a whole number of frames, which are rounded up, or with a pitch
next to the least that counts as voiced (:data:`DOUBT`), goes through that half of text-to-vec alone.

Memory: that of one batch, which has at most so many texts and :data:`MOST_TOKENS`, and behind the durations at most
:data:`MOST_FRAMES`, padding included; a single text may be longer.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch.nn import functional as F

from bench.systems.hierspeech.cascade import NOISE_SCALE, Said
from bench.systems.hierspeech.pitch import LOWEST_LOG_F0, clip_pitch
from bench.systems.hierspeech.sequence import given_noise, pad_items
from bench.systems.hierspeech.ttv import Timing, TTVSettings, Utterances

if TYPE_CHECKING:
    from bench.systems.hierspeech.cascade import Style
    from bench.systems.hierspeech.sequence import Noise
    from bench.systems.hierspeech.synthesizer import Synthesizer
    from bench.systems.hierspeech.ttv import TextToVec

#: Durations (relative, in frames) and log-F0 that are closer than this to where they are cut are looked at alone.
DOUBT = 1e-4
MOST_TOKENS, MOST_FRAMES = 2400, 4096
#: The fewest frames in a batch, as a share of the most: more padding costs more than the batch saves.
LEAST_SHARE = 0.75


@dataclass(frozen=True, slots=True)
class Script:
    """What is spoken in one go: ``tokens`` (1, Tx) with blanks, in which voice, and where its noise comes from."""

    tokens: torch.Tensor
    style: Style
    noise: Noise


@dataclass(frozen=True, slots=True)
class _Timed:
    """A script whose durations are known, ``place`` among all: ``timing`` of one item, and its ``frames``."""

    place: int
    script: Script
    timing: Timing
    frames: int


@torch.no_grad()
def say_all(
    ttv: TextToVec,
    synthesizer: Synthesizer,
    scripts: Sequence[Script],
    settings: TTVSettings,
    noise_scale: float = NOISE_SCALE,
    at_once: int = 8,
) -> Iterator[tuple[int, Said]]:
    """:func:`bench.systems.hierspeech.cascade.say` of every script, with its place, in any order; see the module.

    ``at_once`` 1: each exactly as alone.

    Raises:
        DataError: the networks' weights give no durations.
    """
    counts = [script.tokens.shape[1] for script in scripts]
    for places in batches(counts, at_once, MOST_TOKENS, 0.0):
        timed = _timed(ttv, places, [scripts[place] for place in places], settings)
        for members in batches([one.frames for one in timed], at_once, MOST_FRAMES, LEAST_SHARE):
            group = [timed[member] for member in members]
            said = _spoken(ttv, synthesizer, group, settings, noise_scale)
            yield from zip((one.place for one in group), said, strict=True)


def batches(lengths: Sequence[int], at_once: int, most: int, share: float) -> list[list[int]]:
    """The places of ``lengths``, longest first, in batches of at most ``at_once`` and ``most`` with their padding.

    No batch has one that is shorter than ``share`` of its first.
    """
    found: list[list[int]] = []
    for place in sorted(range(len(lengths)), key=lambda place: -lengths[place]):
        longest = lengths[found[-1][0]] if found else 0
        room = found and len(found[-1]) < at_once and (len(found[-1]) + 1) * longest <= most
        if room and lengths[place] >= share * longest:
            found[-1].append(place)
        else:
            found.append([place])
    return found


def _timed(ttv: TextToVec, places: Sequence[int], scripts: Sequence[Script], settings: TTVSettings) -> list[_Timed]:
    """The first half of text-to-vec."""
    counts = [script.tokens.shape[1] for script in scripts]
    draws = [script.noise((1, 2, count)) for script, count in zip(scripts, counts, strict=True)]
    tokens = pad_items([script.tokens[None] for script in scripts], max(counts))[:, 0]  # (B, Tx)
    lengths = torch.tensor(counts, device=tokens.device)
    g = torch.cat([script.style.ttv for script in scripts])
    noises = [given_noise(draw) for draw in draws]
    together = ttv.timing(tokens, lengths, g, noises, settings)
    found = []
    for item, (place, script, count) in enumerate(zip(places, scripts, counts, strict=True)):
        timing = _item(together, item, count)
        if len(scripts) > 1 and _near_a_step(timing.exact):
            own, noise = lengths[item : item + 1], given_noise(draws[item])
            timing = ttv.timing(script.tokens, own, script.style.ttv, [noise], settings)
        found.append(_Timed(place, script, timing, int(timing.lengths)))
    return found


def _item(batch: Timing, item: int, count: int) -> Timing:
    part = slice(item, item + 1)
    return Timing(
        batch.m[part, :, :count], batch.logs[part, :, :count], batch.exact[part, :count], batch.durations[part, :count]
    )


def _near_a_step(exact: torch.Tensor) -> bool:
    """Whether other rounding could give a token another whole number of frames; every one has one at least."""
    nearest = exact.round()
    return bool(((exact - nearest).abs() < DOUBT * nearest).any())


def _spoken(
    ttv: TextToVec, synthesizer: Synthesizer, group: Sequence[_Timed], settings: TTVSettings, noise_scale: float
) -> list[Said]:
    """Second half of text-to-vec, and the synthesizer."""
    size = max(one.frames for one in group)
    made = _featured(ttv, group, settings, size)
    pitch = clip_pitch(made.pitch)
    g = torch.cat([one.script.style.synthesizer for one in group])

    def draw(shape: tuple[int, ...]) -> torch.Tensor:
        return pad_items([one.script.noise((1, shape[1], one.frames)) for one in group], shape[2])

    waves = synthesizer.speak(made.w2v, pitch, made.lengths, g, draw, noise_scale)
    return [
        Said(made.w2v[i : i + 1, :, : one.frames], pitch[i : i + 1, :, : 4 * one.frames], wave[None, None])
        for i, (one, wave) in enumerate(zip(group, waves, strict=True))
    ]


def _featured(ttv: TextToVec, group: Sequence[_Timed], settings: TTVSettings, size: int) -> Utterances:
    draws = [one.script.noise((1, one.timing.m.shape[1], one.frames)) for one in group]
    g = torch.cat([one.script.style.ttv for one in group])
    made = ttv.features(_joined([one.timing for one in group]), g, [given_noise(draw) for draw in draws], settings)
    if len(group) == 1:
        return made
    near = ((made.pitch - LOWEST_LOG_F0).abs() < DOUBT).flatten(1).any(1)
    for item in near.nonzero().flatten().tolist():
        one = group[item]
        alone = ttv.features(one.timing, one.script.style.ttv, [given_noise(draws[item])], settings)
        made.w2v[item] = F.pad(alone.w2v[0], (0, size - one.frames))
        made.pitch[item] = F.pad(alone.pitch[0], (0, 4 * (size - one.frames)))
    return made


def _joined(timings: Sequence[Timing]) -> Timing:
    """Items of one batch."""
    size = max(one.m.shape[2] for one in timings)
    return Timing(
        pad_items([one.m for one in timings], size),
        pad_items([one.logs for one in timings], size),
        pad_items([one.exact[None] for one in timings], size)[:, 0],
        pad_items([one.durations[None] for one in timings], size)[:, 0],
    )
