"""HiCoDiT: speech for a silent video of a talking face, by hierarchical diffusion over codec tokens.

"Hierarchical Codec Diffusion for Video-to-Speech Generation", arXiv 2604.15923. Lips, face and expression condition a
masked diffusion model over the levels of a residual codec: the low levels (content, timbre) first, prosody and detail
on top of them. No code and no weights of the original are public; what of this is the paper's and what is ours:
:mod:`.differences`, which ``bench info hicodit`` shows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.api import Failure, Output, Request, System, Task, Tier, WeightFile
from bench.systems.hicodit import requirements, weight_files
from bench.systems.hicodit.differences import DIFFERENCES
from bench.systems.hicodit.requirements import Needs

if TYPE_CHECKING:
    from pydantic import BaseModel

    from bench.systems.hicodit.options import HiCoDiTOptions
    from bench.systems.hicodit.parts import Parts
    from bench.systems.hicodit.pipeline import Pipeline


class HiCoDiTSystem(System):
    """``--system hicodit``; settings are :class:`bench.systems.hicodit.options.HiCoDiTOptions`.

    Tier embedded: the same classes, small, with files that are shipped. Tier canonical has the published sizes, with
    the official conditioners and codec; there are no public weights for it. Those of one's own training (``dit``) run
    at either size, and their rows are of tier embedded.
    """

    name = "hicodit"
    version = "2"
    tasks: tuple[Task, ...] = ("vts",)
    tier: Tier = "canonical"
    tiers = ("canonical", "embedded")
    stand_ins = requirements.STAND_INS
    differences = DIFFERENCES
    local_settings = frozenset({"dit", "codec_file", "emotion_file", "frames_per_batch"})
    weights: Sequence[WeightFile] = weight_files.ALL
    summary = "speech for silent video, by masked diffusion over codec tokens from coarse to fine"
    licence = "code Apache-2.0; AV-HuBERT and ArcFace weights for non-commercial research"
    source = "arXiv 2604.15923; Jiaxin-Ye/HiCoDiT (no code)"

    def __init__(self, settings: Mapping[str, Any] | None = None, parts: Parts | None = None) -> None:
        """``parts``: conditioners, model and codec in the place of those that the settings name."""
        super().__init__(settings)
        self._given = parts
        self._options = self._validated()
        self._needs = Needs(self._options, self.tier, parts is None)
        self._needs.check()
        if self._options.dit:
            self.tier = "embedded"  # of whatever size: results of own weights are not those of published ones
        self.weights = self._needs.files()
        self.uses = frozenset({"voice"} if self._options.mode == "audio" else ())
        self._pipeline: Pipeline | None = None

    @classmethod
    def options(cls) -> type[BaseModel]:
        """See :meth:`bench.api.System.options`."""
        from bench.systems.hicodit.options import HiCoDiTOptions

        return HiCoDiTOptions

    @classmethod
    def stages(cls) -> Mapping[str, str]:
        """The codec, the diffusion model over its tokens, and the small classifier of expressions."""
        module = "bench.systems.hicodit.training"
        return {name: f"{module}.{name}:stage" for name in ("codec", "dit", "expression")}

    @classmethod
    def preparation(cls) -> str:
        """Codes, mouths, faces and voices of clips."""
        return "bench.systems.hicodit.prepare:prepared"

    def _validated(self) -> HiCoDiTOptions:
        from bench.systems.hicodit.options import HiCoDiTOptions

        known = {key: self.settings[key] for key in HiCoDiTOptions.model_fields if key in self.settings}
        return HiCoDiTOptions(**known)

    def missing(self) -> list[str]:
        """See :meth:`bench.api.System.missing`."""
        return self._needs.missing()

    def note_for(self, task: Task) -> str:
        """Whose voice is heard; what stands in for what in tier embedded."""
        return self._needs.note()

    def fingerprint(self) -> str:
        """Hashes of the files that the settings name: where they lie does not matter."""
        from bench.weights import sha256

        return " ".join(f"{name}={sha256(Path(path))}" for name, path in self._needs.given().items())

    def load(self, device: str, dtype: str) -> None:
        """Model, codec and conditioners; ``dtype`` is that of the model's products."""
        import torch

        from bench.systems.hicodit.parts import parts_of
        from bench.systems.hicodit.pipeline import Pipeline

        if device.startswith("cuda"):  # TF32 would give other results than a CPU
            torch.backends.cuda.matmul.allow_tf32 = False
            torch.backends.cudnn.allow_tf32 = False
        parts = self._given or parts_of(self._options, self._needs.tier, device)
        self._pipeline = Pipeline(parts, self._options, self._needs.tier, dtype)

    def generate(self, requests: Sequence[Request]) -> Sequence[Output | Failure]:
        """One result per request."""
        if self._pipeline is None:
            raise RuntimeError("load() comes before generate()")
        wrong = [request.task for request in requests if request.task not in self.tasks]
        if wrong:
            raise RuntimeError(f"hicodit does not do {wrong[0]}")
        return self._pipeline.answer(requests)
