"""The joint model: text, speech and motion in one sequence, a diffusion head for each stream, and a stop predictor.

Names follow ``zhenye234/Talker-T2AV: speech_llm.py``. Frames of a patch are projected, read by the stream's patch
encoder, and the two streams' vectors added: one position of the backbone. The state before a position conditions the
two heads that make its patches. The audio VAE and the speaker encoder are not part of this module; latents
and voices come in ready-made.

    model.teacher(batch)            # teacher.py: states of whole clips, and what each should predict
    Generator(model, …).run(…)      # generate.py
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from bench.systems.talker.backbone import BackboneConfig, LanguageModel
from bench.systems.talker.flow_matching import CFM
from bench.systems.talker.layout import patched
from bench.systems.talker.local_dit import DitConfig
from bench.systems.talker.nar import PatchEncoder
from bench.systems.talker.stop import StopPredictor
from bench.systems.talker.teacher import Teacher, TeacherBatch, teach

#: Rows of the task embedding.
TASK_TTS, TASK_T2AV = 0, 1
_EMBEDDING, _HEAD = "llm.model.embed_tokens.weight", "llm.lm_head.weight"


@dataclass(frozen=True, slots=True)
class SpeechLLMConfig:
    """Sizes; the defaults are the official model.

    Attributes:
        backbone: of the language model.
        speech_dim, motion_dim: channels of a frame.
        speaker_dim: of the voice vector; the motion head is told the first motion frame instead.
        patch_size: frames a patch.
        delay: slots by which motion stands behind speech.
        context_patches: how many earlier patches a head sees.
        encoder_layers, encoder_heads: of both patch encoders.
        dit: of both heads.
        fps: frames a second, of both streams.
    """

    backbone: BackboneConfig = field(default_factory=BackboneConfig)
    speech_dim: int = 32
    motion_dim: int = 40
    speaker_dim: int = 256
    patch_size: int = 4
    delay: int = 0
    context_patches: int = 1
    encoder_layers: int = 4
    encoder_heads: int = 8
    dit: DitConfig = field(default_factory=DitConfig)
    fps: float = 25.0

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> SpeechLLMConfig:
        """Of nested settings as a checkpoint or a recorded case has them; other keys are ignored."""
        plain = ("speech_dim", "motion_dim", "speaker_dim", "patch_size", "delay", "context_patches", "fps")
        made: dict[str, Any] = {name: values[name] for name in plain if name in values}
        if "patch_encoder" in values:
            made["encoder_layers"] = values["patch_encoder"]["n_layer"]
            made["encoder_heads"] = values["patch_encoder"]["n_head"]
        if "dit" in values:
            made["dit"] = DitConfig(**values["dit"])
        return cls(backbone=BackboneConfig.from_mapping(values.get("backbone", {})), **made)


class Projector(nn.Module):
    """Frames to the width of the backbone."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.linear1 = nn.Linear(channels, width)

    def forward(self, x: Tensor) -> Tensor:
        """``(…, channels)`` to ``(…, width)``."""
        y: Tensor = self.linear1(x)
        return y


class SpeechLLM(nn.Module):
    """See the module. It can be built on the ``meta`` device and filled by :meth:`adopt`."""

    def __init__(self, config: SpeechLLMConfig) -> None:
        super().__init__()
        self.config = config
        width = config.backbone.hidden_size
        self.llm = LanguageModel(config.backbone)
        self.projector_speech = Projector(config.speech_dim, width)
        self.projector_motion = Projector(config.motion_dim, width)
        encoder = (width, width, config.encoder_layers, config.encoder_heads)
        self.speech_patch_encoder = PatchEncoder(*encoder)
        self.motion_patch_encoder = PatchEncoder(*encoder)
        self.speech_cfm = CFM(config.dit, config.speech_dim, config.speaker_dim)
        self.motion_cfm = CFM(config.dit, config.motion_dim, config.motion_dim)
        self.head_stop = StopPredictor(width)
        self.task_embedding = nn.Embedding(2, width)
        self.motion_pad_emb = nn.Parameter(torch.zeros(1, 1, width))

    def adopt(self, tensors: Mapping[str, Tensor]) -> SpeechLLM:
        """Take ``tensors`` for its own, without a copy (memory-mapped ones stay so), strictly.

        Raises:
            RuntimeError: a name too many or too few, or another shape.
        """
        self.load_state_dict(complete_tied(tensors, self.config.backbone.tie_word_embeddings), assign=True)
        if self.config.backbone.tie_word_embeddings:
            self.llm.tie()
        return self

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        return self.motion_pad_emb.device

    def text(self, ids: Tensor) -> Tensor:
        """Embedded tokens ``(…, D)`` of ``ids`` (…) in float32."""
        found: Tensor = self.llm.model.embed_tokens(ids)
        return found.float()

    def speech_tokens(self, patches: Tensor, inside: Tensor | None = None) -> Tensor:
        """Vectors (N, D) of ``patches`` (N, P, speech_dim); frames not ``inside`` (N, P) count as missing."""
        return _tokens(self.projector_speech, self.speech_patch_encoder, patches, inside)

    def motion_tokens(self, patches: Tensor, inside: Tensor | None = None) -> Tensor:
        """The same of motion (N, P, motion_dim)."""
        return _tokens(self.projector_motion, self.motion_patch_encoder, patches, inside)

    def stream_tokens(self, frames: Tensor, slots: int, shift: int, *, motion: bool) -> Tensor:
        """Vectors (slots, D) of one stream of ``frames`` (L, C) from slot ``shift`` on; missing frames are zeros.

        Slots without any frame are read by the patch encoder too, as in training.
        """
        size = self.config.patch_size
        held = frames[: max(0, slots - shift) * size]
        buffer = frames.new_zeros(1, slots * size, frames.shape[1])
        inside = torch.zeros(1, slots * size, 1, dtype=torch.bool, device=frames.device)
        part = slice(shift * size, shift * size + len(held))
        buffer[0, part], inside[0, part] = held, True
        encode = self.motion_tokens if motion else self.speech_tokens
        return encode(patched(buffer, size)[0], patched(inside, size)[0, ..., 0])

    def teacher(self, batch: TeacherBatch) -> Teacher:
        """States of whole clips, and the pairs that the heads learn from; see :mod:`.teacher`."""
        return teach(self, batch)

    def forward(self, batch: TeacherBatch) -> Teacher:
        """:meth:`teacher`, for wrappers that know ``forward`` alone."""
        return teach(self, batch)


def _tokens(project: Projector, encode: PatchEncoder, patches: Tensor, inside: Tensor | None) -> Tensor:
    """Missing frames become zeros behind the projection, which has a bias."""
    projected: Tensor = project(patches)
    if inside is not None:
        projected = projected * inside[..., None].to(projected.dtype)
    tokens: Tensor = encode(projected[:, None])
    return tokens[:, 0]


def complete_tied(tensors: Mapping[str, Tensor], tied: bool = True) -> dict[str, Tensor]:
    """``tensors`` with both names of the embedding: a file may hold either alone, being one tensor."""
    whole = dict(tensors)
    if tied and _EMBEDDING in whole:
        whole[_HEAD] = whole[_EMBEDDING]
    elif tied and _HEAD in whole:
        whole[_EMBEDDING] = whole[_HEAD]
    return whole


def trainable(model: SpeechLLM) -> Iterable[nn.Parameter]:
    """What an optimiser gets: all but the vocabulary's head, and the embedding where that is the same tensor."""
    return (parameter for parameter in model.parameters() if parameter.requires_grad)
