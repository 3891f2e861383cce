"""Talker-T2AV: joint text to speech and face, audio-driven face, and speech for silent video, by one model.

"Talker-T2AV", arXiv 2604.23586, as ``zhenye234/Talker-T2AV: infer.py`` runs it: one autoregressive backbone reads the
sum of speech and motion patches, and two diffusion heads make the next ones. ``t2av`` and ``tts`` are told a text;
``a2v`` is given the speech, ``vts`` and ``dub`` the motion of a silent video, ``dub`` with the text, ``vts`` never.
Of these three modes there is no public code; they are what paper and loop define together.

Where paper, README and code of the original differ: :mod:`.differences`, which ``bench info talker`` shows. What is
generated begins with the reference's prefix: for scoring it is cut off, unless ``keep_prefix``. A result is a picture
of 512 px, squeezed from the first frame's own format; it is brought back to that (``view=official`` leaves it, and
metrics that compare frames then have no value; ``view=face`` pastes the face into the frame).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.api import FPS, Failure, Output, Request, System, Task, Tier, WeightFile
from bench.networks import OFFICIAL
from bench.systems.talker import requirements, weight_files
from bench.systems.talker.differences import DIFFERENCES
from bench.systems.talker.requirements import Needs

if TYPE_CHECKING:
    from pydantic import BaseModel

    from bench.faces.detect import Detect
    from bench.networks import WeightSource
    from bench.systems.talker.front import Front
    from bench.systems.talker.jobs import Settings
    from bench.systems.talker.options import TalkerOptions
    from bench.systems.talker.parts import FullSizes, TinyFiles
    from bench.systems.talker.pipeline import Conduct, Pipeline
    from bench.systems.talker.speech_llm import SpeechLLM
    from bench.systems.talker.text import TextTable


class Talker(System):
    """``--system talker``; settings are :class:`bench.systems.talker.options.TalkerOptions`.

    Tier embedded: the same classes and loops, small (:mod:`.tiny`), with files that are shipped.
    """

    name = "talker"
    version = "3"
    tasks: tuple[Task, ...] = requirements.TASKS
    tier: Tier = "canonical"
    tiers = ("canonical", "embedded")
    stand_ins = requirements.STAND_INS
    differences = DIFFERENCES
    uses = frozenset({"voice", "identity"})
    local_settings = frozenset({"vae", "motion", "joint", "motion_file", "slots", "render_batch"})
    weights: Sequence[WeightFile] = weight_files.ALL
    summary = "text to speech and face, audio to face, silent video to speech, by one autoregressive model"
    licence = "code Apache-2.0; LIA-X weights CC-BY-NC 4.0"
    source = "arXiv 2604.23586; zhenye234/Talker-T2AV"

    def __init__(
        self,
        settings: Mapping[str, Any] | None = None,
        weights: WeightSource | None = None,
        detect: Detect | None = None,
        sizes: FullSizes | None = None,
        table: TextTable | None = None,
    ) -> None:
        """``weights`` fills the official networks, else the user's files do. ``detect`` finds faces in dlib's place.
        ``sizes`` are those networks', else the published ones. ``table`` reads text in the tokenizer's place."""
        super().__init__(settings)
        self._source: WeightSource = weights or OFFICIAL
        self._detect, self._sizes, self._table = detect, sizes, table
        self._options = self._validated()
        self._needs = Needs(self._options, self.tier, weights is None)
        self._needs.check()
        asked = self._options.tasks
        self.tasks = requirements.TASKS if asked == "auto" else asked
        self.weights = tuple(dict.fromkeys(file for task in self.tasks for file in self.weights_for(task)))
        self._pipeline: Pipeline | None = None

    @classmethod
    def options(cls) -> type[BaseModel]:
        """See :meth:`bench.api.System.options`."""
        from bench.systems.talker.options import TalkerOptions

        return TalkerOptions

    @classmethod
    def stages(cls) -> Mapping[str, str]:
        """The audio VAE, the motion autoencoder in four stages, then backbone and heads."""
        module = "bench.systems.talker.training"
        return {
            "vae": f"{module}.mel_vae:stage",
            "motion-encoder": f"{module}.motion_encoder:encoder",
            "motion64": f"{module}.motion_generator:small",
            "motion": f"{module}.motion_grow:stage",
            "motion-detail": f"{module}.motion_detail:stage",
            "joint": f"{module}.joint:stage",
        }

    @classmethod
    def preparation(cls) -> str:
        """Latents, motion codes and voices of clips, in shards."""
        return "bench.systems.talker.prepare:prepared"

    def _validated(self) -> TalkerOptions:
        from bench.systems.talker.options import TalkerOptions

        known = {key: self.settings[key] for key in TalkerOptions.model_fields if key in self.settings}
        return TalkerOptions(**known)

    def weights_for(self, task: Task) -> tuple[WeightFile, ...]:
        """The files that ``task`` needs under these settings."""
        return self._needs.files(task)

    def missing_for(self, task: Task) -> list[str]:
        """What keeps ``task`` from running here, one line each with its remedy."""
        return self._needs.missing(task)

    def missing(self) -> list[str]:
        """What the chosen tasks lack, each line with the tasks that need it."""
        users: dict[str, list[Task]] = {}
        for task in self.tasks:
            for line in self.missing_for(task):
                users.setdefault(line, []).append(task)
        return [f"{', '.join(tasks)}: {line}" for line, tasks in users.items()]

    def note_for(self, task: Task) -> str:
        """What stands in for what in tier embedded, and what was cut off."""
        return self._needs.note(task)

    def fingerprint(self) -> str:
        """Hashes of the files that the settings name: where they lie does not matter."""
        from bench.weights import sha256

        o = self._options
        given = {"vae": o.vae, "motion": o.motion, "joint": o.joint, "motion_file": o.motion_file}
        return " ".join(f"{name}={sha256(Path(path))}" for name, path in given.items() if path)

    def load(self, device: str, dtype: str) -> None:
        """Backbone and heads now; what is around them when a request first needs it."""
        import torch

        from bench.systems.talker.pipeline import Pipeline
        from bench.systems.talker.references import References

        if device.startswith("cuda"):  # TF32 would give other results than a CPU
            torch.backends.cuda.matmul.allow_tf32 = False
            torch.backends.cudnn.allow_tf32 = False
        model, front, table = self._networks(device)
        conduct = self._conduct(device)
        given = self._motion(front)
        references = References(front, self._options.longest_seconds, given)
        self._pipeline = Pipeline(front, model, table, references, conduct)

    def generate(self, requests: Sequence[Request]) -> Sequence[Output | Failure]:
        """One result per request."""
        if self._pipeline is None:
            raise RuntimeError("load() comes before generate()")
        wrong = [place for place, request in enumerate(requests) if request.task not in requirements.TASKS]
        if wrong:
            raise RuntimeError(f"talker does not do {requests[wrong[0]].task}")
        return self._pipeline.answer(requests)

    def _networks(self, device: str) -> tuple[SpeechLLM, Front, TextTable]:
        from bench.systems.talker import parts

        batch = self._options.render_batch or (8 if self.tier == "embedded" or device.startswith("cuda") else 1)
        drawing = parts.Drawing(self._needs.face_view, batch, self._detect, self._options.view != "official")
        if self.tier == "embedded":
            files = self._files()
            model = parts.tiny_llm(files, device)
            return model, parts.tiny_front(files, device, drawing), self._table or parts.text_table("tiny")
        model = parts.full_llm(self._source, device, self._sizes, self._options.backbone)
        front = parts.full_front(self._source, device, self._sizes, drawing)
        return model, front, self._table or parts.text_table("full")

    def _files(self) -> TinyFiles:
        from bench.systems.talker.parts import TinyFiles

        given = (self._options.vae, self._options.motion, self._options.joint)
        return TinyFiles(*(None if path is None else Path(path) for path in given))

    def _motion(self, front: Front) -> Any:
        from bench.systems.talker.motion_file import read_motion

        path = self._options.motion_file
        return None if path is None else read_motion(Path(path), len(front.stats.mean))

    def _conduct(self, device: str) -> Conduct:
        from bench.systems.talker import tiny
        from bench.systems.talker.options import manner_of
        from bench.systems.talker.pipeline import Conduct

        o = self._options
        return Conduct(
            settings=self._settings(device),
            longest_text=manner_of(o, self.tier).longest_text,
            longest_frames=round(o.longest_seconds * FPS),
            keep_prefix=o.keep_prefix,
            reference_text=o.reference_text or "",
            slots=o.slots,
            follows_mouth=self._needs.follows_mouth,
            ahead=tiny.AHEAD if self.tier == "embedded" else 0,
        )

    def _settings(self, device: str) -> Settings:
        from bench.systems.talker.jobs import Settings
        from bench.systems.talker.options import manner_of

        o, manner = self._options, manner_of(self._options, self.tier)
        patch_seconds = 4 / FPS
        return Settings(
            steps=o.steps,
            temperature=o.temperature,
            cfg=manner.cfg,
            sway=o.sway,
            zero_star=o.zero_star,
            stop_threshold=o.stop_threshold,
            stop_k=manner.stop_k,
            min_patches=manner.min_gen_patches,
            margin=o.margin_patches,
            max_patches=None if o.max_seconds is None else max(1, round(o.max_seconds / patch_seconds)),
            prefix_seconds=manner.prefix_seconds,
            task_token=manner.task_token,
            round_motion=self.tier != "embedded",
            autocast=device.startswith("cuda") and self.tier != "embedded",
            max_frames=round(o.longest_seconds * FPS),
        )
