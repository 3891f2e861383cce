"""The video operations against recorded numbers, through the conformance command's own comparison."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.api import UsageError
from bench.conformance import find_cases, run_case
from bench.metrics import adapters_video

ROOT = Path(__file__).parents[2]
CASES = ["ssim_psnr", "lmd", "avsync_offset", "csim_cosine", "dlib_face"]
CASES += [f"frechet_{kind}" for kind in ("few", "full", "low_rank", "same")]


@pytest.mark.parametrize("name", CASES)
def test_golden(name: str) -> None:
    for folder in (ROOT / "tests" / "golden", ROOT / ".." / "shared" / "golden"):
        found = [case for case in find_cases(folder, ["metrics"]) if case.name == name] if folder.is_dir() else []
        if found:
            result = run_case(found[0], adapters_video.OPS[found[0].op])
            assert result.passed, result.detail
            return
    pytest.skip(f"the golden case {name} lies neither in tests/golden nor in ../shared")


def call(op: str, config: dict[str, Any], inputs: dict[str, Any]) -> dict[str, Any]:
    return dict(getattr(adapters_video, op)(config, inputs, None))


def test_other_columns_sizes_and_numbers_of_pictures_are_served() -> None:
    rng = np.random.default_rng(0)
    inputs = {f"gen{k}": rng.integers(0, 256, (31, 47, 3)).astype(np.uint8) for k in range(3)}
    inputs["ref"] = inputs["gen2"]
    out = call("ssim_psnr", {"columns": ["psnr/rgb (raw)", "ssim/pyiqa"]}, inputs)
    assert set(out) == {*"012", "channels0", "channels1", "channels2"}
    assert out["2"].tolist() == [np.inf, 1.0]
    with pytest.raises(UsageError, match="unknown column 'ssim/other'"):
        call("ssim_psnr", {"columns": ["ssim/other"]}, inputs)


def test_pictures_are_named_by_crop_mirror_and_size() -> None:
    from skimage import data

    whole = data.astronaut()
    assert (adapters_video.named_picture("astronaut[10:200,:300]") == whole[10:200, :300]).all()
    assert (adapters_video.named_picture("astronaut mirrored") == whole[:, ::-1]).all()
    assert adapters_video.named_picture("OpenCV INTER_LINEAR resize to 100x80").shape == (80, 100, 3)
    with pytest.raises(UsageError, match="unknown picture 'coffee'"):
        adapters_video.named_picture("coffee")
