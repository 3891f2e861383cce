"""The structural similarity of two pictures (Wang 2004), in every form that a protocol names.

With local means m, (co)variances v, C1 = (K1 L)² and C2 = (K2 L)²::

    SSIM = (2 m_x m_y + C1)/(m_x² + m_y² + C1) · (2 v_xy + C2)/(v_x + v_y + C2)

averaged over all windows that lie inside the picture (which is what scikit-image's mean leaves
after cutting its border) and then over channels. Only the *sum* of the variances occurs, so that
four filters do: x, y, x² + y², x·y. All in float64, in work space that is reused: on pictures of
this size fresh memory costs more than the arithmetic.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from bench.metrics.pictures import Picture, to_grey

Plane = NDArray[np.float64]  # (H, W), values 0..255
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
    """The channels that a recipe compares, each (H, W) float64."""
    if channels == "gray":
        return [to_grey(picture).astype(np.float64)]
    if channels == "luma":
        return [luma_levels(picture)]
    return [picture[..., channel].astype(np.float64) for channel in range(3)]


class StructuralSimilarity:
    """Computes one recipe; keeps its work space between calls, so use one per thread."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        self._weights = window_weights(recipe)
        n = recipe.window**2
        self._unbias = n / (n - 1) if recipe.sample_covariance else 1.0
        self._c1 = (recipe.k1 * recipe.data_range) ** 2
        self._c2 = (recipe.k2 * recipe.data_range) ** 2
        self._memory = np.empty((9, 0))

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
        mean_x, mean_y = self._filter(x, work[0]), self._filter(y, work[1])
        product = self._filter(np.multiply(x, y, out=work[2]), work[3])
        np.square(x, out=x)
        np.square(y, out=y)
        squares = self._filter(np.add(x, y, out=work[2]), work[4])
        means, energy, left = (self._inner(work[k]) for k in (5, 6, 7))
        np.multiply(mean_x, mean_y, out=means)
        np.square(mean_x, out=energy)
        energy += np.square(mean_y, out=left)
        variance = np.subtract(squares, energy, out=self._inner(work[8]))
        covariance = np.subtract(product, means, out=left)
        return self._mean_of_ratio(means, energy, covariance, variance)

    def _mean_of_ratio(self, means: Plane, energy: Plane, covariance: Plane, variance: Plane) -> float:
        """Mean of the two factors' product; all four planes are overwritten."""
        covariance *= 2.0 * self._unbias
        covariance += self._c2
        variance *= self._unbias
        variance += self._c2
        means *= 2.0
        means += self._c1
        energy += self._c1
        covariance /= variance
        if self.recipe.clip_contrast:
            np.maximum(covariance, 0.0, out=covariance)
        covariance *= means
        covariance /= energy
        return float(covariance.mean())

    def _filter(self, plane: Plane, out: Plane) -> Plane:
        """The weighted mean of every window inside ``plane``."""
        if self.recipe.sigma is None:
            side = (self.recipe.window, self.recipe.window)
            cv2.boxFilter(plane, cv2.CV_64F, side, dst=out, normalize=True)
        else:
            cv2.sepFilter2D(plane, cv2.CV_64F, self._weights, self._weights, dst=out)
        return self._inner(out)

    def _inner(self, plane: Plane) -> Plane:
        border = self.recipe.window // 2
        return plane[border : plane.shape[0] - border, border : plane.shape[1] - border]

    def _space(self, shape: tuple[int, ...]) -> list[Plane]:
        size = shape[0] * shape[1]
        if self._memory.shape[1] < size:
            self._memory = np.empty((9, size))
        return [row[:size].reshape(shape) for row in self._memory]
