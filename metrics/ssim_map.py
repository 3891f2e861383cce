"""The structural similarity of two pictures (Wang 2004), in every form that a protocol names.

With local means m, (co)variances v, C1 = (K1 L)² and C2 = (K2 L)²::

    SSIM = (2 m_x m_y + C1)/(m_x² + m_y² + C1) · (2 v_xy + C2)/(v_x + v_y + C2)

averaged over all windows that lie inside the picture (which is what scikit-image's mean leaves
after cutting its border) and then over channels. With the sum s = x + y and the difference d = x - y of the
pictures the same is

    SSIM = (m_s² - m_d² + 2 C1)/(m_s² + m_d² + 2 C1) · (v_s - v_d + 2 C2)/(v_s + v_d + 2 C2)

which takes four filters (s, d, s², d²) and one division, in work space that is reused: on pictures of
this size fresh memory costs more than the arithmetic.

The Gaussian forms of scikit-image are computed in float32, which doubles the speed, all others in float64. What
float32 loses in v = (mean of squares) - (square of mean) grows with the distance from 0, so both s and d have
their picture's rounded mean taken off first, which no variance feels. Against float64: 4e-8 on frames of a
clip (7e-8 on grey ones), 1e-6 at most (a picture against its negative). Equal pictures have d = 0: exactly 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from bench.metrics.pictures import Picture, to_grey

Plane = NDArray[Any]  # (H, W), values 0..255
Channels = Literal["rgb", "gray", "luma"]

#: RGB weights of Y of YIQ.
LUMA_WEIGHTS = (0.299, 0.587, 0.114)


@dataclass(frozen=True)
class Recipe:
    """One form of SSIM. ``sigma`` ``None`` is a uniform window.

    ``sample_covariance``: unbiased (co)variances. ``clip_contrast``: the second factor is cut at 0.
    ``single_precision_window``: the two-dimensional window is rounded to float32 first.
    """

    channels: Channels = "rgb"
    window: int = 11
    sigma: float | None = 1.5
    sample_covariance: bool = False
    clip_contrast: bool = False
    single_precision_window: bool = False
    k1: float = 0.01
    k2: float = 0.03
    data_range: float = 255.0

    @classmethod
    def from_parameters(cls, parameters: Mapping[str, Any]) -> Recipe:
        """The recipe that a protocol's parameters describe."""
        pyiqa = str(parameters.get("metric", "")).startswith("pyiqa")
        gaussian = pyiqa or bool(parameters["gaussian_weights"])
        channels: Channels = "gray" if "gray" in parameters else "rgb"
        if str(parameters.get("channel", "")).startswith("Y"):
            channels = "luma"
        return cls(
            channels=channels,
            window=int(parameters.get("window", cls.window)),
            sigma=float(parameters["sigma"]) if gaussian else None,
            sample_covariance=bool(parameters.get("use_sample_covariance", False)),
            clip_contrast="cs_clip" in parameters,
            single_precision_window=pyiqa,
            k1=float(parameters.get("K1", cls.k1)),
            k2=float(parameters.get("K2", cls.k2)),
            data_range=float(parameters.get("data_range", cls.data_range)),
        )


def window_weights(recipe: Recipe) -> NDArray[np.float64]:
    """The window along one axis (window,); its outer square sums to 1, but for a float32 rounding if asked."""
    if recipe.sigma is None:
        return np.full(recipe.window, 1.0 / recipe.window)
    steps = np.arange(recipe.window) - recipe.window // 2
    weights = np.exp(-(steps**2) / (2.0 * recipe.sigma**2))
    weights /= weights.sum()
    if recipe.single_precision_window:
        # The rounded window sums to 1 - 6e-9, and that moves the result by 3e-7; the rounding of
        # single weights beyond the sum moves it by 1e-10.
        weights *= np.sqrt(np.outer(weights, weights).astype(np.float32).astype(np.float64).sum())
    return weights


def luma_levels(picture: Picture) -> Plane:
    """Y of YIQ on whole levels, ties as float32 arithmetic with fused multiply-add decides them.

    The recorded reference computes r·0.299 + g·0.587 + b·0.114 in float32 with fused steps; they are
    replayed in float64 (a product of two float32 numbers is exact there), so that the result does
    not depend on the machine's linear algebra. Equal on all 2**24 colours to the recorded one.
    """
    unit = (picture.astype(np.float32) / np.float32(255)).astype(np.float64)
    total = np.zeros(picture.shape[:2])
    for channel, weight in enumerate(LUMA_WEIGHTS):
        step = total + unit[..., channel] * float(np.float32(weight))
        total = step.astype(np.float32).astype(np.float64)
    scaled = total.astype(np.float32) * np.float32(255)
    return np.asarray(np.round(scaled), dtype=np.float64)


def planes(picture: Picture, channels: Channels) -> list[Plane]:
    """The channels that a recipe compares, each (H, W), uint8 or float64."""
    if channels == "gray":
        return [to_grey(picture)]
    if channels == "luma":
        return [luma_levels(picture)]
    return list(cv2.split(picture))


class StructuralSimilarity:
    """Computes one recipe; keeps its work space between calls, so use one per thread."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        quick = recipe.sigma is not None and not recipe.single_precision_window
        self._type: Any = np.float32 if quick else np.float64
        self._weights: NDArray[np.floating[Any]] = window_weights(recipe).astype(self._type)
        n = recipe.window**2
        self._unbias = n / (n - 1) if recipe.sample_covariance else 1.0
        self._c1 = (recipe.k1 * recipe.data_range) ** 2
        self._c2 = (recipe.k2 * recipe.data_range) ** 2
        self._memory = np.empty((6, 0), self._type)

    def per_channel(self, reference: Picture, generated: Picture) -> NDArray[np.float64]:
        """SSIM of each channel (C,). Both pictures (H, W, 3) RGB uint8, at least a window large.

        Raises:
            ValueError: shapes differ or are smaller than the window.
        """
        if reference.shape != generated.shape or min(reference.shape[:2]) < self.recipe.window:
            raise ValueError(
                f"pictures of {reference.shape} and {generated.shape}; they must be equal and at least "
                f"{self.recipe.window} px in both directions"
            )
        pairs = zip(planes(reference, self.recipe.channels), planes(generated, self.recipe.channels), strict=True)
        return np.array([self._plane(x, y) for x, y in pairs])

    def __call__(self, reference: Picture, generated: Picture) -> float:
        """Mean over channels; at most 1 (rounding of nearly equal pictures is cut)."""
        return min(1.0, float(self.per_channel(reference, generated).mean()))

    def _plane(self, x: Plane, y: Plane) -> float:
        work = self._space(x.shape)
        total = np.add(x, y, out=work[0], dtype=self._type)
        apart = np.subtract(x, y, out=work[1], dtype=self._type)
        sum_squared, sum_variance = self._moments(total, work[2], work[3])
        apart_squared, apart_variance = self._moments(apart, work[4], work[5])
        sum_squared += 2.0 * self._c1
        sum_variance += 2.0 * self._c2
        return self._mean_of_ratio(sum_squared, apart_squared, sum_variance, apart_variance)

    def _moments(self, plane: Plane, mean_out: Plane, variance_out: Plane) -> tuple[Plane, Plane]:
        """Square of the local mean, and local variance, of ``plane``, which is overwritten."""
        centre = 0.0
        if self._type is np.float32:
            centre = float(np.rint(cv2.mean(plane)[0]))
            plane -= centre
        mean = self._filter(plane, mean_out)
        np.square(plane, out=plane)
        variance = self._filter(plane, variance_out)
        variance -= np.square(mean, out=self._inner(plane))
        if self.recipe.sample_covariance:
            variance *= self._unbias
        mean += centre
        return np.square(mean, out=mean), variance

    def _mean_of_ratio(self, total: Plane, apart: Plane, total_variance: Plane, apart_variance: Plane) -> float:
        """Mean of the two factors' product; the constants are in the terms of the sum, which are overwritten."""
        contrast = total_variance - apart_variance
        if self.recipe.clip_contrast:
            np.maximum(contrast, 0.0, out=contrast)
        contrast *= total - apart
        total += apart
        total_variance += apart_variance
        total *= total_variance
        contrast /= total
        return float(contrast.mean(dtype=np.float64))

    def _filter(self, plane: Plane, out: Plane) -> Plane:
        """The weighted mean of every window inside ``plane``."""
        if self.recipe.sigma is None:
            side = (self.recipe.window, self.recipe.window)
            cv2.boxFilter(plane, -1, side, dst=out, normalize=True)
        else:
            cv2.sepFilter2D(plane, -1, self._weights, self._weights, dst=out)
        return self._inner(out)

    def _inner(self, plane: Plane) -> Plane:
        border = self.recipe.window // 2
        return plane[border : plane.shape[0] - border, border : plane.shape[1] - border]

    def _space(self, shape: tuple[int, ...]) -> list[Plane]:
        size = shape[0] * shape[1]
        if self._memory.shape[1] < size:
            self._memory = np.empty((6, size), self._type)
        return [row[:size].reshape(shape) for row in self._memory]
