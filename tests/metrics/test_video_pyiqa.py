"""``ssim/pyiqa*@1`` and ``psnr/pyiqa@1`` against pyiqa itself, where the extra ``[iqa]`` is installed."""

from __future__ import annotations

import importlib.util
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
import pytest

from bench.metrics.psnr import Psnr, frame_measure, frame_psnr
from bench.metrics.ssim import Ssim

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("pyiqa") is None, reason="pyiqa is not installed (pip install 'bench-avgen[iqa]')"
)

SIZES = [(64, 64), (97, 131), (160, 120)]
# pyiqa rounds a luma that a matrix product in float32 gives: whole ties fall by the product's order of
# summation, which is the processor's, and one level in one pixel is 1e-5 of the mean.
LUMA_TIES = 3e-5


@lru_cache
def reference_metric(name: str) -> Any:
    """A metric of pyiqa on the CPU. torchvision's CPU build may be without compiled operators, which pyiqa's
    import looks up and its SSIM and PSNR never call: then they are declared here, without a body."""
    import torch

    if not hasattr(torch.ops.torchvision, "nms"):
        library = torch.library.Library("torchvision", "FRAGMENT")
        for operator in ("nms", "qnms"):
            library.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        reference_metric.library = library  # type: ignore[attr-defined]  # a library lives as long as its object
    import pyiqa

    return pyiqa.create_metric(name, device=torch.device("cpu"))


def value(name: str, generated: np.ndarray, expected: np.ndarray) -> float:
    import torch

    pictures = [torch.from_numpy(p).permute(2, 0, 1)[None].float() / 255 for p in (generated, expected)]
    return float(reference_metric(name)(*pictures))


def pairs() -> list[tuple[np.ndarray, np.ndarray]]:
    rng = np.random.default_rng(7)
    found = []
    for height, width in SIZES:
        smooth = cv2.resize(rng.integers(0, 256, (9, 11, 3), dtype=np.uint8), (width, height))
        noisy = np.clip(smooth + rng.normal(0, 12, smooth.shape), 0, 255).astype(np.uint8)
        found += [(noisy, smooth), (cv2.GaussianBlur(smooth, (0, 0), 2), smooth), (255 - smooth, smooth)]
    return found


@pytest.mark.parametrize(("ours", "theirs"), [("ssim/pyiqa@1", "ssim"), ("ssim/pyiqa-rgb@1", "ssimc")])
def test_ssim_agrees_with_pyiqa(ours: str, theirs: str) -> None:
    measure = Ssim().measure(ours)
    for generated, expected in pairs():
        assert measure.compute(expected, generated) == pytest.approx(value(theirs, generated, expected), abs=LUMA_TIES)


def test_psnr_agrees_with_pyiqa_and_identical_pictures_give_80_db() -> None:
    protocol = next(p for p in Psnr.protocols if p.id == "psnr/pyiqa@1")
    mse, decibel = frame_measure(protocol).compute, frame_psnr(protocol)
    for generated, expected in pairs():
        ours = decibel(mse(expected, generated))
        assert ours == pytest.approx(value("psnr", generated, expected), abs=2e-4)
    same = pairs()[0][1]
    assert decibel(mse(same, same)) == pytest.approx(80.0, abs=1e-9)
    assert value("psnr", same, same) == pytest.approx(80.0, abs=1e-3)
