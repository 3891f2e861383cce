"""Writing videos and pictures: round trips, equal bytes, odd sizes; and silent copies that tell nothing."""

from __future__ import annotations

import hashlib
from fractions import Fraction

import av
import numpy as np
import pytest
from media_making import gradient, make_video, marked, tone, which

from bench.errors import Unscorable
from bench.media import (
    Audio,
    Source,
    decode_audio,
    decode_video,
    file_sha256,
    probe,
    read_png,
    strip_audio,
    write_png,
    write_video,
)


@pytest.mark.parametrize(("width", "height"), [(64, 48), (63, 48), (64, 47), (33, 27), (1, 1), (224, 224)])
def test_round_trip_keeps_size_count_and_colours(tmp_path, width, height):
    frames = gradient(width, height, 5)
    path = tmp_path / "v.mp4"
    write_video(path, frames)
    video = decode_video(Source(path))
    assert video.frames.shape == frames.shape
    assert not video.fps_converted
    assert np.abs(video.frames.astype(int) - frames).mean() < 2
    facts = probe(path)
    assert (facts.width, facts.height, facts.frames, facts.fps) == (width, height, 5, 25.0)
    assert facts.duration == pytest.approx(0.2)


def test_colours_have_no_bias(tmp_path):
    """libswscale's default shortcut darkens every picture by one grey level."""
    frames = gradient(128, 128, 3)
    write_video(tmp_path / "v.mp4", frames)
    got = decode_video(Source(tmp_path / "v.mp4")).frames
    assert abs(got.mean() - frames.mean()) < 0.1


def test_the_stream_is_h264_in_420_with_equal_bytes_each_time(tmp_path):
    for name in ("first.mp4", "second-name.mp4"):
        write_video(tmp_path / name, marked(30))
    one, two = tmp_path / "first.mp4", tmp_path / "second-name.mp4"
    assert one.read_bytes() == two.read_bytes()
    with av.open(str(one)) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        assert stream.average_rate == 25
        assert not container.streams.audio


def test_pieces_give_the_bytes_of_the_whole(tmp_path):
    frames = marked(30)
    write_video(tmp_path / "a.mp4", frames)
    write_video(tmp_path / "b.mp4", (frames[i : i + 7] for i in range(0, 30, 7)))
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()


def test_a_lower_crf_is_nearer_to_the_picture(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (4, 64, 64, 3), dtype=np.uint8)
    sizes = []
    for crf in (10, 35):
        write_video(tmp_path / f"{crf}.mp4", noise, crf=crf)
        sizes.append((tmp_path / f"{crf}.mp4").stat().st_size)
    assert sizes[0] > 2 * sizes[1]


def test_sound_can_be_added_for_people(tmp_path):
    wave = tone(2, 22050)
    write_video(tmp_path / "v.mp4", marked(50), audio=Audio(wave, 22050))
    audio = decode_audio(Source(tmp_path / "v.mp4"))
    assert audio.rate == 22050
    assert np.corrcoef(audio.samples[2000:40000], wave[2000:40000])[0, 1] > 0.999
    assert len(decode_video(Source(tmp_path / "v.mp4")).frames) == 50


@pytest.mark.parametrize(
    ("frames", "kind", "message"),
    [
        (np.zeros((0, 4, 4, 3), np.uint8), "too_short", "0 video frames"),
        (np.zeros((2, 4, 4, 3), np.float32), "model_error", "not float32"),
        (np.zeros((4, 4, 3), np.uint8), "model_error", r"\(4, 4, 3\)"),
        (np.zeros((2, 0, 4, 3), np.uint8), "model_error", r"\(2, 0, 4, 3\)"),
        ([np.zeros((1, 4, 4, 3), np.uint8), np.zeros((1, 4, 6, 3), np.uint8)], "model_error", "differ in shape"),
        ([[1, 2]], "model_error", "not list"),
    ],
)
def test_what_is_no_video_is_refused_and_leaves_no_file(tmp_path, frames, kind, message):
    with pytest.raises(Unscorable, match=message) as caught:
        write_video(tmp_path / "v.mp4", frames)
    assert caught.value.kind == kind
    assert not (tmp_path / "v.mp4").exists()


def test_png_is_lossless_and_has_equal_bytes(tmp_path):
    picture = np.random.default_rng(0).integers(0, 256, (31, 45, 3), dtype=np.uint8)
    for name in ("a.png", "b.png"):
        write_png(tmp_path / name, picture)
    np.testing.assert_array_equal(read_png(tmp_path / "a.png"), picture)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert (tmp_path / "a.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    with pytest.raises(Unscorable, match="a picture is uint8"):
        write_png(tmp_path / "c.png", picture[..., 0])
    (tmp_path / "bad.png").write_bytes(b"no picture")
    with pytest.raises(Unscorable, match=r"bad\.png"):
        read_png(tmp_path / "bad.png")


SECRETS = {"title": "the secret title", "comment": "speaker 42", "artist": "somebody"}


def made_with_sound(path, rate=Fraction(25), **kwargs):
    return make_video(path, marked(40), rate, audio=tone(1.6, 16000)[None], metadata=SECRETS, **kwargs)


def assert_tells_nothing(path, *words):
    with av.open(str(path)) as container:
        assert [stream.type for stream in container.streams] == ["video"]
    content = path.read_bytes()
    for word in ("secret", "speaker", "somebody", *words):
        assert word.encode() not in content, word


def test_a_silent_copy_has_the_packets_and_nothing_else(tmp_path):
    source = made_with_sound(tmp_path / "clip-of-mary.mp4", options={"bf": "2", "b_strategy": "0"})
    target = tmp_path / "out.mp4"
    strip_audio(Source(source), target)
    assert_tells_nothing(target, "mary")
    np.testing.assert_array_equal(decode_video(Source(target)).frames, decode_video(Source(source)).frames)

    def packets(path):
        with av.open(str(path)) as c:
            return [(p.pts * p.time_base, bytes(p)) for p in c.demux(video=0) if p.size]

    assert packets(source) == packets(target)


def test_silent_copies_have_equal_bytes(tmp_path):
    source = made_with_sound(tmp_path / "a.mp4")
    for name in ("b.mp4", "c.mp4"):
        strip_audio(Source(source), tmp_path / name)
    assert file_sha256(tmp_path / "b.mp4") == file_sha256(tmp_path / "c.mp4")
    assert file_sha256(source) == hashlib.sha256(source.read_bytes()).hexdigest()


def test_other_sources_are_put_on_the_grid_and_encoded(tmp_path):
    ntsc = made_with_sound(tmp_path / "ntsc.mp4", Fraction(30000, 1001))
    matroska = made_with_sound(tmp_path / "v.mkv")
    turned = made_with_sound(tmp_path / "turned.mp4", quarter_turns=1)
    plain = made_with_sound(tmp_path / "plain.mp4")
    target = tmp_path / "out.mp4"
    for source in [
        Source(ntsc), Source(matroska), Source(turned), Source(plain, 0.4, 1.2), Source(plain, crop=(8, 8, 33, 21)),
    ]:  # fmt: skip
        expected = decode_video(source).frames
        strip_audio(source, target)
        assert_tells_nothing(target)
        got = decode_video(Source(target))
        assert got.frames.shape == expected.shape
        assert not got.fps_converted
        assert np.abs(got.frames.astype(int) - expected).mean() < 4
    strip_audio(Source(ntsc), target)
    assert which(decode_video(Source(target)).frames) == which(decode_video(Source(ntsc)).frames)


def test_broken_sources_make_no_silent_copy(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (50, 48, 64, 3), dtype=np.uint8)
    source = make_video(tmp_path / "v.mp4", noise, container_options={"movflags": "+faststart"})
    source.write_bytes(source.read_bytes()[:-2000])
    only_sound = make_video(tmp_path / "a.mp4", None, audio=tone(1, 16000)[None])
    for path, kind in ((source, "decode_error"), (only_sound, "no_video_stream"), (tmp_path / "none", "decode_error")):
        with pytest.raises(Unscorable) as caught:
            strip_audio(Source(path), tmp_path / "out.mp4")
        assert caught.value.kind == kind
        assert not (tmp_path / "out.mp4").exists()
