"""One clip: its speech, mouth, head motion, frames and sidecar, from the plan alone."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bench.datasets.demo import geometry, head, mouth, render, speech, visemes
from bench.datasets.demo.speakers import SPEAKERS, Speaker
from bench.datasets.demo.visemes import Timed
from bench.media import to_int16

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from bench.datasets.demo.sentences import ClipPlan
    from bench.records import Array, Frames, Samples

MARGIN_S = 0.08  # of silence at least, before and after the speech
PAUSE_S = 0.40  # between the two sentences of a long clip


@dataclass(frozen=True)
class Track:
    """The sound of a clip: ``samples`` float32 (N,) at 16 kHz; times in seconds from the clip's start."""

    samples: Samples
    phonemes: tuple[Timed, ...]
    words: tuple[Timed, ...]


@dataclass(frozen=True)
class MadeClip:
    """A clip before encoding: ``frames`` (T, 224, 224, 3), ``samples`` at 16 kHz, ``sidecar`` arrays."""

    frames: Frames
    samples: Samples
    sidecar: dict[str, Array]

    def golden_sha256(self) -> str:
        """Hash of frames and 16-bit samples, before any encoder."""
        digest = hashlib.sha256(np.ascontiguousarray(self.frames).tobytes())
        digest.update(pcm16(self.samples).tobytes())
        return digest.hexdigest()


def pcm16(samples: Samples) -> NDArray[np.int16]:
    """Samples as they are stored: round(x·32768), clipped."""
    return to_int16(samples)


def place_speech(plan: ClipPlan, speaker: Speaker, start: float) -> Track:
    """The sentences at their place in the clip; ``start`` in [0, 1) is the place in the free room.

    The start varies over the whole free room: with a fixed one every clip has the same pattern of
    speech and silence, and the sound of any clip goes with the mouth of any other.
    """
    utterances = [speech.speak(speaker.voice, sentence) for sentence in plan.sentences]
    length = sum(u.duration_s for u in utterances) + PAUSE_S * (len(utterances) - 1)
    at = MARGIN_S + start * (plan.duration_s - length - 2 * MARGIN_S)
    samples = np.zeros(round(plan.duration_s * speech.RATE), np.float32)
    phonemes: list[Timed] = []
    words: list[Timed] = []
    for utterance in utterances:
        first = round(at * speech.RATE)
        samples[first : first + utterance.samples.size] = utterance.samples
        offset = first / speech.RATE
        phonemes += _shifted(utterance.phonemes, offset)
        words += _shifted(utterance.words, offset)
        at += utterance.duration_s + PAUSE_S
    return Track(samples, tuple(phonemes), tuple(words))


def _shifted(items: Sequence[Timed], offset: float) -> list[Timed]:
    """The same items, ``offset`` seconds later."""
    return [Timed(item.name, item.start + offset, item.end + offset) for item in items]


def _sidecar(
    track: Track, states: NDArray[np.float64], targets: geometry.Targets, motion: head.HeadMotion
) -> dict[str, Array]:
    """The truth behind a clip. Lid points follow the blinks."""
    landmarks = np.concatenate([targets.landmarks, targets.lips.landmarks()], axis=1)
    for frame, closed in enumerate(motion.blink):
        for eye in (geometry.LEFT_EYE, geometry.RIGHT_EYE):
            points = landmarks[frame, eye]
            points[1:3, 1] = render.lid_line(points.copy(), points[1:3, 0], float(closed))[2]
    return {
        "landmarks": landmarks.astype(np.float32),
        "mouth": states.astype(np.float32),
        "pose": motion.pose.astype(np.float32),
        "blink": motion.blink.astype(np.float32),
        "phonemes": np.array([p.name for p in track.phonemes]),
        "phoneme_times": np.array([(p.start, p.end) for p in track.phonemes], np.float64),
        "words": np.array([w.name for w in track.words]),
        "word_times": np.array([(w.start, w.end) for w in track.words], np.float64),
    }


def make_clip(plan: ClipPlan) -> MadeClip:
    """Speech, frames and sidecar of one clip; equal plans give equal clips."""
    speaker = SPEAKERS[plan.speaker]
    motion = head.head_motion(np.random.default_rng(plan.random_seed()), plan.n_frames)
    track = place_speech(plan, speaker, motion.start)
    states = visemes.mouth_states(track.phonemes, plan.n_frames)
    lips = mouth.lips(states, speaker.identity)
    face = geometry.identity_face(speaker.identity)
    targets = geometry.frame_targets(face, lips, states[:, mouth.JAW], motion)
    renderer = render.Renderer(speaker.identity)
    frames = np.stack([renderer.frame(targets, i, states[i], float(motion.blink[i])) for i in range(plan.n_frames)])
    return MadeClip(frames, track.samples, _sidecar(track, states, targets, motion))
