"""The audio metrics against recorded numbers of their references, through the conformance adapters.

Cases of ``tests/golden`` run everywhere; those that hold other people's recordings stay in ``../shared``.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.metrics import adapters_audio

ROOT = Path(__file__).parents[2]
FOLDERS = (ROOT / "tests" / "golden" / "metrics", ROOT / ".." / "shared" / "golden" / "metrics")


def golden(name: str) -> Path:
    for folder in FOLDERS:
        if (folder / name).is_file():
            return folder / name
    pytest.skip(f"the golden case {name} lies neither in tests/golden nor in ../shared")


def tensors(name: str) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any], tuple[float, float]]:
    """Configuration, inputs, expected outputs and (rtol, atol) of a case."""
    from safetensors import safe_open

    with safe_open(golden(name), "np") as file:
        meta = file.metadata()
        content = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    sides = [{k.partition(".")[2]: v for k, v in content.items() if k.startswith(side)} for side in ("in.", "out.")]
    return json.loads(meta["config"]), sides[0], sides[1], (float(meta["rtol"]), float(meta["atol"]))


def check_tensors(name: str, op: Any) -> None:
    config, inputs, expected, (rtol, atol) = tensors(name)
    outputs = op(config, inputs, None)
    assert expected
    for key, value in expected.items():
        got = np.asarray(outputs[key], np.float64)
        if value.size > 1:
            assert got.shape == value.shape, key
        np.testing.assert_allclose(got.reshape(value.shape), value, rtol=rtol, atol=atol, err_msg=key)


def test_text_normaliser_answers_as_recorded() -> None:
    case = json.loads(golden("text_norm.json").read_text())
    outputs = adapters_audio.text_norm({}, {"pairs": [{"text": p["text"]} for p in case["pairs"]]}, None)
    for pair, got in zip(case["pairs"], outputs["pairs"], strict=True):
        assert got["norm"] == pair["norm"], pair["text"]


def test_error_rates_are_as_recorded_per_pair_and_for_the_corpus() -> None:
    case = json.loads(golden("wer_pairs.json").read_text())
    inputs = {"pairs": [{"ref": p["ref"], "hyp": p["hyp"]} for p in case["pairs"]], "corpus": {}}
    outputs = adapters_audio.wer_pairs({}, inputs, None)
    for pair, got in zip(case["pairs"], outputs["pairs"], strict=True):
        for key in set(pair) - {"ref", "hyp"}:
            wanted = pair[key] if isinstance(pair[key], str) else pytest.approx(pair[key], rel=1e-9, abs=1e-12)
            assert got[key] == wanted, (pair["ref"], key)
    corpus = case["corpus"]
    assert outputs["corpus"].pop("failures") == corpus.pop("failures")
    assert outputs["corpus"] == pytest.approx(corpus, rel=1e-9)


def test_pocketsphinx_hears_what_was_recorded() -> None:
    case = json.loads(golden("pocketsphinx.json").read_text())
    _, waves, _, _ = tensors("secs.safetensors")
    cases = [
        {"audio": waves[c["audio"].split(".")[-1]][: c["samples"]], "samples": c["samples"]} for c in case["cases"]
    ]
    outputs = adapters_audio.pocketsphinx({}, {"jsgf": case["jsgf"], "cases": cases}, None)
    for expected, got in zip(case["cases"], outputs["cases"], strict=True):
        assert got == {key: expected[key] for key in ("hyp_lm", "hyp_jsgf")}
    assert outputs["silence_1s_jsgf"] == case["silence_1s_jsgf"]


def test_speaker_embedding_of_recordings_is_as_recorded() -> None:
    check_tensors("secs.safetensors", adapters_audio.secs)


def test_speaker_embedding_of_a_synthetic_wave_is_as_recorded() -> None:
    check_tensors("secs_synthetic.safetensors", adapters_audio.secs)


def test_window_starts_other_than_recorded_fail_the_case() -> None:
    config, inputs, _, _ = tensors("secs_synthetic.safetensors")
    config["partial_starts_in_mel_frames"]["35000"] = [0, 76]
    with pytest.raises(Exception, match="35000 samples"):
        adapters_audio.secs(config, inputs, None)


def test_dnsmos_of_recordings_is_as_recorded() -> None:
    check_tensors("dnsmos.safetensors", adapters_audio.dnsmos)
