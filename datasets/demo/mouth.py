"""The shape of the mouth for a state (gap, width, thick, jaw, tuck, teeth).

``gap`` is the opening between the lips and ``jaw`` the drop of the jaw, both in inter-ocular
distances; ``width`` and ``thick`` are ratios; ``tuck`` 0 … 1 draws the lower lip in (f, v);
``teeth`` 0 … 1 shows the upper teeth.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bench.datasets.demo.geometry import IOD, Lips

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bench.datasets.demo.speakers import Identity

GAP, WIDTH, THICK, JAW, TUCK, TEETH = range(6)

HALF_WIDTH = 0.40  # of the neutral mouth, in IOD
UPPER_SHARE, LOWER_SHARE = 0.18, 0.82  # of the opening: the jaw does the work
JOINT = 0.004  # half the distance of closed lips, in IOD
T = np.linspace(-0.75, 0.75, 7)  # places on a curve; the corners are at ±1
UPPER_PROFILE = np.array([0.62, 0.85, 1.0, 0.9, 1.0, 0.85, 0.62])  # thickness, with the cupid's bow
LOWER_PROFILE = np.array([0.5, 0.8, 0.97, 1.0, 0.97, 0.8, 0.5])
UPPER_THICK, LOWER_THICK = 0.088, 0.112  # in IOD


def arch(t: NDArray[np.float64]) -> NDArray[np.float64]:
    """The opening along the mouth, 1 in the middle and 0 at the corners."""
    return 1.0 - np.abs(t) ** 2.2


def lips(states: NDArray[np.float64], identity: Identity) -> Lips:
    """Contours in px, relative to the mouth centre, for states (T, 6)."""
    gap, width, thick, tuck = (states[:, k, None] for k in (GAP, WIDTH, THICK, TUCK))
    half = HALF_WIDTH * width * identity.mouth  # (T, 1)
    e = arch(T)
    upper_bottom = -UPPER_SHARE * gap * e - JOINT
    lower_top = LOWER_SHARE * gap * e + JOINT - 0.05 * tuck * e
    upper_top = upper_bottom - UPPER_THICK * identity.lips * thick * UPPER_PROFILE
    lower_bottom = lower_top + LOWER_THICK * identity.lips * thick * (1.0 - 0.55 * tuck) * LOWER_PROFILE
    x = T * half
    corner_x = np.concatenate([-half, half], axis=1)
    corner_y = np.repeat(UPPER_SHARE * gap, 2, axis=1)
    return Lips(
        *(
            np.stack([xs, ys], axis=-1) * IOD
            for xs, ys in (
                (corner_x, corner_y),
                (x, upper_top),
                (x, upper_bottom),
                (x, lower_top),
                (x, lower_bottom),
            )
        )
    )
