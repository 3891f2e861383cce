"""The perceptual loss: how far two faces are apart in five layers of VGG-19.

Simonyan, Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition", 2015, as torchvision
publishes it (``vgg19-dcbb9e9d.pth``); layers and coefficients by tfg.md 2.3. Who has not added the file trains without.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import nn

from bench.networks import OFFICIAL, WeightSource
from bench.systems.hierspeech.face.declare import VGG19

#: The layers whose outputs are compared (relu1_1 to relu5_1 of ``features``), and how much each one counts.
LAYERS = {1: 1 / 32, 6: 1 / 16, 11: 1 / 8, 20: 1 / 4, 29: 1.0}

_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet's, RGB
_STAGES = ((64, 2), (128, 2), (256, 4), (512, 4), (512, 4))  # channels, convolutions
_POOLED = 7  # rows before the classifier
_HIDDEN, _CLASSES = 4096, 1000


class Vgg19(nn.Module):
    """The whole published network, so that its file loads strictly; the loss uses ``features``."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        inside = 3
        for width, count in _STAGES:
            for _ in range(count):
                layers += [nn.Conv2d(inside, width, 3, padding=1), nn.ReLU()]
                inside = width
            layers.append(nn.MaxPool2d(2, 2))
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Sequential(
            nn.Linear(inside * _POOLED**2, _HIDDEN),
            nn.ReLU(),
            nn.Dropout(),
            nn.Linear(_HIDDEN, _HIDDEN),
            nn.ReLU(),
            nn.Dropout(),
            nn.Linear(_HIDDEN, _CLASSES),
        )


def manifest() -> dict[str, tuple[tuple[int, ...], str]]:
    """Names, shapes and types of the published file."""
    with torch.device("meta"):
        state = Vgg19().state_dict()
    return {name: (tuple(tensor.shape), "float32") for name, tensor in state.items()}


class PerceptualLoss(nn.Module):
    """Weighted sum over :data:`LAYERS` of the mean squared difference (``l1``: mean absolute difference).

    ``features``: the layers of a VGG-19 up to the last one that is compared; they are frozen.
    """

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, features: nn.Sequential, norm: Literal["l2", "l1"] = "l2") -> None:
        super().__init__()
        self.features = nn.ModuleList(list(features.children())[: max(LAYERS) + 1]).eval().requires_grad_(False)
        self.norm = norm
        self.register_buffer("mean", torch.tensor(_MEAN)[:, None, None])
        self.register_buffer("std", torch.tensor(_STD)[:, None, None])

    def forward(self, made: torch.Tensor, true: torch.Tensor) -> torch.Tensor:
        """The loss of RGB faces (B, 3, S, S) in 0…1; the gradient goes to ``made``."""
        with torch.no_grad():
            wanted = self._seen(true)
        apart = nn.functional.mse_loss if self.norm == "l2" else nn.functional.l1_loss
        terms = [weight * apart(a, b) for weight, a, b in zip(LAYERS.values(), self._seen(made), wanted, strict=True)]
        return torch.stack(terms).sum()

    def deepest(self, faces: torch.Tensor) -> torch.Tensor:
        """What the last compared layer sees of faces (B, 3, S, S), for the adaptive triplet loss."""
        return self._seen(faces)[-1]

    def _seen(self, faces: torch.Tensor) -> list[torch.Tensor]:
        x = (faces - self.mean) / self.std
        seen: list[torch.Tensor] = []
        for place, layer in enumerate(self.features):
            x = layer(x)
            if place in LAYERS:
                seen.append(x)
        return seen


def official(norm: Literal["l2", "l1"] = "l2", weights: WeightSource = OFFICIAL) -> PerceptualLoss | None:
    """The loss with the user's file; ``None`` where that was not added."""
    from bench.weights import locate

    if weights is OFFICIAL and locate(VGG19) is None:
        return None
    return PerceptualLoss(weights.fill(Vgg19(), VGG19).features, norm)
