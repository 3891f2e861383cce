"""Who judges what, in which order: a pure function of names, sizes and a seed.

A *stimulus* is one system's version of one clip under a name that says nothing. A *trial* shows one stimulus
(opinions) or two versions of one clip (preference). A *sheet* is the list of trials of one participant. Systems
(or pairs of them) rotate over clips and participants as in a Latin square: on neighbouring sheets a clip is
heard from another system, and after as many sheets as there are systems (twice as many as there are pairs)
every version of every clip has been judged equally often, at either side.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise

import numpy as np

#: Trials, checks aside, beyond which one session gets too long.
LONGEST_SESSION = 60
#: One check of attention in so many trials; never fewer than two.
CHECK_EVERY = 15
CODE_LENGTH = 6
#: No letters or digits that are taken for one another.
ALPHABET = "ABCDEFGHJKMNPQRSTUVWXYZ23456789"

Trial = tuple[str, ...]  # names of stimuli: one, or two for a comparison


@dataclass(frozen=True)
class Names:
    """``stimuli[c][k]``: clip c by system k. ``checks``: the trials of attention, in the order of their use."""

    stimuli: Sequence[Sequence[str]]
    checks: Sequence[Trial]

    @property
    def n_clips(self) -> int:
        """How many clips."""
        return len(self.stimuli)

    @property
    def n_systems(self) -> int:
        """How many systems."""
        return len(self.stimuli[0])


def versions(kind: str, n_systems: int) -> int:
    """How many different trials one clip gives: its systems, or the pairs of them."""
    return n_systems if kind == "mos" else math.comb(n_systems, 2)


def rounds(kind: str, n_clips: int, n_systems: int) -> int:
    """How many trials of each clip one participant has: all, or as many as keep a session short, at least one."""
    return max(1, min(versions(kind, n_systems), LONGEST_SESSION // n_clips))


def n_checks(kind: str, n_clips: int, n_systems: int) -> int:
    """How many checks of attention one sheet has."""
    return max(2, round(n_clips * rounds(kind, n_clips, n_systems) / CHECK_EVERY))


def period(kind: str, n_systems: int) -> int:
    """After how many sheets every trial has been given equally often (comparisons: at either side)."""
    return versions(kind, n_systems) * (1 if kind == "mos" else 2)


def codes(n: int, seed: int, study: str) -> list[str]:
    """``n`` different codes of participants, hard to guess or to hit by a slip of the finger."""
    generator = np.random.default_rng([seed, *study.encode()])
    found: dict[str, None] = {}
    while len(found) < n:
        found["".join(ALPHABET[i] for i in generator.integers(0, len(ALPHABET), CODE_LENGTH))] = None
    return list(found)


def sheet(kind: str, names: Names, participant: int, seed: int) -> list[Trial]:
    """The trials of participant 0, 1, …: rounds over all clips, each in an order of its own, with checks in between.

    The same clip never stands twice in a row where there are at least three clips.
    """
    generator = np.random.default_rng([seed, participant])
    trials: list[Trial] = []
    last = -1
    for number in range(rounds(kind, names.n_clips, names.n_systems)):
        order = generator.permutation(names.n_clips).tolist()
        if order[0] == last and len(order) > 2:
            order[0], order[-1] = order[-1], order[0]
        last = order[-1]
        trials += [_trial(kind, names, clip, participant + clip + number) for clip in order]
    return _with_checks(trials, names.checks, generator)


def _trial(kind: str, names: Names, clip: int, turn: int) -> Trial:
    """The trial of a clip at the given turn of the rotation."""
    by_system = names.stimuli[clip]
    if kind == "mos":
        return (by_system[turn % names.n_systems],)
    pairs = list(combinations(range(names.n_systems), 2))
    lap, place = divmod(turn, len(pairs))
    first, second = pairs[place]
    # sides change from lap to lap, and begin differently for neighbouring pairs
    if (lap + first + second) % 2:
        first, second = second, first
    return by_system[first], by_system[second]


def _with_checks(trials: list[Trial], checks: Sequence[Trial], generator: np.random.Generator) -> list[Trial]:
    """One check at a random place of each of as many equal parts of the sheet, never as the first trial."""
    found = list(trials)
    bounds = np.linspace(1, len(trials), len(checks) + 1).round().astype(int)
    places = [int(generator.integers(low, max(high, low + 1))) for low, high in pairwise(bounds)]
    for check, place in sorted(zip(checks, places, strict=True), key=lambda pair: -pair[1]):
        sides = check if len(check) == 1 or generator.integers(2) else check[::-1]
        found.insert(place, tuple(sides))
    return found
