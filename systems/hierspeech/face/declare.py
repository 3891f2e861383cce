"""The files of the talking face; nothing heavy is imported here."""

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

_OWN = "Apache-2.0, but not beyond the licence of the videos that it was trained on (LRS2: research alone)"


def _own(name: str, stage: str) -> WeightFile:
    source = f"`bench train hierspeech --stage {stage}` (nobody has published one)"
    return WeightFile(name, None, None, _OWN, source, manifest="bench.systems.hierspeech.face.declare:manifest")


#: The generator of the full size, and the one of the same layout that closes the lips of the identity reference.
FACE = _own("hierspeech_face.safetensors", "2")
SILENT_FACE = _own("hierspeech_silent_face.safetensors", "0")


def manifest() -> dict[str, tuple[tuple[int, ...], str]]:
    """Names, shapes and types of :data:`FACE` and :data:`SILENT_FACE`."""
    import torch

    from bench.systems.hierspeech.face.generator import TTVFace

    with torch.device("meta"):
        state = TTVFace().state_dict()
    return {name: (tuple(tensor.shape), str(tensor.dtype).removeprefix("torch.")) for name, tensor in state.items()}
