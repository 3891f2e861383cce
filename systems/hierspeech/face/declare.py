"""The file that the talking face is trained with; nothing heavy is imported here."""

from __future__ import annotations

from bench.api import WeightFile

VGG19 = WeightFile(
    "vgg19-dcbb9e9d.pth",
    None,
    None,
    "BSD-3-Clause (torchvision); trained on ImageNet",
    "pytorch/vision (torchvision.models.vgg19)",
    manifest="bench.systems.hierspeech.face.perceptual:manifest",
)
