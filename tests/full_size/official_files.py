"""Files in the layouts of Talker-T2AV's official ones, at full size, with weights by rule (:mod:`bench.detfill`).

15.8 GB in float32, written tensor by tensor: no tensor is ever whole in memory. The manifests say names and shapes;
``torch.save`` itself writes the pickles' archives, with room for the numbers, which are put there afterwards.
"""

from __future__ import annotations

import json
import math
import struct
import sys
import types
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from bench.detfill import tensor_pieces
from bench.systems.talker.lia_ops import BLUR, make_kernel
from bench.systems.talker.nar import Rotary
from bench.systems.talker.whisper_encoder import sinusoids
from bench.weights_check import FOLDER, Spec

_CODES = {"float32": "F32", "int64": "I64"}
_LOCAL_HEADER = 30  # bytes before an entry's name in a zip archive
Numbers = Callable[[str, Spec], Iterator[NDArray[Any]]]


@dataclass(frozen=True)
class Official:
    """One file: where it lies in the official folders, its manifest, the gain of its weights.

    ``wrapped``: what is written, around the named tensors; ``None``: safetensors. ``left_out``: names that the manifest
    has and the file lacks. ``beside``: tensors of the file that count for nothing.
    """

    path: str
    manifest: str
    gain: float
    wrapped: Callable[[OrderedDict[str, torch.Tensor]], Any] | None
    left_out: frozenset[str] = frozenset()
    beside: tuple[tuple[str, tuple[int, ...]], ...] = ()

    def specs(self) -> dict[str, Spec]:
        """Names, shapes and types of all tensors in the file."""
        told = json.loads((FOLDER / self.manifest).read_text(encoding="utf-8"))["tensors"]
        found = {name: Spec(tuple(value["shape"]), value["dtype"]) for name, value in told.items()}
        found |= {name: Spec(shape, "float32") for name, shape in self.beside}
        return {name: spec for name, spec in found.items() if name not in self.left_out}

    def write(self, folder: Path, specs: Mapping[str, Spec] | None = None) -> Path:
        """The file under ``folder``; ``specs`` instead of the official ones make a small one."""
        path = folder / self.path
        path.parent.mkdir(parents=True, exist_ok=True)
        specs = self.specs() if specs is None else specs
        if self.wrapped is None:
            _write_safetensors(path, specs, self._numbers)
        else:
            _write_archive(path, specs, self._numbers, self.wrapped)
        return path

    def _numbers(self, name: str, spec: Spec) -> Iterator[NDArray[Any]]:
        table = _table(name, spec.shape)
        if spec.dtype == "int64":
            yield np.zeros(max(1, math.prod(spec.shape)), np.int64)
        elif table is not None:
            yield table.numpy()
        else:
            factor = _conditioning(name)
            yield from (piece * factor for piece in tensor_pieces(name, spec.shape, self.gain))


def _checkpoint(state: OrderedDict[str, torch.Tensor]) -> Any:
    """As Lightning writes it: the settings are an object of a package that need not be installed."""
    return {
        "epoch": 3,
        "global_step": 1000,
        "pytorch-lightning_version": "2.4.0",
        "state_dict": state,
        "hyper_parameters": {"cfg": _settings({"dataset": {"sr": 24000}})},
        "optimizer_states": [],
    }


def _settings(content: dict[str, Any]) -> Any:
    made = sys.modules["omegaconf.dictconfig"].DictConfig()
    made.__dict__.update(_content=content, _parent=None, _metadata=sys.modules["omegaconf.dictconfig"].DictConfig())
    return made


OFFICIAL = (
    Official(
        "hf_weights/talker-t2av/model.safetensors",
        "talker_speech_llm.json",
        1.0,
        None,
        left_out=frozenset({"llm.lm_head.weight"}),
    ),
    Official(
        "hf_weights/whisperx-vae/model.ckpt",
        "talker_whisperx_vae.json",
        0.5,
        _checkpoint,
        beside=(("discriminator.convs.0.weight", (32, 1, 5, 1)),),
    ),
    Official("LIA-X/lia-x.pt", "talker_lia_x_generator.json", 52.0, lambda state: state),
    Official(
        "wavlm_large_finetune.pth",
        "talker_speaker_encoder.json",
        1.6,
        lambda state: {"model": state},
        beside=(("loss_calculator.projection.weight", (1251, 256)),),
    ),
)


def _table(name: str, shape: tuple[int, ...]) -> torch.Tensor | None:
    """What is no weight: rotary tables, blurring kernels, positions of Whisper's encoder."""
    if name.endswith(".rope.w"):
        return Rotary(2 * shape[1], rows=shape[0]).w
    if name.endswith(".kernel"):
        enlarges = name.endswith(("up.kernel", "up.0.kernel", "blur.kernel"))
        return make_kernel(BLUR) * (4.0 if enlarges else 1.0)
    if name.endswith("encoder.positional_embedding"):
        return sinusoids(*shape)
    return None


def _conditioning(name: str) -> float:
    """Factors by which weights by rule give LIA-X's decoder maps of ordinary size."""
    part = name.removeprefix("dec.")
    if part == name:
        return 1.0
    if part.endswith(".gamma"):
        return 0.05
    if part.startswith("flow") and part.endswith("conv.weight"):
        return 0.03
    return 0.02 if part.startswith(("rgb", "flow")) and part.count(".") == 1 else 1.0


# --------------------------------------------------------------------------- writing


def _write_safetensors(path: Path, specs: Mapping[str, Spec], numbers: Numbers) -> None:
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, spec in specs.items():
        start, end = end, end + math.prod(spec.shape) * np.dtype(spec.dtype).itemsize
        header[name] = {"dtype": _CODES[spec.dtype], "shape": list(spec.shape), "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as stream:
        stream.write(struct.pack("<Q", len(text)) + text)
        for name, spec in specs.items():
            stream.writelines(piece.data for piece in numbers(name, spec))


def _write_archive(
    path: Path,
    specs: Mapping[str, Spec],
    numbers: Numbers,
    wrapped: Callable[[OrderedDict[str, torch.Tensor]], Any],
) -> None:
    """``torch.save`` numbers the tensors in their order, and leaves room for them."""
    state = OrderedDict(
        (name, torch.empty(spec.shape, dtype=getattr(torch, spec.dtype))) for name, spec in specs.items()
    )  # memory that nobody touches is none
    with _omegaconf(), torch.serialization.skip_data():
        torch.save(wrapped(state), path)
    del state
    with zipfile.ZipFile(path) as archive, path.open("r+b") as stream:
        root = archive.namelist()[0].partition("/")[0]
        for number, (name, spec) in enumerate(specs.items()):
            entry = archive.getinfo(f"{root}/data/{number}")
            stream.seek(entry.header_offset)
            name_bytes, extra = struct.unpack("<HH", stream.read(_LOCAL_HEADER)[-4:])
            stream.seek(entry.header_offset + _LOCAL_HEADER + name_bytes + extra)
            written = sum(stream.write(piece.data) for piece in numbers(name, spec))
            if written != entry.file_size:
                raise RuntimeError(f"{name}: {written} bytes for an entry of {entry.file_size}")


class _omegaconf:
    """A package of that name while something is written."""

    def __enter__(self) -> None:
        module = types.ModuleType("omegaconf.dictconfig")
        module.DictConfig = type("DictConfig", (), {"__module__": module.__name__})  # type: ignore[attr-defined]
        sys.modules |= {"omegaconf": types.ModuleType("omegaconf"), module.__name__: module}

    def __exit__(self, *_: object) -> None:
        del sys.modules["omegaconf.dictconfig"], sys.modules["omegaconf"]


# --------------------------------------------------------------------------- the tokenizer

_BASE = 151_643  # entries of Qwen's vocabulary before the marks, whose numbers follow
_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_MARKS = [
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|object_ref_start|>",
    "<|object_ref_end|>",
    "<|box_start|>",
    "<|box_end|>",
    "<|quad_start|>",
    "<|quad_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|vision_pad|>",
    "<|image_pad|>",
    "<|video_pad|>",
    "<tool_call>",
    "</tool_call>",
    "<|fim_prefix|>",
    "<|fim_middle|>",
    "<|fim_suffix|>",
    "<|fim_pad|>",
    "<|repo_name|>",
    "<|file_sep|>",
    "<tool_response>",
    "</tool_response>",
    "<think>",
    "</think>",
    "<SPEECH_FRAME>",
    "<MOTION_FRAME>",
]
_WORDS = ("user assistant bin blue at f two now place red by with set lay green in white please again soon",) * 4


def write_tokenizer(folder: Path, base: int = _BASE) -> Path:
    """The checkpoint's tokenizer folder: Qwen's format and numbers of marks, a vocabulary of few words.

    ``base``: entries before the marks; those without a use are named so.
    """
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

    made = Tokenizer(models.BPE())
    made.normalizer = normalizers.NFC()
    split = pre_tokenizers.Split(Regex(_PATTERN), "isolated")
    bytewise = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    made.pre_tokenizer = pre_tokenizers.Sequence([split, bytewise])
    made.decoder = decoders.ByteLevel()
    letters = pre_tokenizers.ByteLevel.alphabet()
    made.train_from_iterator(_WORDS, trainers.BpeTrainer(vocab_size=400, initial_alphabet=letters, show_progress=False))
    told = json.loads(made.to_str())
    vocabulary = told["model"]["vocab"]
    vocabulary |= {f"unused {number}": number for number in range(len(vocabulary), base)}
    made = Tokenizer.from_str(json.dumps(told))
    made.add_special_tokens([AddedToken(mark, special=True) for mark in _MARKS])
    path = folder / "hf_weights/talker-t2av/tokenizer.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    made.save(str(path))
    settings = {"tokenizer_class": "Qwen2Tokenizer", "model_max_length": 1000}
    path.with_name("tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    return path
