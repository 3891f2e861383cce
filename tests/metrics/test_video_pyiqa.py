"""``ssim/pyiqa*@1`` and ``psnr/pyiqa@1`` against pyiqa itself.

pyiqa is looked for among the installed packages (extra ``[iqa]``), then in the folder ``iqa`` of the
environment, where ``make test`` puts it apart from the rest.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from bench.metrics.psnr import Psnr, frame_measure, frame_psnr
from bench.metrics.ssim import Ssim

APART = Path(sys.prefix) / "iqa"
pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("pyiqa") is None and not (APART / "pyiqa").is_dir(),
    reason="pyiqa is not installed (pip install 'bench-avgen[iqa]')",
)

SIZES = [(64, 64), (97, 131), (160, 120)]
# pyiqa rounds a luma that a matrix product in float32 gives: whole ties fall by the product's order of
# summation, which is the processor's, and one level in one pixel is 1e-5 of the mean.
LUMA_TIES = 3e-5

Pair = tuple[np.ndarray, np.ndarray]


def made_pairs() -> list[Pair]:
    """(generated, reference): noise, blur and negative at each size, and two equal pictures."""
    rng = np.random.default_rng(7)
    found = []
    for height, width in SIZES:
        smooth = cv2.resize(rng.integers(0, 256, (9, 11, 3), dtype=np.uint8), (width, height))
        noisy = np.clip(smooth + rng.normal(0, 12, smooth.shape), 0, 255).astype(np.uint8)
        found += [(noisy, smooth), (cv2.GaussianBlur(smooth, (0, 0), 2), smooth), (255 - smooth, smooth)]
    return [*found, (smooth, smooth)]


@pytest.fixture(scope="module")
def pairs() -> list[Pair]:
    return made_pairs()


@pytest.fixture(scope="module")
def theirs(pairs: list[Pair], tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[float]]:
    path = tmp_path_factory.mktemp("iqa") / "pairs.npz"
    np.savez(path, **{f"{side}{k}": pair[i] for k, pair in enumerate(pairs) for i, side in enumerate(("gen", "ref"))})
    script = Path(__file__).with_name("pyiqa_values.py")
    environment = {**os.environ, "PYTHONPATH": str(APART)}
    done = subprocess.run(
        [sys.executable, str(script), str(path)], capture_output=True, text=True, check=False, env=environment
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found: dict[str, list[float]] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.mark.parametrize(("protocol", "name"), [("ssim/pyiqa@1", "ssim"), ("ssim/pyiqa-rgb@1", "ssimc")])
def test_ssim_agrees_with_pyiqa(pairs: list[Pair], theirs: dict[str, list[float]], protocol: str, name: str) -> None:
    measure = Ssim().measure(protocol)
    ours = [measure.compute(expected, generated) for generated, expected in pairs]
    assert ours == pytest.approx(theirs[name], abs=LUMA_TIES)


def test_psnr_agrees_with_pyiqa_and_identical_pictures_give_80_db(
    pairs: list[Pair], theirs: dict[str, list[float]]
) -> None:
    protocol = next(p for p in Psnr.protocols if p.id == "psnr/pyiqa@1")
    mse, decibel = frame_measure(protocol).compute, frame_psnr(protocol)
    ours = [decibel(mse(expected, generated)) for generated, expected in pairs]
    assert ours == pytest.approx(theirs["psnr"], abs=1e-3)
    assert ours[-1] == pytest.approx(80.0, abs=1e-9)
