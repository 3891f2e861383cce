"""What the codes are taught to say about rare mouths, and what is learned where one stream is given and runs ahead."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch
from talker_kit import SIZES, FakeMakers, joint_clip, small

from bench.api import Clip, DataError, Source
from bench.datasets.demo.phoneme_times import phoneme_times
from bench.datasets.demo.visemes import VISEMES
from bench.progress import Progress
from bench.systems.talker.motion_model import COORDINATES, MOUTH_STATES, READ
from bench.systems.talker.motion_stats import MotionStats
from bench.systems.talker.text import MOUTH, SOUND, START, WHOLE, Characters
from bench.systems.talker.training import motion_losses
from bench.systems.talker.training.joint_data import JointClips, collated
from bench.systems.talker.training.joint_losses import Taught
from bench.systems.talker.training.joint_options import RECIPES, Recipe
from bench.systems.talker.training.joint_start import fresh
from bench.systems.talker.training.motion_balance import Visemes
from bench.systems.talker.training.motion_data import MotionClips
from bench.systems.talker.training.motion_targets import target_weights

LATE = 8  # frames that a given stream is ahead by here: two patches


def mouth_clip(root: Path, number: int, names: list[str]) -> Clip:
    """A clip of the corpus whose mouth takes these visemes, one a frame; nobody decodes it."""
    states = np.array([VISEMES[name].state() for name in names], np.float32)
    name = f"m{number}"
    np.savez(root / f"{name}.npz", landmarks=np.zeros((len(names), 68, 2), np.float32), mouth=states)
    digest = hashlib.sha256(name.encode()).hexdigest()
    return Clip(name, "demo", "train", Source(root / f"{name}.mp4"), None, None, digest, len(names), "s0")


class TestRareMouths:
    """Frames by viseme."""

    def known(self, tmp_path: Path, *clips: list[str]) -> MotionClips:
        made = [mouth_clip(tmp_path, number, names) for number, names in enumerate(clips)]
        known = MotionClips(made, 16, tmp_path, lambda clip, error: None)
        known._faces = lambda index: np.zeros((25, 16, 16, 3), np.uint8)  # type: ignore[assignment]
        return known

    def test_each_viseme_is_drawn_alike_and_a_tucked_lip_three_times_as_often(self, tmp_path: Path) -> None:
        usual = ["sil"] * 20 + ["aa"] * 3
        known = self.known(tmp_path, [*usual, "FV", "WW"], ["sil"] * 25)
        visemes = Visemes(known)
        assert {name: len(shots) for name, shots in visemes.shots.items()} == {"sil": 45, "FV": 1, "WW": 1, "aa": 3}
        random = np.random.default_rng(0)
        tucked = MOUTH_STATES.index("tuck")
        found = [visemes.draw(random) for _ in range(600)]
        share = np.mean([known.mouths(shot.clip)[shot.place, tucked] > 0.5 for shot in found])
        assert 0.42 < share < 0.58  # 3 of 6
        assert {shot.clip for shot in found} == {0, 1}

    def test_frames_of_clips_that_cannot_be_decoded_are_not_drawn(self, tmp_path: Path) -> None:
        known = self.known(tmp_path, ["sil"] * 25, ["aa"] * 24 + ["FV"])
        known._broken.add(1)
        random = np.random.default_rng(0)
        visemes = Visemes(known)
        visemes.shots = {name: shots for name, shots in visemes.shots.items() if name == "sil"}
        visemes._chances = np.ones(1)
        assert {visemes.draw(random).clip for _ in range(20)} == {0}
        known._broken.add(0)
        with pytest.raises(DataError, match="none of 2 clips"):
            visemes.draw(random)

    def test_width_and_tuck_count_most(self) -> None:
        weights = dict(zip(MOUTH_STATES, target_weights()[COORDINATES:].tolist(), strict=True))
        assert weights["width"] == weights["tuck"] == max(weights.values()) > 1.5 * weights["gap"]

    def test_the_shape_of_the_mouth_is_all_that_the_shape_loss_sees(self) -> None:
        one = torch.zeros(2, READ)
        other = one.clone()
        other[:, : 2 * 48] = 7.0
        assert float(motion_losses.shape(one, other)) == 0
        other[:, COORDINATES] = 1.0
        assert float(motion_losses.shape(one, other)) == pytest.approx(1 / (READ - 96))


@pytest.fixture
def clips(tmp_path: Path) -> list[Clip]:
    """Four clips of 52 to 64 frames; speech begins at frame 10 and ends 10 frames before the clip."""
    return [joint_clip(tmp_path, number, 52 + 4 * number) for number in range(4)]


def driven(clips: list[Clip], sound: bool, **changes: object) -> JointClips:
    rules: Recipe = small(text_drop=1.0, sound_share=float(sound), ahead=2, **changes)
    stats = MotionStats([0.0] * 4, [1.0] * 4)
    return JointClips(clips, FakeMakers().make, Characters(), stats, rules, Progress(quiet=True))


class TestOneStreamGiven:
    """Items without a text."""

    def test_speech_comes_after_the_mouth_that_it_goes_with(self, clips: list[Clip]) -> None:
        true = FakeMakers().make(clips[1])  # 56 frames, speech from 10 to 46
        item = driven(clips, False, whole_share=0.0).item(1, np.random.default_rng(0))
        assert item.ids.tolist() == [MOUTH, 2] and item.makes == (True, False) and item.stops_until == 0
        first = next(k for k in range(56) if np.allclose(true.motion[k], item.motion[0]))
        assert 4 <= first <= 8 and len(item.speech) == len(item.motion) == len(item.phonemes)
        frames = len(item.motion) - LATE
        assert np.allclose(item.motion[:frames], true.motion[first : first + frames])
        assert np.allclose(item.speech[LATE:], true.speech[first : first + frames])
        assert np.allclose(item.speech[LATE - first :: 1][:first], true.speech[:first])
        assert np.allclose(item.speech[0], true.speech[0])  # the clip has no frame before
        centres = (np.arange(first, first + frames) + 0.5) / 25
        assert item.phonemes[LATE:].tolist() == phoneme_times(clips[1]).at(centres).tolist()

    def test_the_given_stream_stands_still_where_the_clip_has_ended(self, clips: list[Clip]) -> None:
        true = FakeMakers().make(clips[0])  # 52 frames
        item = driven(clips, True).item(0, np.random.default_rng(0))
        assert item.ids.tolist() == [SOUND, 2] and item.makes == (False, True)
        assert np.allclose(item.speech[:52], true.speech) and np.allclose(item.speech[52:], true.speech[-1])
        assert np.allclose(item.motion[LATE:], true.motion) and np.allclose(item.motion[:LATE], true.motion[0])

    def test_what_is_given_is_not_learned(self, clips: list[Clip]) -> None:
        rules = small(text_drop=1.0, ahead=2)
        taught, generator = Taught(fresh(rules, 0), rules), torch.Generator()
        for sound, given in ((False, "motion"), (True, "speech")):
            data = driven(clips, sound)
            batch = collated([data.item(index, np.random.default_rng(index)) for index in range(3)], SIZES)
            found = taught.losses(batch, rules, generator.manual_seed(0))
            nothing = {name for name, value in found.items() if float(value.detach()) == 0}
            assert nothing >= {given, "stop"} and ({"speech", "motion"} - {given}).isdisjoint(nothing)
            torch.autograd.backward(sum(found.values(), torch.zeros(())))

    def test_texts_have_the_old_marks_and_one_batch_has_all(self, clips: list[Clip]) -> None:
        rules = small(text_drop=0.5, sound_share=0.5, whole_share=0.5, ahead=2)
        data = JointClips(
            clips, FakeMakers().make, Characters(), MotionStats([0.0] * 4, [1.0] * 4), rules, Progress(quiet=True)
        )
        items = [data.item(0, np.random.default_rng(seed)) for seed in range(60)]
        marks = {int(item.ids[0]) for item in items}
        assert marks == {START, WHOLE, MOUTH, SOUND}
        assert all((len(item.ids) == 2) == (int(item.ids[0]) in (MOUTH, SOUND)) for item in items)
        batch = collated(items, SIZES)
        assert batch.makes.tolist() == [list(item.makes) for item in items]
        assert bool(torch.isfinite(Taught(fresh(rules, 0), rules).losses(batch, rules, torch.Generator())["speech"]))

    def test_full_size_learns_both_streams_at_once_as_before(self) -> None:
        assert RECIPES["full"].ahead == 0 and RECIPES["full"].text_drop == 0
        assert RECIPES["tiny"].ahead > 0
