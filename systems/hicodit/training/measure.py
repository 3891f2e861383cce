"""How well models read lips: words, voices and likelihoods under each clip's own video and under a control's.

The protocol of hicodit.md E.2 and E.6: the speaker is known by the face alone; the control of a clip is the video of
another clip of the same voice with another text. Words are heard by ``wer/pocketsphinx-grid@1``. A voice is right where
Resemblyzer finds it nearer to the speaker's clips (but for the clip itself) than to those of any other speaker.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from bench.api import Audio, Clip, DataError, Score
from bench.media import log_mel
from bench.metrics.secs import cosine, load_encoder
from bench.results.stats import Statistic, clip_intervals, vector
from bench.systems.hicodit.identity import mean_direction, voice_identity
from bench.systems.hicodit.training.clip_audio import SAMPLE_RATE, clip_audio
from bench.systems.hicodit.training.data import Item, collated
from bench.systems.hicodit.training.evaluate import as_long, controls, likelihoods
from bench.systems.hicodit.training.listen import WORDS, Listener
from bench.systems.hicodit.training.speak import QUICK, Line, sound, spoken

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bench.systems.hicodit.codec.mel_rvq import MelRvqCodec
    from bench.systems.hicodit.identity import Vector
    from bench.systems.hicodit.joined import Joined
    from bench.systems.hicodit.sampling import Sampler
    from bench.systems.hicodit.training.clips import Drawn

    Wave = NDArray[np.float32]

#: A row of a table: figures by column, None where one means nothing.
Row = dict[str, float | str | None]


@dataclass(frozen=True)
class Exam:
    """What models are asked: to say ``clips``, whose crops and codes are ``items``, under either video."""

    clips: Sequence[Clip]
    items: Sequence[Item]
    codec: MelRvqCodec

    @classmethod
    def of(cls, drawn: Drawn, codec: MelRvqCodec) -> Exam:
        """All usable clips of a split. Raises :class:`DataError` where there is none."""
        found = [(clip, drawn.whole(index)) for index, clip in enumerate(drawn.records.clips)]
        usable = [(clip, item) for clip, item in found if item is not None]
        if not usable:
            raise DataError("no clip can be used", "see `bench data check`.")
        return cls([clip for clip, _ in usable], [item for _, item in usable], codec)

    @cached_property
    def control(self) -> list[int]:
        """Whose video is the control of each clip."""
        return controls(self.clips)

    @cached_property
    def other_items(self) -> list[Item]:
        """The items under their controls' videos."""
        pairs = zip(self.items, self.control, strict=True)
        return [replace(item, lip=as_long(self.items[other].lip, len(item.lip))) for item, other in pairs]

    @cached_property
    def truth(self) -> list[Wave]:
        """The true speech, levelled, at 16 kHz."""
        return [clip_audio(clip, SAMPLE_RATE) for clip in self.clips]

    @cached_property
    def listener(self) -> Listener:
        """Hears words and voices."""
        return Listener(self.clips)

    @cached_property
    def likeness(self) -> Likeness:
        """Compares voices with the speakers'."""
        return Likeness([clip.identity or "" for clip in self.clips], self.truth)

    def words(self, waves: Sequence[Wave], clips: Sequence[Clip] | None = None) -> list[Score]:
        """What is heard in place of the clips, against their texts or those of other ``clips``."""
        said = zip(clips or self.clips, waves, strict=True)
        heard = [self.listener.scores(clip, wave, self.codec.sample_rate).get(WORDS) for clip, wave in said]
        return [score for score in heard if score is not None]

    @torch.inference_mode()
    def mel_errors(self, tokens: Sequence[Tensor]) -> list[float]:
        """Mean |difference| of log-mel frames to the true speech, in nats, by clip."""
        found = []
        for one, true in zip(tokens, self.truth, strict=True):
            made = self.codec.network.mel_of(one)
            real = log_mel.log_mel(torch.from_numpy(true)[None])[0]
            found.append(float((made[: len(real)] - real[: len(made)]).abs().mean()))
        return found


class Likeness:
    """Which speaker a voice is nearest to, by Resemblyzer."""

    def __init__(self, speakers: Sequence[str], waves: Sequence[Wave]) -> None:
        self._speakers, self._encoder = speakers, load_encoder("cpu")
        self._known = [self._vector(wave) for wave in waves]

    def nearest(self, index: int, wave: Wave) -> tuple[bool, float]:
        """Whether it is the speaker of the clip, and the cosine to that speaker's other clips."""
        own = self._vector(wave)
        near = {name: cosine(own, self._voice(name, index)) for name in sorted(set(self._speakers))}
        right = near.pop(self._speakers[index])
        return right > max(near.values(), default=-1.0), right

    def _voice(self, speaker: str, but: int) -> Vector:
        clips = [index for index, name in enumerate(self._speakers) if name == speaker]
        return mean_direction([self._known[index] for index in clips if index != but] or [self._known[but]])

    def _vector(self, wave: Wave) -> Vector:
        return voice_identity(self._encoder, Audio(wave, SAMPLE_RATE))


def row_of_model(name: str, joined: Joined, exam: Exam, sampler: Sampler = QUICK, seed: int = 0) -> Row:
    """A model's figures; ``joined`` in evaluation mode.

    ``wer_control`` is scored against the clip's own text, ``wer_followed`` the same speech against the text of the
    clip whose video it followed.
    """
    said = _tokens(joined, exam, exam.items, sampler, seed)
    other = _tokens(joined, exam, exam.other_items, sampler, seed)
    waves, misled = ([sound(exam.codec, one) for one in tokens] for tokens in (said, other))
    followed = [exam.clips[index] for index in exam.control]
    row: Row = {"row": name, "parameters": float(sum(p.numel() for p in joined.parameters())), "clips": len(said)}
    row |= _rate("wer", exam.words(waves)) | _rate("wer_control", exam.words(misled))
    row |= _rate("wer_followed", exam.words(misled, followed)) | _voices(exam, waves)
    row |= {"log_mel": _mean(exam.mel_errors(said)), "log_mel_control": _mean(exam.mel_errors(other))}
    return row | _nats(joined, exam)


def row_of_speech(name: str, waves: Sequence[Wave], exam: Exam) -> Row:
    """The figures of speech that no model has made."""
    row: Row = {"row": name, "clips": len(waves)}
    return row | _rate("wer", exam.words(waves)) | _voices(exam, waves)


def row_of_codec(name: str, exam: Exam) -> Row:
    """True tokens, decoded: the best that any model can do."""
    tokens = [item.tokens for item in exam.items]
    row = row_of_speech(name, [sound(exam.codec, one) for one in tokens], exam)
    return row | {"log_mel": _mean(exam.mel_errors(tokens))}


def _tokens(joined: Joined, exam: Exam, items: Sequence[Item], sampler: Sampler, seed: int) -> list[Tensor]:
    lines = [Line(clip.id, item) for clip, item in zip(exam.clips, items, strict=True)]
    return spoken(joined, lines, sampler, seed)


def _rate(name: str, scores: Sequence[Score]) -> Row:
    """Errors over all words, with the 95 % interval of a bootstrap over clips."""
    edits, words = (vector([score.parts[part] for score in scores]) for part in ("edits", "ref_words"))
    if not len(words):
        return {name: None}
    interval = clip_intervals([Statistic(edits, words)])[0]
    low, high = interval if interval is not None else (None, None)
    return {name: float(edits.sum() / words.sum()), f"{name}_low": low, f"{name}_high": high}


def _voices(exam: Exam, waves: Sequence[Wave]) -> Row:
    found = [exam.likeness.nearest(index, wave) for index, wave in enumerate(waves)]
    return {"voice_right": _mean([right for right, _ in found]), "secs": _mean([near for _, near in found])}


@torch.no_grad()
def _nats(joined: Joined, exam: Exam) -> Row:
    """Cross entropy with everything masked, by level, and how often the own video makes the first level likelier."""

    def of(items: Sequence[Item]) -> Tensor:
        batches = [collated([item]) for item in items]
        return torch.cat([likelihoods(joined, batch, batch.lip) for batch in batches])

    right, control = of(exam.items), of(exam.other_items)
    row: Row = {f"level{level + 1}": float(right[:, level].mean()) for level in range(right.shape[1])}
    row["level1_control"] = float(control[:, 0].mean())
    row["level1_better"] = float((right[:, 0] < control[:, 0]).float().mean())
    return row


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values))
