"""HierSpeech++ with its talking face: text to speech in a reference's voice, and a face that speaks the same features.

Lee et al., "HierSpeech++", 2023 (arXiv 2311.12454), as ``sh-lee-prml/HierSpeechpp: inference.py`` runs it; the face is
the one of the shared-latent paper (seed 003), for which no official weights exist. ``tts``: text to text-to-vec
to synthesizer. ``t2av``: text-to-vec's features drive the face too. ``a2v``: features of the real audio drive it.

What a request gets does not depend on the others of its batch but for rounding (:mod:`.together`; with
``sentence_batch=1`` not even so). What is shared is kept: voices, detected faces, identities, and one call of espeak
for all texts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench.api import FPS, Audio, Failure, Output, Request, System, Task, Tier, Unscorable, WeightFile
from bench.embedded import EMBEDDED
from bench.errors import DataError
from bench.networks import OFFICIAL
from bench.systems.hierspeech import requirements
from bench.systems.hierspeech.requirements import RATE, SHOWS, SPEAKS, Needs
from bench.systems.wav2lip.declare import FACE_DETECTOR

if TYPE_CHECKING:
    import torch
    from pydantic import BaseModel

    from bench.faces.detect import Detect
    from bench.networks import WeightSource
    from bench.records import Frames
    from bench.systems.hierspeech.face.talk import TalkingFace
    from bench.systems.hierspeech.long_text import Speech
    from bench.systems.hierspeech.options import HierSpeechOptions
    from bench.systems.hierspeech.parts import Networks, Sizes
    from bench.systems.hierspeech.streaming import Chunk
    from bench.systems.hierspeech.text import Tokens
    from bench.systems.hierspeech.together import Script
    from bench.systems.hierspeech.voices import Voice, Voices

_SAMPLES_PER_FRAME = RATE // FPS
#: Tokens, with blanks, of the texts whose speech is kept at once: some minutes of it. One text may be longer.
_TOKENS_KEPT = 8192


@dataclass(frozen=True, slots=True)
class _Asked:
    """A request with the pieces of its text and its voice."""

    request: Request
    pieces: Sequence[Tokens]
    voice: Voice

    def scripts(self, device: torch.device) -> list[Script]:
        """The pieces for the networks on ``device``, each with its noise from the beginning."""
        import torch

        from bench.systems.hierspeech.sequence import generator_noise
        from bench.systems.hierspeech.together import Script

        seeds = self.request.generator().integers(0, 2**63 - 1, len(self.pieces))
        noises = (generator_noise(torch.Generator().manual_seed(int(seed)), device) for seed in seeds)
        return [
            Script(torch.tensor([list(piece.tokens)], device=device), self.voice.style, noise)
            for piece, noise in zip(self.pieces, noises, strict=True)
        ]


def _failure(error: Unscorable | DataError) -> Failure:
    return Failure(error.kind, error.detail) if isinstance(error, Unscorable) else Failure("model_error", error.message)


class HierSpeech(System):
    """``--system hierspeech``; settings are :class:`bench.systems.hierspeech.options.HierSpeechOptions`.

    An instance has the tasks of the setting ``tasks`` and the weights that these need. Tier embedded: the same classes,
    small (:mod:`.tiny`), with files that are shipped.
    """

    name = "hierspeech"
    version = "2"
    tasks: tuple[Task, ...] = requirements.TASKS
    tier: Tier = "canonical"
    tiers = ("canonical", "embedded")
    stand_ins = requirements.STAND_INS
    uses = frozenset({"voice", "identity"})
    weights: Sequence[WeightFile] = requirements.ALL
    summary = "zero-shot text to speech, and a face that speaks the same features"
    licence = "code Apache-2.0; speech weights MIT, wav2vec 2.0 MMS CC-BY-NC 4.0"
    source = "arXiv 2311.12454; sh-lee-prml/HierSpeechpp; face: seed 003 of the specification"

    def __init__(
        self,
        settings: Mapping[str, Any] | None = None,
        weights: WeightSource | None = None,
        detect: Detect | None = None,
        sizes: Sizes | None = None,
    ) -> None:
        """``weights`` fills the networks, else the files of the tier do. ``detect`` finds faces in place of the
        detector of the settings. ``sizes`` are the networks', else the tier's."""
        super().__init__(settings)
        self._source: WeightSource = weights or (EMBEDDED if self.tier == "embedded" else OFFICIAL)
        self._given_detector = detect
        self._sizes = sizes
        self._options = self._validated()
        self._needs = Needs(self._options, self.tier, self._source in (OFFICIAL, EMBEDDED), detect is not None)
        self._needs.check()
        asked = self._options.tasks
        self.tasks = requirements.TASKS if asked == "auto" else asked
        self.weights = tuple(dict.fromkeys(file for task in self.tasks for file in self.weights_for(task)))
        self._networks: Networks | None = None
        self._known_voices: Voices | None = None
        self._talking: TalkingFace | None = None

    @classmethod
    def options(cls) -> type[BaseModel]:
        """See :meth:`bench.api.System.options`."""
        from bench.systems.hierspeech.options import HierSpeechOptions

        return HierSpeechOptions

    @classmethod
    def stages(cls) -> Mapping[str, str]:
        """The speech's three networks, the lip-sync expert, then the face: closed lips, stage 1, stage 2."""
        module = "bench.systems.hierspeech.training"
        return {
            "features": f"{module}.features:stage",
            "ttv": f"{module}.ttv:stage",
            "synthesizer": f"{module}.synthesizer:stage",
            "sync": f"{module}.sync:stage",
            "0": f"{module}.face:closing",
            "1": f"{module}.face:first",
            "2": f"{module}.face:second",
        }

    def _validated(self) -> HierSpeechOptions:
        from bench.systems.hierspeech.options import HierSpeechOptions

        known = {key: self.settings[key] for key in HierSpeechOptions.model_fields if key in self.settings}
        return HierSpeechOptions(**known)

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
        """What stands in for what in tier embedded."""
        return self._needs.note(task)

    def load(self, device: str, dtype: str) -> None:
        """Tasks that are named in the settings are made ready; under ``auto`` each network when it is first wanted."""
        from bench.systems.hierspeech.parts import TINY, Networks, Sizes
        from bench.systems.hierspeech.voices import Voices

        options = self._options
        sizes = self._sizes or (TINY if self.tier == "embedded" else Sizes())
        networks = Networks(self._source, sizes, device, dtype, self._needs.networks)
        self._networks = networks
        self._known_voices = Voices(networks, options.denoise_ratio, options.voice_seconds, options.voice_repeats)
        self._talking = None
        named = () if options.tasks == "auto" else options.tasks
        if SPEAKS & set(named):
            self._speakers(networks)
        if SHOWS & set(named):
            self._face(networks)
        if "a2v" in named:
            networks.mms.eval()

    def generate(self, requests: Sequence[Request]) -> Sequence[Output | Failure]:
        """Speech, or a speaking face, or both, per request."""
        from bench.systems.hierspeech.long_text import pieces_of, shares

        options = self._options
        texts = [request.text if request.task in SPEAKS else None for request in requests]
        pieces = pieces_of(texts, options.longest_sentence, official_list_repr=options.official_list_repr)
        results: list[Output | Failure] = []
        for share in shares(pieces, _TOKENS_KEPT):
            asked = [self._asked(*one) for one in zip(requests[share], pieces[share], strict=True)]
            spoken = iter(self._speeches([one for one in asked if isinstance(one, _Asked)]))
            for request, one in zip(requests[share], asked, strict=True):
                made = next(spoken) if isinstance(one, _Asked) else one
                voice = one.voice if isinstance(one, _Asked) else None
                results.append(made if isinstance(made, Failure) else self._tried(request, made, voice))
        return results

    def stream(self, request: Request, gain: float = 1.0) -> Iterator[Chunk]:
        """A ``tts`` or ``t2av`` request answered in chunks as they are made; see :mod:`.streaming`.

        Raises:
            Unscorable: as :func:`bench.systems.hierspeech.streaming.stream`, before the first chunk.
        """
        from bench.systems.hierspeech.streaming import stream

        networks = self._loaded()
        if request.task not in SPEAKS or self._known_voices is None:
            raise Unscorable("model_error", f"{request.task} has no speech to stream")
        options = self._options.model_copy(update={"max_token_frames": self._needs.max_token_frames})
        face = self._face(networks) if request.task == "t2av" else None
        return stream(request, networks, self._known_voices, options, face, gain)

    def _asked(self, request: Request, pieces: list[Tokens] | Failure) -> _Asked | Failure | None:
        """What a request wants spoken; ``None``: nothing."""
        if request.task not in SPEAKS:
            return None
        if isinstance(pieces, Failure):
            return pieces
        if request.task == "t2av" and request.identity is None:
            return Failure("missing_reference", "no video to redraw")
        try:
            return _Asked(request, pieces, self._voice(request))
        except (Unscorable, DataError) as error:
            return _failure(error)

    def _tried(self, request: Request, spoken: Speech | None, voice: Voice | None) -> Output | Failure:
        try:
            return self._answer(request, spoken, voice)
        except (Unscorable, DataError) as error:
            return _failure(error)

    def _answer(self, request: Request, spoken: Speech | None, voice: Voice | None) -> Output:
        if request.task not in requirements.TASKS:
            raise Unscorable("model_error", f"hierspeech does not do {request.task}")
        networks = self._loaded()
        if spoken is None or voice is None:
            features, count = self._heard(networks, request)
            return Output(video=self._shown(networks, features, count, request))
        if request.task == "tts":
            return Output(audio=self._levelled(spoken.wave, spoken.rate, voice))
        return self._both(networks, request, spoken, voice)

    def _loaded(self) -> Networks:
        if self._networks is None:
            raise RuntimeError("load() comes before generate()")
        return self._networks

    def _voice(self, request: Request) -> Voice:
        if self._known_voices is None:
            raise RuntimeError("load() comes before generate()")
        if request.voice is None:
            raise Unscorable("missing_reference", "no voice reference")
        return self._known_voices.of(request.voice, request.voice_key)

    def _speakers(self, networks: Networks) -> None:
        """Build what speaks."""
        options = self._options
        networks.ttv.eval()
        networks.synthesizer.eval()
        if options.output_rate != RATE:
            networks.finer(options.output_rate).eval()
        if options.denoise_ratio > 0:
            networks.denoiser.eval()

    def _speeches(self, asked: Sequence[_Asked]) -> list[Speech | Failure]:
        """All together; where that fails each alone, to see whose fault it was."""
        try:
            return [*self._spoken(asked)]
        except DataError as error:
            if len(asked) == 1:
                return [_failure(error)]
            return [found for one in asked for found in self._speeches([one])]

    def _spoken(self, asked: Sequence[_Asked]) -> list[Speech]:
        """Each piece of a text has a generator of its own, seeded in turn by the request's."""
        import torch

        from bench.systems.hierspeech.long_text import Manner, speeches_of
        from bench.systems.hierspeech.ttv import TTVSettings

        if not asked:
            return []
        networks, o = self._loaded(), self._options
        settings = TTVSettings(o.noise_scale_ttv, o.noise_scale_w, o.length_scale, self._needs.max_token_frames)
        finer = networks.finer(o.output_rate) if o.output_rate != RATE else None
        manner = Manner(settings, o.noise_scale, o.sentence_batch)
        ttv, synthesizer = networks.ttv, networks.synthesizer  # built with ordinary tensors, before what follows
        with torch.inference_mode():
            return speeches_of(ttv, synthesizer, finer, [one.scripts(networks.device) for one in asked], manner)

    def _levelled(self, wave: torch.Tensor, rate: int, voice: Voice) -> Audio:
        """The official levels: 16-bit steps, so that what is written is what the script writes."""
        import numpy as np

        from bench.systems.hierspeech.waveform import PEAK, to_int16

        steps = to_int16(wave, voice.peak if self._options.scale_norm == "prompt" else PEAK)
        return Audio(steps.astype(np.float32) / np.float32(32768), rate)

    def _both(self, networks: Networks, request: Request, speech: Speech, voice: Voice) -> Output:
        """Speech and the face that speaks it; an odd last feature has no frame, so its 20 ms are cut off."""
        from bench.systems.hierspeech.face.windows import frame_count
        from bench.systems.hierspeech.long_text import FADE_S, shortened

        count = frame_count(speech.w2v.shape[2])
        frames = self._shown(networks, speech.w2v[0].T.contiguous(), count, request)
        wave = shortened(speech.wave, count * speech.rate // FPS, round(FADE_S * speech.rate))
        return Output(video=frames, audio=self._levelled(wave, speech.rate, voice))

    def _heard(self, networks: Networks, request: Request) -> tuple[torch.Tensor, int]:
        """Features (T, D) of the driving audio, and the frames of the output: those of the request, or of the audio."""
        import torch

        from bench.systems.hierspeech.voices import heard

        if request.audio is None:
            raise Unscorable("missing_reference", "no driving audio")
        audio = heard(request.audio, RATE)
        with torch.inference_mode():
            features = networks.mms(audio.to(networks.device))[0].T.cpu()
        count = request.n_frames or max(1, audio.shape[1] // _SAMPLES_PER_FRAME)
        return features[: 2 * count], count

    def _shown(self, networks: Networks, features: torch.Tensor, count: int, request: Request) -> Frames:
        if request.identity is None:
            raise Unscorable("missing_reference", "no video to redraw")
        face = self._face(networks)
        return face.video(features, count, request.identity, request.identity_key, request.workdir)

    def _face(self, networks: Networks) -> TalkingFace:
        if self._talking is None:
            from bench.faces.boxes import Pads
            from bench.systems.hierspeech.face.talk import Picture, TalkingFace

            o = self._options
            number = o.face if isinstance(o.face, int) else None
            picture = Picture(number, Pads(*o.pads), o.smooth, o.feather, o.face_batch, o.silent)
            closes_lips = networks.silent_face if o.silent == "generator" else None
            detect = self._given_detector or self._detector(networks)
            self._talking = TalkingFace(networks.face, closes_lips, detect, picture)
        return self._talking

    def _detector(self, networks: Networks) -> Detect:
        if self._needs.detector == "dlib":
            from bench.faces.detect import DlibDetector

            return DlibDetector()
        from bench.faces.s3fd import S3FD, S3fdDetector

        network = networks.source.fill(S3FD(), FACE_DETECTOR)
        return S3fdDetector(network, str(networks.device), self._options.detector_batch_size)
