"""Requests to results: what each task knows, makes and cuts off, around the one loop of :mod:`.generate`.

``t2av`` and ``tts``: text, in pieces where it is long; each piece goes on from the end of the one before. ``a2v``:
motion to given speech. ``vts`` and ``dub``: speech to the motion of a given video, ``dub`` with the text, ``vts``
without; these three have the length of what drives them, to the frame, and are cut into pieces of at most 30 s.

Noise comes from the request's own generator, so the others of a batch change nothing but rounding.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import torch

from bench.api import FPS, Audio, Failure, Output, Request, Unscorable
from bench.systems.talker.generate import Generator, Made
from bench.systems.talker.jobs import Job, Planner, Reference, Settings
from bench.systems.talker.jobs import Task as Mode
from bench.systems.talker.references import References, heard
from bench.systems.talker.requirements import BEGINS, FOLLOWS, SHOWS, SPEAKS, TOLD
from bench.systems.talker.text import pieces

if TYPE_CHECKING:
    from bench.records import Frames, Samples
    from bench.systems.talker.front import Front
    from bench.systems.talker.speech_llm import SpeechLLM
    from bench.systems.talker.text import TextTable

MAX_LENGTH = 1000  # positions that the model has learned from, text and slots
_FADE_S = 0.005
_AROUND = 4  # frames of closed mouth before and after a moving one


@dataclass(frozen=True)
class Conduct:
    """How requests are answered, beside the loop's own ``settings``.

    ``longest_text``: characters of a piece; ``longest_frames``: of a reference, and of a driven piece; ``slots``:
    requests that are generated at once; ``follows_mouth``: speech to a video is made for the part in which the mouth
    moves; ``ahead``: patches that what drives without a text is ahead of what is made to it.
    """

    settings: Settings
    longest_text: int
    longest_frames: int = 30 * FPS
    keep_prefix: bool = False
    reference_text: str = ""
    slots: int = 16
    follows_mouth: bool = False
    ahead: int = 0


@dataclass
class _Work:
    """A request under way: what its pieces need, and what they have become.

    ``texts``: of each piece; ``known``: latents or normalised codes of each driven piece, ``frames`` of all of them;
    ``begin``: the first of the driving frames that is followed, ``None``: all of them, with whatever silence there is;
    ``prefix``: frames of the reference that the first piece begins with; ``speech``, ``motion``: what was made.
    """

    place: int
    request: Request
    seeds: list[int]
    texts: list[str]
    reference: Reference
    known: list[torch.Tensor] = field(default_factory=list)
    frames: int = 0
    begin: int | None = None
    prefix: int = 0
    speech: list[torch.Tensor] = field(default_factory=list)
    motion: list[torch.Tensor] = field(default_factory=list)

    @property
    def done(self) -> int:
        """Pieces that are made."""
        return max(len(self.speech), len(self.motion))


class Pipeline:
    """Answers batches of requests."""

    def __init__(
        self, front: Front, model: SpeechLLM, table: TextTable, references: References, conduct: Conduct
    ) -> None:
        self._front, self._model, self._table = front, model, table
        self._references, self._conduct = references, conduct
        self._planner = Planner(model.config, conduct.settings)
        self._loop = Generator(model, conduct.settings, conduct.slots)
        self._patch = model.config.patch_size

    def answer(self, requests: Sequence[Request]) -> list[Output | Failure]:
        """One result per request, in order."""
        results: dict[int, Output | Failure] = {}

        def jobs() -> Iterator[Job]:
            for place, request in enumerate(requests):
                try:
                    work = self._work(place, request)
                    job = self._job(work)
                except Unscorable as error:
                    results[place] = Failure(error.kind, error.detail)
                    continue
                yield job

        for made in self._loop.run(jobs(), self._follow):
            work: _Work = made.job.key
            if work.done == len(work.seeds):
                results[work.place] = self._output(work)
        return [results[place] for place in range(len(requests))]

    # ----------------------------------------------------------------------- before the loop

    def _work(self, place: int, request: Request) -> _Work:
        known, frames, begin = self._driven(request)
        texts = self._texts(request, known)
        seeds = request.generator().integers(0, 2**63 - 1, len(texts)).tolist()
        return _Work(place, request, seeds, texts, self._reference(request), known, frames, begin)

    def _reference(self, request: Request) -> Reference:
        """Voice, face, and what the result may begin with."""
        task, refer, config = request.task, self._references, self._model.config
        speech, motion = torch.zeros(0, config.speech_dim), torch.zeros(0, config.motion_dim)
        speaker, first = torch.zeros(config.speaker_dim), None
        if task in SPEAKS:
            speaker = refer.voice(request.voice, request.voice_key)
        if task in BEGINS:
            speech = refer.spoken(request.voice, request.voice_key)[: self._conduct.longest_frames]
        if task in SHOWS:
            face = refer.face(request.identity, request.identity_key)
            first = self._front.stats.normalised(refer.given_or(torch.from_numpy(face.alpha)[None])[0])
        if task == "t2av":
            motion = self._shown_before(request)
        return Reference(speech, motion, speaker, first)

    def _shown_before(self, request: Request) -> torch.Tensor:
        """Normalised motion of the reference; of zeros where nothing begins with it, so that only its length counts."""
        refer, picture, key = self._references, request.identity, request.identity_key
        if self._conduct.settings.prefix_seconds:
            return self._front.stats.normalised(self._enough(refer.motion(picture, key)))
        return self._enough(torch.zeros(refer.motion_frames(picture, key), self._model.config.motion_dim))

    def _texts(self, request: Request, known: Sequence[torch.Tensor]) -> list[str]:
        """The text of each piece; where nothing is ``known``, the text decides how many there are.

        Raises:
            Unscorable: ``empty_reference``; ``model_error`` for a text that is too long for a driving video.
        """
        if request.task not in TOLD:
            return [""] * len(known)
        text = request.text or ""
        found = pieces(text, self._table, self._conduct.longest_text)
        if not found:
            raise Unscorable("empty_reference", f"text {text[:40]!r} has nothing to speak")
        if known:
            words = text.split()
            cuts = [place * len(words) // len(known) for place in range(len(known) + 1)]
            found = [" ".join(words[first:after]) for first, after in pairwise(cuts)]
        else:
            found[0] = f"{self._conduct.reference_text} {found[0]}".strip()
        longest = max(len(self._table.ids(piece)) for piece in found)
        room = MAX_LENGTH - max([len(codes) // self._patch for codes in known], default=0)
        if longest > room:
            raise Unscorable("model_error", f"a text of {longest} tokens is too long for one piece, {room} have room")
        return found

    def _driven(self, request: Request) -> tuple[list[torch.Tensor], int, int | None]:
        """The pieces of the given stream, its frames, and with which the part that is followed begins.

        Nothing where the system sets the length.
        """
        if request.task in FOLLOWS:
            codes = self._references.driving_motion(request.video)
            frames = request.n_frames or len(codes)
            known, begin = self._followed(_exactly(codes, frames))
            return known, frames, begin
        if request.task != "a2v":
            return [], 0, None
        if request.audio is None:
            raise Unscorable("missing_reference", "no driving audio")
        audio = heard(request.audio)
        frames = request.n_frames or max(1, len(audio.samples) * FPS // audio.rate)
        return [self._front.speech(part) for part in _parts_of(audio, self._cuts(frames))], frames, None

    def _followed(self, codes: torch.Tensor) -> tuple[list[torch.Tensor], int | None]:
        """Normalised codes of the part that speech follows, in pieces of whole patches, and where it begins.

        Around a moving mouth it has as much silence as the model knows from training (14.6.2); the last frame is
        repeated up to a whole patch.
        """
        begin, end = None, len(codes)
        span = self._front.mouth_span(codes) if self._conduct.follows_mouth else None
        if span is not None and span[1] - span[0] + 2 * _AROUND <= self._conduct.longest_frames:
            begin, end = max(0, span[0] - _AROUND), min(end, span[1] + _AROUND)
        first = begin or 0
        whole = -(-(end - first) // self._patch) * self._patch
        part = self._front.stats.normalised(_exactly(codes[first:], whole))
        return [part[start:after] for start, after in pairwise(self._cuts(whole))], begin

    def _cuts(self, frames: int) -> list[int]:
        """Where a driving stream is cut: pieces of about equal length, whole patches but for the last."""
        longest, size = self._conduct.longest_frames, self._patch
        count = 1 if frames <= longest else -(-frames // (longest // size * size))
        step = -(-frames // size // count) * size
        return [min(frames, place * step) for place in range(count + 1)]

    def _enough(self, motion: torch.Tensor) -> torch.Tensor:
        """At least a patch. A portrait stands still: its code is repeated to as many frames as the prefix has."""
        least = max(self._patch, round(self._conduct.settings.prefix_seconds * FPS) if len(motion) == 1 else 0)
        return _exactly(motion, max(least, len(motion)))

    # ----------------------------------------------------------------------- in the loop

    def _job(self, work: _Work) -> Job:
        """The first piece, or the next one: it goes on from what was made of the one before."""
        place, planner, reference = work.done, self._planner, work.reference
        if work.known:
            reference = _driven_on(work, self._ahead(work))
        elif place:
            planner, reference = self._going_on(work)
        ids = torch.tensor(self._ids(work))
        device = self._model.device
        noise = torch.Generator().manual_seed(work.seeds[place])
        job = planner.plan(_MODES[work.request.task], ids.to(device), _moved(reference, device), noise, key=work)
        if not place and not work.known:
            work.prefix = job.known_slots * self._patch
        return job

    def _ids(self, work: _Work) -> list[int]:
        """What stands before the first patch of the next piece."""
        text = work.texts[work.done]
        if self._ahead(work):
            return self._table.driven_ids(by_mouth=work.request.task == "vts")
        silent = bool(work.known) and work.begin is None  # silence may come first
        return self._table.whole_ids(text) if silent else self._table.ids(text)

    def _ahead(self, work: _Work) -> int:
        """Frames that a driving stream is ahead; with a text none, as in training."""
        return self._conduct.ahead * self._patch if work.known and work.request.task not in TOLD else 0

    def _going_on(self, work: _Work) -> tuple[Planner, Reference]:
        """Further text: the end of what was made is the prefix, and the bound stays that of the first piece."""
        old, settings = work.reference, self._conduct.settings
        begin = max(0, len(work.speech[-1]) - work.prefix)
        speech, motion, first = work.speech[-1][begin:], old.motion[:0], old.first_motion
        if work.motion:
            motion = work.motion[-1][begin:]
            first = motion[0] if len(motion) else work.motion[-1][-1]
        frames = max(len(old.speech), len(old.motion))
        bound = settings.max_patches or -(-frames // self._patch) + settings.margin
        planner = Planner(self._model.config, replace(settings, max_patches=bound))
        return planner, replace(old, speech=speech, motion=motion, first_motion=first)

    def _follow(self, made: Made) -> Job | None:
        work: _Work = made.job.key
        late = self._ahead(work)
        if made.speech is not None:
            work.speech.append(made.speech[late:])
        if made.motion is not None:
            work.motion.append(made.motion[late:])
        return self._job(work) if work.done < len(work.seeds) else None

    # ----------------------------------------------------------------------- after the loop

    def _output(self, work: _Work) -> Output | Failure:
        try:
            video = self._video(work) if work.request.task in SHOWS else None
            audio = Audio(self._sound(work), self._front.rate) if work.request.task in SPEAKS else None
        except Unscorable as error:
            return Failure(error.kind, error.detail)
        return Output(video=video, audio=audio)

    def _sound(self, work: _Work) -> Samples:
        """Pieces one after the other; the first is decoded behind the prefix, as by the official script."""
        front, before = self._front, work.reference.speech[: work.prefix]
        if work.begin is not None:
            return front.sound(self._in_silence(torch.cat(work.speech), work.begin, work.frames))
        waves = [front.sound(torch.cat([before, work.speech[0]]))]
        if not self._conduct.keep_prefix:
            waves[0] = waves[0][len(before) * front.hop :]
        waves += [front.sound(speech) for speech in work.speech[1:]]
        wave = joined(waves, round(_FADE_S * front.rate))
        return wave[: work.frames * front.hop] if work.frames else wave

    def _in_silence(self, speech: torch.Tensor, begin: int, frames: int) -> torch.Tensor:
        """``frames`` latents, ``speech`` (L, C) from frame ``begin`` on."""
        second = self._front.speech(Audio(np.zeros(self._front.rate, np.float32), self._front.rate))
        room = second[len(second) // 2].repeat(frames, 1)
        part = speech[: frames - begin]
        room[begin : begin + len(part)] = part
        return room

    def _video(self, work: _Work) -> Frames:
        request, front = work.request, self._front
        codes = front.stats.raw(torch.cat(work.motion))
        if self._conduct.keep_prefix and work.prefix:
            raw = self._references.motion(request.identity, request.identity_key)
            codes = torch.cat([self._enough(raw)[: work.prefix], codes])
        codes = codes[: work.frames] if work.frames else codes
        face = self._references.face(request.identity, request.identity_key)
        return front.renderer.video(face, codes.numpy(), request.workdir)


_MODES: dict[str, Mode] = {"t2av": "t2av", "tts": "tts", "a2v": "a2v", "vts": "v2a", "dub": "v2a"}


def joined(waves: Sequence[Samples], fade: int) -> Samples:
    """Pieces of sound in one; between them it falls to zero and rises again over ``fade`` samples each."""
    parts = [np.array(wave, np.float32) for wave in waves]
    ramp = np.linspace(0.0, 1.0, fade, endpoint=False, dtype=np.float32)
    for before, after in pairwise(parts):
        count = min(fade, len(before), len(after))
        before[len(before) - count :] *= ramp[:count][::-1]
        after[:count] *= ramp[:count]
    return np.concatenate(parts)


def _exactly(codes: torch.Tensor, frames: int) -> torch.Tensor:
    """``codes`` (T, C) cut to ``frames``, or with the last one repeated."""
    return torch.cat([codes[:frames], codes[-1:].expand(max(0, frames - len(codes)), -1)])


def _parts_of(audio: Audio, cuts: Sequence[int]) -> list[Audio]:
    """Sound between the frames ``cuts``, silence at its end where it is shorter."""
    ends = [-(-cut * audio.rate // FPS) for cut in cuts]
    samples = np.pad(audio.samples[: ends[-1]], (0, max(0, ends[-1] - len(audio.samples))))
    return [Audio(samples[first:after], audio.rate) for first, after in pairwise(ends)]


def _driven_on(work: _Work, ahead: int) -> Reference:
    """A driven piece: nothing but the driving stream is known, with ``ahead`` frames of what follows; motion begins
    where that of the last piece ended."""
    known, reference = work.known[work.done], work.reference
    if ahead:
        known = _exactly(torch.cat(work.known[work.done :]), len(known) + ahead)
    if work.request.task == "a2v":
        first = work.motion[-1][-1] if work.motion else reference.first_motion
        return replace(reference, speech=known, first_motion=first)
    return replace(reference, speech=reference.speech[:0], motion=known)


def _moved(reference: Reference, device: torch.device) -> Reference:
    first = reference.first_motion
    speech, motion, speaker = (part.to(device) for part in (reference.speech, reference.motion, reference.speaker))
    return Reference(speech, motion, speaker, None if first is None else first.to(device))
