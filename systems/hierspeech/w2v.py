"""wav2vec 2.0 features of real audio: the 7th transformer layer of MMS-300m, 1024 channels at 50 Hz.

The network is that of ``transformers`` (optional; nothing is downloaded); only the layers up to the 7th are built
and run, and they are run one by one, so that no later layer norm is applied. Padding as the official scripts
have it (``sh-lee-prml/HierSpeechpp: inference_vc.py``; specs/hierspeech.md, section 3). The audio is not normalised.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn.functional import pad

from bench.errors import DataError, UsageError
from bench.systems.hierspeech import weight_files
from bench.systems.hierspeech.waveform import SOURCE_STEP, pad_right

if TYPE_CHECKING:
    from transformers import Wav2Vec2Model

LAYER = 7  # of 24; hidden state 0 is what enters the first
EDGE = 40  # samples reflected at both ends, so that T = L / 320 exactly
INSTALL = "pip install 'transformers>=5'"

MMS_300M: Mapping[str, Any] = {
    "hidden_size": 1024,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "intermediate_size": 4096,
    "conv_dim": [512] * 7,
    "conv_kernel": [10, 3, 3, 3, 3, 2, 2],
    "conv_stride": [5, 2, 2, 2, 2, 2, 2],
    "num_conv_pos_embeddings": 128,
    "num_conv_pos_embedding_groups": 16,
    "feat_extract_norm": "layer",
    "conv_bias": True,
    "do_stable_layer_norm": True,
    "layer_norm_eps": 1e-5,
}
WEIGHTS = weight_files.MMS
_OLD_NAMES = {".conv.weight_g": ".conv.parametrizations.weight.original0"}
_OLD_NAMES[".conv.weight_v"] = ".conv.parametrizations.weight.original1"


def available() -> list[str]:
    """What keeps the features from being made here, with the remedy; empty: nothing. Imports nothing."""
    if find_spec("transformers") is None:
        return [f"transformers is not installed: {INSTALL}"]
    return []


class Wav2VecFeatures(nn.Module):
    """Audio to the hidden states of the first layers; ``model`` is transformers' network, by its names.

    Raises:
        UsageError: transformers is absent or cannot be imported, or ``config`` is of another kind of network.
    """

    def __init__(self, config: Mapping[str, Any] = MMS_300M, layer: int = LAYER) -> None:
        super().__init__()
        if not config.get("do_stable_layer_norm") or config.get("feat_extract_norm") != "layer":
            raise UsageError("wav2vec 2.0 with layer norm after its layers", "MMS has it before (stable layer norm).")
        self.layer = layer
        self.model = _network({**config, "num_hidden_layers": min(layer, int(config["num_hidden_layers"]))})

    def forward(self, audio: torch.Tensor) -> torch.Tensor:
        """Features (B, C, T) of ``audio`` (B, L) at 16 kHz: padded by :func:`padded`, T = its length / 320."""
        return self.hidden_states(padded(audio))[-1]

    def hidden_states(self, audio: torch.Tensor, hidden: torch.Tensor | None = None) -> list[torch.Tensor]:
        """The first layer's input, then each layer's output, all (B, C, T), of audio from :func:`padded`.

        ``hidden`` (B, T) bool, in training: frames in whose place the layers see the vector for masked frames.
        """
        encoder = self.model.encoder
        x, _ = self.model.feature_projection(self.model.feature_extractor(audio).transpose(1, 2))  # (B, T, C)
        if hidden is not None:
            x = torch.where(hidden[..., None], self.model.masked_spec_embed.to(x), x)
        x = encoder.dropout(x + encoder.pos_conv_embed(x))
        states = [x]
        for block in encoder.layers:
            out = block(states[-1])
            states.append(out[0] if isinstance(out, tuple) else out)
        return [state.transpose(1, 2) for state in states]

    def load_official(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Take the published tensors (of ``Wav2Vec2ForPreTraining``, or the bare network), of the layers that are here.

        Raises:
            DataError: one of them is absent or has another shape.
        """
        bare = {name.removeprefix("wav2vec2."): value for name, value in tensors.items()}
        named = {_current_name(name): value for name, value in bare.items()}
        wanted = self.model.state_dict()
        # the vector for masked frames is for training alone; files without it are whole
        absent = [name for name in wanted if name not in named and name != "masked_spec_embed"]
        other = [name for name in wanted if name in named and named[name].shape != wanted[name].shape]
        if absent or other:
            listed = ", ".join((absent + other)[:5])
            raise DataError(
                f"the wav2vec 2.0 weights lack, or have in another shape, {len(absent + other)} tensors: {listed}",
                f"get {WEIGHTS.source}.",
            )
        self.model.load_state_dict({name: named[name] for name in wanted if name in named}, strict=False)


def padded(audio: torch.Tensor) -> torch.Tensor:
    """``audio`` (B, L) with zeros (at least one) to a multiple of 1280, then 40 samples reflected at both ends."""
    return pad(pad_right(audio, SOURCE_STEP), (EDGE, EDGE), mode="reflect")


def load(path: Path, device: str = "cpu", config: Mapping[str, Any] = MMS_300M) -> Wav2VecFeatures:
    """The network with the published weights of ``path`` (safetensors or a pickle of tensors), for inference.

    Raises:
        DataError: the file is not that, or does not fit.
    """
    from bench.weights_read import read, state_of

    network = Wav2VecFeatures(config)
    network.load_official(state_of(read(path), ("state_dict", "model"), path))
    return network.eval().requires_grad_(False).to(device)


def _current_name(name: str) -> str:
    """Names of torch's former weight norm in its present form."""
    for old, new in _OLD_NAMES.items():
        if name.endswith(old):
            return name.removesuffix(old) + new
    return name


def _first_cause(error: BaseException) -> BaseException:
    while error.__cause__ is not None:
        error = error.__cause__
    return error


def _network(config: Mapping[str, Any]) -> Wav2Vec2Model:
    if available():
        raise UsageError("wav2vec 2.0 features want transformers, which is not installed", INSTALL)
    try:
        from transformers import Wav2Vec2Config, Wav2Vec2Model
    except (ImportError, RuntimeError) as error:  # RuntimeError: a torchvision that does not fit torch
        raise UsageError(
            f"transformers cannot be imported: {_first_cause(error)}",
            "repair the environment; a torchvision built for another torch is a common cause: reinstall or remove it.",
        ) from error
    settings = Wav2Vec2Config(**config)
    settings.apply_spec_augment = False
    settings._attn_implementation = "sdpa"
    return Wav2Vec2Model(settings)
