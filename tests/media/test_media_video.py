"""Decoding real videos of many kinds: exact frame counts and the right picture at each grid time."""

from __future__ import annotations

import subprocess
import sys
from fractions import Fraction

import av
import numpy as np
import pytest
from media_making import gradient, make_video, marked, tone, which

from bench.errors import Unscorable
from bench.media import Media, Source, count_frames, decode_video, fps_grid, iter_video, probe, strip_audio

NTSC = Fraction(30000, 1001)


def grid_of(times, duration):
    return fps_grid([float(t) for t in times], float(duration)).tolist()


@pytest.mark.parametrize("bframes", ["0", "3"])
def test_25_fps_passes_through_one_to_one_with_and_without_b_frames(tmp_path, bframes):
    options = {"bf": bframes, "b_strategy": "0"} if bframes != "0" else {"bf": "0"}
    path = make_video(tmp_path / "v.mp4", marked(40), options=options)
    video = decode_video(Source(path))
    assert which(video.frames) == list(range(40))
    assert not video.fps_converted
    assert video.source_fps == 25.0
    assert video.frames.dtype == np.uint8


def test_25_fps_is_bit_exact(tmp_path):
    from bench.media.picture import SWS_FLAGS

    path = make_video(tmp_path / "v.mp4", gradient(64, 48, 12))
    with av.open(str(path)) as container:
        plain = [f.reformat(format="rgb24", interpolation=SWS_FLAGS).to_ndarray() for f in container.decode(video=0)]
    np.testing.assert_array_equal(decode_video(Source(path)).frames, np.stack(plain))


@pytest.mark.parametrize(
    ("rate", "n", "expected"),
    [
        (NTSC, 60, 51),
        (Fraction(24000, 1001), 48, 51),
        (Fraction(30), 60, 50),
        (Fraction(50), 20, 10),
        (Fraction(10), 10, 25),
    ],
)
def test_other_constant_rates_follow_the_grid(tmp_path, rate, n, expected):
    path = make_video(tmp_path / "v.mp4", marked(n), rate)
    video = decode_video(Source(path))
    assert len(video.frames) == expected
    assert which(video.frames) == grid_of([i / rate for i in range(n)], n / rate)
    assert video.fps_converted
    assert video.source_fps == pytest.approx(float(rate))
    assert count_frames(Source(path)) == expected


def test_variable_rate_shows_each_frame_at_its_time(tmp_path):
    ms = [0, 40, 90, 110, 200, 240, 310, 520, 530, 540, 900]
    times = [Fraction(t, 1000) for t in ms]
    path = make_video(tmp_path / "v.mp4", marked(11), times=times, time_base=Fraction(1, 1000))
    video = decode_video(Source(path))
    shown = which(video.frames)
    expected = grid_of(times, times[-1] + Fraction(1, 1000))
    assert shown[: len(expected)] == expected
    assert set(shown[len(expected) :]) <= {10}  # how long the last frame stays is the container's word
    assert video.fps_converted


def test_matroska_with_millisecond_time_stamps_at_25_fps_is_not_converted(tmp_path):
    video = decode_video(Source(make_video(tmp_path / "v.mkv", marked(25))))
    assert which(video.frames) == list(range(25))
    assert not video.fps_converted


@pytest.mark.parametrize(
    ("name", "codec"),
    [
        ("v.avi", "mpeg4"),
        ("v.mpg", "mpeg1video"),  # GRID
        ("v.ts", "mpeg2video"),
        ("v.webm", "libvpx-vp9"),
        ("v.flv", "libx264"),
        ("v.h264", "libx264"),  # no time stamps at all
    ],
)
def test_other_containers_and_codecs_give_every_frame(tmp_path, name, codec):
    video = decode_video(Source(make_video(tmp_path / name, marked(40), codec=codec, options={"qscale": "2"})))
    assert which(video.frames) == list(range(40))
    assert not video.fps_converted


def remuxed(source, target, shift, options):
    """The packets of ``source``, ``shift`` frames of 1/25 s earlier."""
    with av.open(str(source)) as container, av.open(str(target), "w", options=options) as out:
        stream = container.streams.video[0]
        copy = out.add_stream_from_template(stream)
        for packet in container.demux(stream):
            if packet.dts is not None:
                step = int(Fraction(shift, 25) / packet.time_base)
                packet.stream, packet.pts, packet.dts = copy, packet.pts - step, packet.dts - step
                out.mux(packet)
    return target


def test_an_edit_list_that_hides_the_first_frames_is_no_damage(tmp_path):
    """What cutting without encoding leaves: frames that are there to be decoded and not shown."""
    whole = make_video(tmp_path / "whole.mp4", marked(40), options={"bf": "2", "b_strategy": "0"})
    path = remuxed(whole, tmp_path / "cut.mp4", 10, {"avoid_negative_ts": "disabled"})
    assert which(decode_video(Source(path)).frames) == list(range(10, 40))
    silent = tmp_path / "silent.mp4"
    strip_audio(Source(path), silent)
    assert which(decode_video(Source(silent)).frames) == list(range(10, 40))


@pytest.mark.parametrize("name", ["v.avi", "v.mkv", "v.webm"])
def test_other_truncated_containers_are_decode_errors(tmp_path, name):
    codec = {"v.avi": "mpeg4", "v.mkv": "libx264", "v.webm": "libvpx-vp9"}[name]
    path = make_video(tmp_path / name, marked(50), codec=codec)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 6 // 10])
    with pytest.raises(Unscorable, match=rf"decode_error: {name}: (truncated|Invalid data)"):
        decode_video(Source(path))


def test_a_picture_size_that_changes_is_a_decode_error(tmp_path):
    small, large = (make_video(tmp_path / f"{w}.h264", marked(5, w, 48)) for w in (64, 128))
    path = tmp_path / "both.h264"
    path.write_bytes(small.read_bytes() + large.read_bytes())
    with pytest.raises(Unscorable, match="size changes from 64x48 to 128x48"):
        decode_video(Source(path))


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_the_display_matrix_is_applied(tmp_path, turns):
    frames = gradient(64, 48)
    path = make_video(tmp_path / "v.mp4", frames, quarter_turns=turns)
    got = decode_video(Source(path)).frames
    upright = np.stack([np.rot90(f, turns) for f in frames])
    assert got.shape == upright.shape
    assert np.abs(got.astype(int) - upright).mean() < 4
    facts = probe(path)
    assert (facts.height, facts.width) == upright.shape[1:3]


def test_a_mirrored_video_is_mirrored_back(tmp_path):
    frames = gradient(64, 48)
    path = make_video(tmp_path / "v.mp4", frames, quarter_turns=1)
    data = bytearray(path.read_bytes())
    matrix = data.index(b"tkhd") + 4 + 40  # version 0: the matrix follows 40 bytes of other fields
    one = 1 << 16
    values = [-one, 0, 0, 0, one, 0, 64 << 16, 0, 1 << 30]
    data[matrix : matrix + 36] = b"".join(v.to_bytes(4, "big", signed=True) for v in values)
    path.write_bytes(data)
    got = decode_video(Source(path)).frames
    assert np.abs(got.astype(int) - frames[:, :, ::-1]).mean() < 4


def test_a_still_video_has_one_frame(tmp_path):
    path = make_video(tmp_path / "v.mp4", marked(1))
    video = decode_video(Source(path))
    assert video.frames.shape == (1, 48, 64, 3)
    assert not video.fps_converted
    assert Media(Source(path), None, "x").n_frames == 1


def test_one_frame_of_two_seconds_fills_fifty_grid_frames(tmp_path):
    times = [Fraction(0), Fraction(2)]
    path = make_video(tmp_path / "v.mp4", marked(2), times=times, time_base=Fraction(1, 25))
    assert which(decode_video(Source(path)).frames) == [0] * 50 + [1]


def test_frames_are_counted_from_the_first_one_however_late_it_comes(tmp_path):
    path = make_video(tmp_path / "v.mp4", marked(10), video_start=Fraction(8, 25))
    assert which(decode_video(Source(path)).frames) == list(range(10))


def test_audio_longer_than_video_adds_no_frames(tmp_path):
    path = make_video(tmp_path / "v.mp4", marked(25), audio=tone(3, 16000)[None])
    assert count_frames(Source(path)) == 25


def test_cutting_by_time_stamps_is_exact_after_a_seek_too(tmp_path):
    path = make_video(tmp_path / "v.mp4", marked(100), options={"g": "12", "bf": "2", "b_strategy": "0"})
    for start, end, expected in [
        (0.0, 1.0, range(25)),
        (0.4, 0.8, range(10, 20)),
        (2.0, 3.0, range(50, 75)),
        (3.16, 3.28, range(79, 82)),
        (1.5, 1.6, range(37, 40)),  # half a frame into frame 37: three grid frames
        (3.6, None, range(90, 100)),
        (None, 0.2, range(5)),
        (3.8, 99.0, range(95, 100)),
    ]:
        video = decode_video(Source(path, start, end))
        assert which(video.frames) == list(expected), (start, end)
        assert not video.fps_converted


def test_cutting_an_ntsc_video_shows_what_is_on_at_each_time(tmp_path):
    path = make_video(tmp_path / "v.mp4", marked(90), NTSC, options={"g": "15"})
    times = [float(i / NTSC) for i in range(90)]
    start, end = 1.7, 2.5
    expected = [max(i for i, t in enumerate(times) if t < start + (k + 0.5) / 25 - 1e-9) for k in range(20)]
    assert which(decode_video(Source(path, start, end)).frames) == expected


def test_a_part_beyond_the_end_is_too_short(tmp_path):
    path = make_video(tmp_path / "v.mp4", marked(25))
    with pytest.raises(Unscorable) as caught:
        decode_video(Source(path, 5.0, 6.0))
    assert caught.value.kind == "too_short"


def test_crop_takes_a_rectangle_of_the_upright_picture(tmp_path):
    path = make_video(tmp_path / "v.mp4", gradient(64, 48))
    whole = decode_video(Source(path)).frames
    np.testing.assert_array_equal(decode_video(Source(path, crop=(10, 5, 20, 31))).frames, whole[:, 5:36, 10:30])
    with pytest.raises(Unscorable, match="outside the picture of 64x48"):
        decode_video(Source(path, crop=(50, 0, 20, 20)))


def test_chunks_join_to_the_whole(tmp_path):
    path = make_video(tmp_path / "v.mp4", marked(30), NTSC)
    whole = decode_video(Source(path)).frames
    chunks = list(iter_video(Source(path), chunk_bytes=7 * 64 * 48 * 3))
    assert [len(c) for c in chunks[:-1]] == [7] * (len(chunks) - 1)
    np.testing.assert_array_equal(np.concatenate(chunks), whole)


def test_4k_is_decoded_in_bounded_memory(tmp_path):
    black = np.broadcast_to(np.zeros((1, 1, 1, 3), np.uint8), (25, 2160, 3840, 3))
    path = make_video(tmp_path / "v.mp4", black, options={"preset": "ultrafast"})
    # The peak that getrusage tells is inherited from the parent process: sample the present size instead.
    script = (
        "import re, sys\n"
        "from pathlib import Path\n"
        "import bench.media as m\n"
        "size = lambda: int(re.search(r'VmRSS:\\s+(\\d+)', Path('/proc/self/status').read_text())[1]) // 1024\n"
        "start = size()\n"
        "media = m.Media(m.Source(Path(sys.argv[1])), None, 'x')\n"
        "chunks = [(len(chunk), size() - start) for _, chunk in media.frame_chunks()]\n"
        "print(*[n for n, _ in chunks], max(mib for _, mib in chunks))\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=True)
    *sizes, grown_mib = map(int, done.stdout.split())
    assert sizes == [5] * 5
    assert grown_mib < 450  # two chunks of 128 MiB and the decoder's; the clip itself has 590 MiB
    assert count_frames(Source(path)) == 25


def test_a_small_clip_is_decoded_once_and_shared(tmp_path):
    path = make_video(tmp_path / "v.mp4", marked(30), audio=tone(1.2, 16000)[None])
    media = Media(Source(path), Source(path), "x")
    frames = media.frames
    path.unlink()
    assert media.frames is frames
    assert [(first, chunk is frames) for first, chunk in media.frame_chunks()] == [(0, True)]
    assert (media.n_frames, media.fps_converted) == (30, False)
    assert not frames.flags.writeable
    with pytest.raises(Unscorable):
        media.audio()  # was not asked for while the file was there


def test_a_large_clip_gives_the_same_frames_piecewise(tmp_path, monkeypatch):
    path = make_video(tmp_path / "v.mp4", marked(30), NTSC)
    small = Media(Source(path), None, "x")
    monkeypatch.setattr("bench.media.item.CACHE_BYTES", 64 * 48 * 3 * 10)
    large = Media(Source(path), None, "x")
    chunks = list(large.frame_chunks(chunk_bytes=64 * 48 * 3 * 4))
    assert [first for first, _ in chunks] == list(range(0, 4 * len(chunks), 4))
    np.testing.assert_array_equal(np.concatenate([c for _, c in chunks]), small.frames)
    np.testing.assert_array_equal(large.frames, small.frames)
    assert (large.n_frames, large.fps_converted) == (small.n_frames, small.fps_converted) == (26, True)


@pytest.mark.parametrize(
    ("name", "content"), [("zero.mp4", b""), ("garbage.mp4", bytes(range(256)) * 40), ("text.mp4", b"hello\n" * 100)]
)
def test_files_that_are_no_media_are_decode_errors_by_name(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content)
    for read in (decode_video, count_frames, lambda s: probe(s.path)):
        with pytest.raises(Unscorable) as caught:
            read(Source(path))
        assert caught.value.kind == "decode_error"
        assert caught.value.detail.startswith(f"{name}: ")
        assert str(tmp_path) not in caught.value.detail
        assert "Traceback" not in caught.value.detail


def test_missing_files_and_folders_are_decode_errors(tmp_path):
    for path in (tmp_path / "none.mp4", tmp_path):
        with pytest.raises(Unscorable) as caught:
            decode_video(Source(path))
        assert caught.value.kind == "decode_error"


@pytest.mark.parametrize("faststart", [False, True])
@pytest.mark.parametrize("share", [0.5, 0.9, 0.999])
def test_a_truncated_mp4_is_a_decode_error(tmp_path, faststart, share):
    options = {"movflags": "+faststart"} if faststart else {}
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (50, 48, 64, 3), dtype=np.uint8)
    path = make_video(tmp_path / "v.mp4", noise, container_options=options)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    for read in (decode_video, count_frames):
        with pytest.raises(Unscorable) as caught:
            read(Source(path))
        assert caught.value.kind == "decode_error"
        assert "v.mp4" in caught.value.detail


def test_a_cut_inside_the_whole_part_of_a_truncated_file_can_be_read(tmp_path):
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (50, 48, 64, 3), dtype=np.uint8)
    path = make_video(tmp_path / "v.mp4", noise, container_options={"movflags": "+faststart"})
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 3 // 4])
    assert len(decode_video(Source(path, 0.2, 0.6)).frames) == 10
    for start, end in [(0.2, None), (0.2, 1.9), (1.2, 1.9), (1.2, None)]:
        with pytest.raises(Unscorable, match=r"decode_error: v\.mp4: "):
            decode_video(Source(path, start, end))


def test_a_header_without_a_frame_is_a_decode_error(tmp_path):
    path = make_video(tmp_path / "v.mkv", marked(10))
    data = path.read_bytes()
    path.write_bytes(data[: data.index(bytes.fromhex("1f43b675"))])  # up to the first cluster
    for read in (decode_video, count_frames, lambda s: probe(s.path)):
        with pytest.raises(Unscorable, match=r"decode_error: v\.mkv: "):
            read(Source(path))


def test_a_cut_whose_key_frame_is_far_ahead_is_exact(tmp_path):
    path = make_video(tmp_path / "v.mp4", marked(200), options={"g": "1000", "bf": "3", "b_strategy": "0"})
    assert which(decode_video(Source(path, 7.0, 7.2)).frames) == list(range(175, 180))


def test_time_stamps_an_hour_apart_are_a_decode_error(tmp_path):
    path = make_video(tmp_path / "v.mkv", marked(2), times=[Fraction(0), Fraction(4000)], time_base=Fraction(1, 1000))
    with pytest.raises(Unscorable, match="4000 s between two frames"):
        decode_video(Source(path))


def test_a_single_frame_that_lasts_is_repeated(tmp_path):
    path = make_video(tmp_path / "v.mp4", marked(1), Fraction(1, 2))
    video = decode_video(Source(path))
    assert which(video.frames) == [0] * 50
    assert video.fps_converted


def test_a_file_without_pictures_is_no_video_stream(tmp_path):
    path = make_video(tmp_path / "a.mp4", None, audio=tone(1, 16000)[None])
    with pytest.raises(Unscorable) as caught:
        decode_video(Source(path))
    assert caught.value.kind == "no_video_stream"
