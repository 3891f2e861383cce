"""SyncNet's operations against recorded numbers, through the conformance command's own comparison."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.conformance import Fill, find_cases, run_case
from bench.metrics import adapters_lse

ROOT = Path(__file__).parents[2]
CASES = [
    "mfcc",
    "mfcc_silence",
    "lse_lengths",
    "lse_embeddings",
    "lrs_resize",
    "syncnet_net",
    "lse_clip_a",
    "lse_clip_b",
]


@pytest.mark.parametrize("name", CASES)
def test_golden(name: str) -> None:
    for folder in (ROOT / "tests" / "golden", ROOT / ".." / "shared" / "golden"):
        found = [case for case in find_cases(folder, ["metrics"]) if case.name == name] if folder.is_dir() else []
        if found:
            result = run_case(found[0], adapters_lse.OPS[found[0].op])
            assert result.passed, result.detail
            return
    pytest.skip(f"the golden case {name} lies neither in tests/golden nor in ../shared")


def call(op: str, config: dict[str, Any], inputs: Any) -> Any:
    return getattr(adapters_lse, op)(config, inputs, Fill())


def test_every_pair_of_embeddings_is_answered_with_the_cases_shift_range() -> None:
    rng = np.random.default_rng(0)
    inputs = {f"{side}{end}": rng.standard_normal((20, 8)) for side in "va" for end in ("", "0", "_long")}
    out = call("lse_embeddings", {"vshift": 4}, inputs)
    assert {f"dists{end}" for end in ("", "0", "_long")} <= set(out)
    assert out["dists0"].shape == (20, 9)
    assert len(out["mean_dist_long"]) == 9


def test_settings_of_mfcc_come_from_the_case() -> None:
    wave = np.random.default_rng(0).integers(-3000, 3000, 4000).astype(np.int16)
    out = call("mfcc", {"samplerate": 8000, "numcep": 9, "appendEnergy": False}, {"audio3": wave})
    assert out["mfcc3"].shape == (1 + int(np.ceil((4000 - 200) / 80)), 9)
    assert out["filterbank"].argmax(axis=1)[-1] > 200  # up to half of the rate


def test_pictures_of_any_size_and_number_are_squeezed() -> None:
    pictures = {f"frame{k}": np.full((60 + k, 90, 3), 7 * k, np.uint8) for k in range(3)}
    out = call("lrs_resize", {}, pictures)
    assert {key: (value.shape, int(value.max())) for key, value in out.items()} == {
        f"resized{k}": ((112, 112, 3), 7 * k) for k in range(3)
    }
