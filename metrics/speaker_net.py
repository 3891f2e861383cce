"""Resemblyzer's network: a three-layer LSTM over mel frames, then a linear layer, ReLU and L2 norm.

Parameter names are those of the shipped checkpoint (``model_state`` of ``pretrained.pt``).
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import nn

from bench.api import DataError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from bench.api import WeightFile

_UNUSED = ("similarity_weight", "similarity_bias")  # of the training loss alone


class VoiceEncoder(nn.Module):
    """Mel windows (B, T, 40) to unit vectors (B, 256) without negative parts."""

    def __init__(self, n_mels: int = 40, width: int = 256, layers: int = 3) -> None:
        super().__init__()
        self.lstm = nn.LSTM(n_mels, width, layers, batch_first=True)
        self.linear = nn.Linear(width, width)

    def forward(self, mels: torch.Tensor) -> torch.Tensor:
        _, (hidden, _) = self.lstm(mels)  # (layers, B, width)
        raw = torch.relu(self.linear(hidden[-1]))  # (B, width)
        unit: torch.Tensor = raw / raw.norm(dim=1, keepdim=True)
        return unit

    @torch.inference_mode()
    def embed(self, mels: NDArray[np.float32]) -> NDArray[np.float32]:
        """Embeddings (B, 256) of windows (B, T, 40), on the device of the weights."""
        result: NDArray[np.float32] = self(torch.from_numpy(mels).to(self.linear.weight.device)).cpu().numpy()
        return result


def load_voice_encoder(path: Path, file: WeightFile, device: str) -> VoiceEncoder:
    """The network with the shipped weights; raises :class:`DataError` where the file is another one."""
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if digest != file.sha256:
        raise DataError(
            f"{path} is not the expected file: SHA-256 {digest}, expected {file.sha256}",
            "reinstall it: pip install --force-reinstall --no-deps Resemblyzer==0.1.4",
        )
    state = torch.load(path, map_location="cpu", weights_only=True)["model_state"]
    encoder = VoiceEncoder()
    encoder.load_state_dict({name: tensor for name, tensor in state.items() if name not in _UNUSED})
    return encoder.eval().to(device)
