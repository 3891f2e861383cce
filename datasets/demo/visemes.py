"""From timed phonemes to mouth states: viseme classes and dominance-weighted smoothing.

A mouth state is (gap, width, thick, jaw, tuck, teeth): the opening and the drop of the jaw in
inter-ocular distances, the rest relative; see :mod:`bench.datasets.demo.mouth`. Phoneme names are
espeak-ng's.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bench.records import FPS

if TYPE_CHECKING:
    from numpy.typing import NDArray

_log = logging.getLogger(__name__)

STATE_FIELDS = ("gap", "width", "thick", "jaw", "tuck", "teeth")
RATE = 200  # Hz of the piecewise constant states
SIGMA_S = 0.030  # of the smoothing: 71 ms full width at half maximum
LEAD_S = 0.020  # the lips lead the sound
DIPHTHONG_CUT = 0.55  # of the phoneme's length
STRESS = 1.1  # gain of gap and jaw on a stressed phoneme
SILENCE = "_"
PALATAL = ";"  # a mark without a sound of its own


@dataclass(frozen=True, slots=True)
class Viseme:
    """The state of one class, and its weight against its neighbours (``dominance``)."""

    gap: float
    width: float
    thick: float
    jaw: float
    tuck: float
    teeth: float
    dominance: float

    def state(self, gain: float = 1.0) -> tuple[float, ...]:
        """The six numbers of the state, opening and jaw times ``gain``."""
        return (self.gap * gain, self.width, self.thick, self.jaw * gain, self.tuck, self.teeth)


VISEMES: Mapping[str, Viseme] = {
    "sil": Viseme(0.000, 1.00, 1.00, 0.000, 0, 0.6, 0.8),
    "PP": Viseme(0.000, 0.97, 0.90, 0.000, 0, 0.6, 3.0),
    "FV": Viseme(0.035, 1.00, 1.00, 0.015, 1, 1.0, 2.5),
    "TH": Viseme(0.070, 1.02, 1.00, 0.030, 0, 1.0, 1.0),
    "DD": Viseme(0.060, 1.02, 1.00, 0.030, 0, 0.8, 0.6),
    "LL": Viseme(0.090, 1.02, 1.00, 0.040, 0, 0.6, 0.7),
    "KK": Viseme(0.080, 1.00, 1.00, 0.040, 0, 0.5, 0.5),
    "CH": Viseme(0.070, 0.78, 1.12, 0.020, 0, 1.0, 1.5),
    "SS": Viseme(0.045, 1.05, 1.00, 0.015, 0, 1.0, 1.2),
    "RR": Viseme(0.070, 0.80, 1.08, 0.030, 0, 0.5, 1.0),
    "WW": Viseme(0.040, 0.62, 1.15, 0.010, 0, 0.2, 2.0),
    "JJ": Viseme(0.060, 1.06, 1.00, 0.030, 0, 0.7, 0.7),
    "ii": Viseme(0.090, 1.16, 0.95, 0.030, 0, 0.9, 1.0),
    "ih": Viseme(0.110, 1.06, 0.98, 0.050, 0, 0.7, 1.0),
    "eh": Viseme(0.170, 1.07, 0.98, 0.090, 0, 0.7, 1.0),
    "aa": Viseme(0.260, 1.06, 0.98, 0.150, 0, 0.6, 1.0),
    "ah": Viseme(0.290, 0.98, 1.00, 0.170, 0, 0.5, 1.0),
    "uh": Viseme(0.200, 1.00, 1.00, 0.110, 0, 0.5, 1.0),
    "ax": Viseme(0.120, 0.98, 1.00, 0.060, 0, 0.5, 0.8),
    "uu": Viseme(0.070, 0.64, 1.15, 0.030, 0, 0.2, 1.6),
    "oo": Viseme(0.180, 0.70, 1.12, 0.100, 0, 0.3, 1.3),
}
REST = VISEMES["sil"]

_NAMES: Mapping[str, str] = {
    "sil": "_ _:",
    "PP": "p b m",
    "FV": "f v",
    "TH": "T D",
    "DD": "t d n t#",
    "LL": "l @L",
    "KK": "k g N h",
    "CH": "tS dZ S Z",
    "SS": "s z",
    "RR": "r r- 3 3:",
    "WW": "w",
    "JJ": "j",
    "ii": "i:",
    "ih": "I I2 i",
    "eh": "E e",
    "aa": "a aa",
    "ah": "A: 0",
    "uh": "V",
    "ax": "@ @2 a#",
    "uu": "u: U",
    "oo": "O: o: O",
}
#: Phoneme -> its class, or the two classes of a diphthong.
PHONEMES: Mapping[str, tuple[str, ...]] = {
    **{name: (viseme,) for viseme, names in _NAMES.items() for name in names.split()},
    "aI": ("aa", "ih"),
    "eI": ("eh", "ih"),
    "oU": ("oo", "uu"),
    "aU": ("aa", "uu"),
    "OI": ("oo", "ih"),
    "i@": ("ih", "ax"),
    "i@3": ("ih", "RR"),
    "o@": ("oo", "RR"),
    "A@": ("ah", "RR"),
    "e@": ("eh", "RR"),
    "U@": ("uu", "RR"),
    "aI@": ("aa", "ax"),
}


@dataclass(frozen=True, slots=True)
class Timed:
    """A phoneme or a word with its span in seconds."""

    name: str
    start: float
    end: float


def bare(name: str) -> str:
    """A phoneme's name without its stress marks."""
    return name.lstrip("',%=")


def spans(phonemes: Sequence[Timed]) -> list[tuple[Viseme, float, float, float]]:
    """(viseme, gain, start, end) of each stretch of constant state; diphthongs are cut in two.

    A name that the table lacks becomes ``ax`` and is logged as a warning.
    """
    stretches: list[tuple[Viseme, float, float, float]] = []
    for phoneme in phonemes:
        name = bare(phoneme.name)
        if name == PALATAL:
            continue
        if name not in PHONEMES:
            _log.warning("demo corpus: phoneme %r has no viseme; the neutral vowel stands in", phoneme.name)
        classes = PHONEMES.get(name, ("ax",))
        gain = STRESS if phoneme.name.startswith("'") else 1.0
        middle = phoneme.start + DIPHTHONG_CUT * (phoneme.end - phoneme.start)
        cuts = (phoneme.start, middle, phoneme.end) if len(classes) == 2 else (phoneme.start, phoneme.end)
        for viseme, start, end in zip(classes, cuts, cuts[1:], strict=False):
            stretches.append((VISEMES[viseme], gain, start, end))
    return stretches


def mouth_states(phonemes: Sequence[Timed], n_frames: int) -> NDArray[np.float64]:
    """The mouth state of each frame (T, 6), closed outside speech.

    Σ d·v·g / Σ d·g with the dominance d and a Gaussian g around (i + 0.5)/25 + lead: the weights keep
    p, b, m closed and w, u round between open vowels, where a plain Gaussian would open them.
    """
    margin = round(4 * SIGMA_S * RATE)  # rest on both sides, so that the ends are like any other place
    count = round(n_frames / FPS * RATE)
    times = (np.arange(-margin, count + margin) + 0.5) / RATE
    states = np.tile(np.array(REST.state()), (times.size, 1))
    dominance = np.full(times.size, REST.dominance)
    for viseme, gain, start, end in spans(phonemes):
        inside = (times >= start) & (times < end)
        states[inside] = viseme.state(gain)
        dominance[inside] = viseme.dominance
    centres = (np.arange(n_frames) + 0.5) / FPS + LEAD_S
    weights = np.exp(-0.5 * ((centres[:, None] - times) / SIGMA_S) ** 2) * dominance  # (T, S)
    weights /= weights.sum(axis=1, keepdims=True)
    # einsum, not matmul: no BLAS threads, and the same sum on every machine
    smooth: NDArray[np.float64] = np.einsum("ts,sk->tk", weights, states)
    return smooth
