"""The loops of the alias-free activation, compiled by numba at the first call (1 s; kept on disk afterwards).

A depth-wise convolution with stride 2 and its transpose touch memory six times and multiply by the zeros between
the samples. Here the 12 taps are two phases of 6: the even and odd samples of the doubled rate are made block by
block in buffers that stay in the cache, bent, and filtered down again. The sine is a polynomial after reduction
by π (error 5e-9 before rounding), which lets the compiler use the vector units.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

_Floats = NDArray[np.float32]

#: Samples of a block: the three buffers take 12 KiB.
_BLOCK = 1024
_TAPS = 12
#: Taps of a phase; a sample depends on three neighbours at each side, twice.
_PHASE = 6
_HALO = 3
#: π in three parts whose products with small integers are exact in float32 (Cody and Waite; Cephes `sinf`).
_PI_1, _PI_2, _PI_3 = np.float32(3.140625), np.float32(9.67502593994140625e-4), np.float32(1.509957990978376e-7)
_INVERSE_PI = np.float32(1.0 / np.pi)
_HALF = np.float32(0.5)
_ZERO = np.float32(0.0)
#: sin r = r + r³ (s3 + s5 r² + s7 r⁴ + s9 r⁶) on [-π/2, π/2], minimax fit.
_S3, _S5 = np.float32(-0.16666657097), np.float32(8.3330173138e-3)
_S7, _S9 = np.float32(-1.9806616826e-4), np.float32(2.6000583834e-6)


@njit(nogil=True, cache=True, inline="always")
def _bend(x: np.float32, frequency: np.float32, magnitude: np.float32) -> np.float32:
    """x + magnitude sin²(frequency x); the sign of the sine is lost in the square."""
    angle = x * frequency
    turns = np.floor(angle * _INVERSE_PI + _HALF)
    r = angle - turns * _PI_1 - turns * _PI_2 - turns * _PI_3
    u = r * r
    sine = r + r * u * (_S3 + u * (_S5 + u * (_S7 + u * _S9)))
    bent: np.float32 = x + magnitude * sine * sine
    return bent


@njit(nogil=True, cache=True, fastmath={"contract"})
def activate_rows(
    rows: _Floats,
    written: _Floats,
    first: int,
    last: int,
    up: _Floats,
    down: _Floats,
    frequency: _Floats,
    magnitude: _Floats,
) -> None:
    """Rows ``first`` to ``last`` of ``(B C, L)`` into ``written``; ``up`` ``(12,)`` contains the gain of 2."""
    length = rows.shape[1]
    source = np.empty(_BLOCK + 4 * _HALO, np.float32)
    even = np.empty(_BLOCK + 2 * _HALO, np.float32)
    odd = np.empty(_BLOCK + 2 * _HALO, np.float32)
    for row in range(first, last):
        omega, height = frequency[row % len(frequency)], magnitude[row % len(magnitude)]
        for start in range(0, length, _BLOCK):
            count = min(_BLOCK, length - start)
            for i in range(count + 4 * _HALO):
                source[i] = rows[row, min(max(start + i - 2 * _HALO, 0), length - 1)]
            for i in range(count + 2 * _HALO):  # samples 2 m and 2 m + 1 of m = start + i - 3
                a, b = _ZERO, _ZERO
                for k in range(_PHASE):
                    a += up[_TAPS - 1 - 2 * k] * source[i + k]
                    b += up[_TAPS - 2 - 2 * k] * source[i + k + 1]
                even[i] = _bend(a, omega, height)
                odd[i] = _bend(b, omega, height)
            if start == 0:  # before the first sample: the first
                even[:_HALO] = even[_HALO]
                odd[:_HALO] = even[_HALO]
            end = length - start + _HALO
            for i in range(end, count + 2 * _HALO):  # after the last sample: the last
                even[i] = odd[end - 1]
                odd[i] = odd[end - 1]
            for i in range(count):
                total = _ZERO
                for k in range(_PHASE):
                    total += down[2 * k] * odd[i + k] + down[2 * k + 1] * even[i + k + 1]
                written[row, start + i] = total
