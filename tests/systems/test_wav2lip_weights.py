"""Official files of Wav2Lip on their way in: ``bench weights add`` and the strict load behind it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from bench import registry, weights
from bench.detfill import fill_module
from bench.errors import DataError
from bench.networks import OFFICIAL
from bench.systems.wav2lip.declare import FACE_DETECTOR, WAV2LIP, WAV2LIP_GAN
from bench.systems.wav2lip.generator import Wav2LipGenerator
from bench.systems.wav2lip.system import Wav2Lip
from bench.weights_add import add


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(registry, "names", lambda group: ["wav2lip"] if group == "systems" else [])
    monkeypatch.setattr(registry, "get", lambda group, name: Wav2Lip)
    monkeypatch.setenv("BENCH_WEIGHTS", str(tmp_path / "home"))
    weights.forget()
    yield
    weights.forget()


def checkpoint(folder: Path, network: torch.nn.Module) -> Path:
    """As the official trainers save it, on several devices."""
    state = {f"module.{name}": tensor for name, tensor in network.state_dict().items()}
    path = folder / "wav2lip.pth"
    optimizer = {"state": {0: {"exp_avg": torch.zeros(3)}}, "param_groups": [{"lr": 1e-4}]}
    torch.save({"state_dict": state, "optimizer": optimizer, "global_step": 3000, "global_epoch": 7}, path)
    return path


def test_a_checkpoint_of_the_official_trainer_is_added_and_loads_strictly(tmp_path: Path) -> None:
    network = fill_module(Wav2LipGenerator(), 2.0)
    path = checkpoint(tmp_path, network)
    with pytest.raises(DataError, match=r"may be any of wav2lip\.pth, wav2lip_gan\.pth"):
        add(path)
    assert add(path, WAV2LIP.name).state == "added"
    loaded = OFFICIAL.fill(Wav2LipGenerator(), WAV2LIP)
    assert not loaded.training
    for name, tensor in network.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor), name
    lines = Wav2Lip({}).missing()
    assert len(lines) == 1
    assert FACE_DETECTOR.name in lines[0]
    assert len(Wav2Lip({"checkpoint": "wav2lip_gan"}).missing()) == 2
    assert weights.locate(WAV2LIP_GAN) is None


def test_another_networks_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "wav2lip.pth"
    torch.save({"state_dict": {"layer.weight": torch.zeros(2, 2)}}, path)
    with pytest.raises(DataError):
        add(path)
    with pytest.raises(DataError, match=r"is not wav2lip\.pth"):
        add(path, WAV2LIP.name)
