"""Bounds and controls: truth, shuffle, anchor, still face."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from system_helpers import RATE, Made, a2v, make_clip, reference, vts

from bench import media, registry
from bench.api import Failure, Output, Request, Source
from bench.systems.baselines.anchor import Anchor, low_pass
from bench.systems.baselines.pictures import fit_length, quarter_and_back
from bench.systems.baselines.still_face import StillFace
from bench.systems.baselines.truth import GroundTruth, Shuffled


def frames_of(output: object) -> np.ndarray:
    assert isinstance(output, Output) and output.video is not None
    return media.decode_video(Source(output.video)).frames if isinstance(output.video, Path) else output.video


def audio_of(output: object) -> np.ndarray:
    assert isinstance(output, Output) and output.audio is not None
    audio = media.decode_audio(Source(output.audio)) if isinstance(output.audio, Path) else output.audio
    return audio.samples


def test_every_baseline_is_registered_and_names_a_task() -> None:
    for name in ("ground-truth", "shuffled", "anchor", "espeak", "still-face", "outputs", "gateway"):
        assert registry.get("systems", name).tasks


def test_ground_truth_gives_the_streams_of_the_reference(clips: list[Made]) -> None:
    made = clips[0]
    (video,) = GroundTruth().generate_from_truth([a2v(made)], [made.truth])
    (audio,) = GroundTruth().generate_from_truth([vts(made)], [made.truth])
    assert np.array_equal(frames_of(video), media.decode_video(made.clip.video).frames)  # type: ignore[arg-type]
    assert np.abs(audio_of(audio) - made.samples).max() < 1e-4
    assert audio.video is None and video.audio is None  # type: ignore[union-attr]


def test_ground_truth_respects_start_end_and_crop(clips: list[Made]) -> None:
    made = clips[0]
    part = replace(made.clip.video, start=0.08, end=0.24, crop=(8, 4, 16, 12))  # type: ignore[type-var]
    sound = replace(made.clip.audio, start=0.08, end=0.24)  # type: ignore[type-var]
    truth = replace(made.truth, video=part, audio=sound)
    (output,) = GroundTruth().generate_from_truth([replace(a2v(made), task="t2av", n_frames=None)], [truth])
    assert frames_of(output).shape == (4, 12, 16, 3)
    assert len(audio_of(output)) == round(0.16 * RATE)


def test_ground_truth_video_has_the_length_of_the_driving_audio(clips: list[Made]) -> None:
    (output,) = GroundTruth().generate_from_truth([a2v(clips[0], n_frames=6)], [clips[0].truth])
    assert len(frames_of(output)) == 6


def test_broken_and_absent_truth_are_typed_failures(clips: list[Made], tmp_path: Path) -> None:
    bad = tmp_path / "bad.mp4"
    bad.write_bytes(b"no video")
    truths = [replace(clips[0].truth, video=Source(bad)), replace(clips[0].truth, video=None)]
    for system in (GroundTruth(), Anchor()):
        results = system.generate_from_truth([a2v(clips[0])] * 2, truths)
        assert [result.kind for result in results if isinstance(result, Failure)] == ["decode_error", "no_video_stream"]


def shuffled_for(clips: list[Made]) -> Shuffled:
    system = Shuffled()
    system.prepare([made.clip for made in clips])
    return system


def test_shuffled_gives_another_speakers_clip_whatever_the_batch(clips: list[Made]) -> None:
    system = shuffled_for(clips)
    together = system.generate_from_truth([vts(made) for made in clips], [made.truth for made in clips])
    for made, output in zip(clips, together, strict=True):
        (alone,) = shuffled_for(clips).generate_from_truth([vts(made)], [made.truth])
        assert np.array_equal(audio_of(alone), audio_of(output))
        source = next(
            c for c in clips if c.samples.size == audio_of(output).size and _near(c.samples, audio_of(output))
        )
        assert source.clip.speaker != made.clip.speaker


def _near(a: np.ndarray, b: np.ndarray) -> bool:
    return bool(np.abs(a - b).max() < 1e-3)


def test_shuffled_video_has_the_length_and_size_of_the_request(clips: list[Made]) -> None:
    system = shuffled_for(clips)
    for made in clips:
        (output,) = system.generate_from_truth([a2v(made)], [made.truth])
        assert frames_of(output).shape == made.frames.shape


def test_shuffled_never_meets_the_truth_of_a_cross_pair(clips: list[Made]) -> None:
    system = shuffled_for(clips)
    for video in clips:
        for partner in clips:
            if partner.clip.id == video.clip.id:
                continue
            truth = reference(video.clip, partner.clip.audio)
            other = system._find(truth)
            assert other is not None and other.id not in {video.clip.id, partner.clip.id}


def test_shuffled_skips_a_double_of_the_clip(tmp_path: Path) -> None:
    one, two, three = (make_clip(tmp_path, f"t/{n}") for n in "123")
    double = replace(two, clip=replace(two.clip, content_sha256=one.clip.content_sha256))
    system = shuffled_for([one, double, three])
    found = system._find(one.truth)
    assert found is not None and found.id == "t/3"


def test_shuffled_on_a_split_of_one_clip_is_a_failure(clips: list[Made]) -> None:
    (result,) = shuffled_for(clips[:1]).generate_from_truth([vts(clips[0])], [clips[0].truth])
    assert isinstance(result, Failure) and result.kind == "missing_reference"


@given(count=st.integers(1, 9), wanted=st.integers(1, 40))
def test_fit_length_cuts_or_plays_back_and_forth(count: int, wanted: int) -> None:
    frames = np.arange(count, dtype=np.uint8)[:, None, None, None] * np.ones((1, 2, 2, 3), np.uint8)
    index = fit_length(frames, wanted)[:, 0, 0, 0].astype(int)
    assert len(index) == wanted
    assert list(index[:count]) == list(range(min(count, wanted)))
    assert (np.abs(np.diff(index)) == (1 if count > 1 else 0)).all()  # neither a jump nor a frozen picture


def test_low_pass_keeps_3500_hz_and_removes_4000_hz() -> None:
    rate, times = 16_000, np.arange(16_000) / 16_000
    for hertz, low, high in ((1_000, 0.999, 1.001), (3_500, 0.988, 1.012), (4_000, 0, 0.0564), (4_500, 0, 0.0032)):
        tone = (0.5 * np.sin(2 * np.pi * hertz * times)).astype(np.float32)
        passed = low_pass(tone, rate)
        gain = np.sqrt(np.mean(passed[2000:-2000] ** 2) / np.mean(tone[2000:-2000] ** 2))
        assert low <= gain <= high, hertz
        assert passed.shape == tone.shape and passed.dtype == np.float32


def test_low_pass_does_not_delay_and_leaves_8_khz_audio() -> None:
    times = np.arange(8_000) / 16_000
    tone = (0.5 * np.sin(2 * np.pi * 440 * times)).astype(np.float32)
    assert np.abs(low_pass(tone, 16_000) - tone)[500:-500].max() < 1e-3
    assert low_pass(tone, 8_000) is tone
    assert low_pass(tone[:1], 16_000).shape == (1,)


def test_anchor_blurs_pictures_and_keeps_shapes(clips: list[Made]) -> None:
    made = clips[3]
    (video,) = Anchor().generate_from_truth([a2v(made)], [made.truth])
    (audio,) = Anchor().generate_from_truth([vts(made)], [made.truth])
    assert frames_of(video).shape == made.frames.shape
    assert audio_of(audio).shape == made.samples.shape
    noise = np.random.default_rng(0).integers(0, 256, (2, 33, 47, 3)).astype(np.uint8)
    assert quarter_and_back(noise).std() < 0.5 * noise.std()
    assert quarter_and_back(noise[:, :1, :2]).shape == (2, 1, 2, 3)


def test_still_face_holds_the_portrait(clips: list[Made], tmp_path: Path) -> None:
    portrait = tmp_path / "identity.png"
    media.write_png(portrait, clips[0].frames[0])
    outputs = StillFace().generate([a2v(clips[0], identity=portrait), a2v(clips[3], n_frames=None)])
    held = frames_of(outputs[0])
    assert held.shape == clips[0].frames.shape and (held == clips[0].frames[0]).all()
    assert len(frames_of(outputs[1])) == 15
    (result,) = StillFace().generate([Request(key="k", task="a2v", seed=0)])
    assert isinstance(result, Failure) and result.kind == "missing_reference"


def test_controls_refuse_to_generate_without_the_truth(clips: list[Made]) -> None:
    with pytest.raises(TypeError, match="generate_from_truth"):
        GroundTruth().generate([vts(clips[0])])
