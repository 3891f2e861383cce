"""First process of a clip: AVI, pictures and sound as files, S3FD per frame, shots, tracks, crops (metrics.md 4.2).

``joonson/syncnet_python: run_pipeline.py``. With weights by rule S3FD finds nothing: its network is run on every
frame, and the boxes come from dlib. The suppression of overlapping boxes, which such weights would
give thousands of, is left out: that spares this way time.
"""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import torch
from plain import FPS, answer, avi_frames, filled, frames_of, fresh_folder, job, pcm_of, write_jpegs
from scipy.interpolate import interp1d
from scipy.signal import medfilt

from bench.media import write_audio
from bench.metrics.lse.dlib_boxes import DlibBoxes
from bench.metrics.lse.s3fd_net import S3FD, _face_or_not, _rows
from bench.records import Audio

Q2 = {"qmin": "2", "qmax": "2"}
RATE_CONTROL = {"b": "200000", "bt": "4000000"}  # libavcodec's own defaults, which PyAV replaces in containers
MEAN = np.array([123.0, 117.0, 104.0], np.float32)  # RGB
CROP, MEDIAN, GREY, SIDE = 0.4, 13, 110, 224
MIN_SCENE, MIN_TRACK, MAX_GAP, MIN_FACE = 100, 100, 25, 100


class PlainS3fd(S3FD):
    """The network in the layout in which it was published."""

    def forward(self, x: torch.Tensor) -> Any:
        maps = self._maps(x)
        boxes = [_rows(head(m), 4) for head, m in zip(self.loc, maps, strict=True)]
        scores = [_rows(_face_or_not(head(m)), 2) for head, m in zip(self.conf, maps, strict=True)]
        return torch.cat(boxes, 1), torch.softmax(torch.cat(scores, 1), dim=2)


def write_avi(clip: dict[str, Any], path: Path) -> None:
    """``ffmpeg -qscale:v 2 -async 1 -r 25 video.avi``."""
    with av.open(str(path), "w") as container:
        frames, pcm = frames_of(clip["video"]), pcm_of(clip["audio"])
        video: Any = container.add_stream("mpeg4", rate=FPS, options={**Q2, **RATE_CONTROL})
        video.height, video.width, video.pix_fmt = frames.shape[1], frames.shape[2], "yuv420p"
        video.codec_context.thread_count = 1
        sound: Any = container.add_stream("libmp3lame", rate=16_000, layout="mono")
        for number, picture in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture[:, :, ::-1]), format="bgr24")
            frame = frame.reformat(format="yuv420p", interpolation="BICUBIC", threads=1)
            frame.pts, frame.time_base = number, Fraction(1, FPS)
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        for start in range(0, len(pcm), 1152):
            block = (pcm[None, start : start + 1152] / 32768.0).astype(np.float32)
            part = av.AudioFrame.from_ndarray(block, format="fltp", layout="mono")
            part.sample_rate, part.pts, part.time_base = 16_000, start, Fraction(1, 16_000)
            container.mux(sound.encode(part))
        container.mux(sound.encode(None))


def avi_sound(path: Path) -> Any:
    """``ffmpeg -ac 1 -vn -acodec pcm_s16le -ar 16000``."""
    resampler = av.AudioResampler(format="s16", layout="mono", rate=16_000)
    blocks: list[Any] = []
    with av.open(str(path)) as container:
        for frame in container.decode(audio=0):
            blocks += [block.to_ndarray()[0] for block in resampler.resample(frame)]
    return np.concatenate(blocks)


def detect(net: Any, jpegs: list[Path]) -> list[Any]:
    """Boxes of every frame: the network on one picture after the other, and dlib's answer."""
    stand_in = DlibBoxes()
    found = []
    for path in jpegs:
        image = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
        small = cv2.resize(image, (0, 0), fx=0.25, fy=0.25, interpolation=cv2.INTER_LINEAR).astype(np.float32) - MEAN
        with torch.no_grad():
            _, scores = net(torch.from_numpy(small.transpose(2, 0, 1)[None].copy()))
        if bool((scores[0, :, 1] > 0.9).any()):
            raise RuntimeError("a filled network is not expected to be sure")
        found.append([list(row[:4]) for row in stand_in(image[None])[0]])
    return found


def scenes(path: Path) -> list[tuple[int, int]]:
    """PySceneDetect's content detector on the AVI, for pictures less than 400 px wide."""
    cuts, before, number = [0], None, 0
    for number, frame in enumerate(avi_frames(path), 1):
        rgb = frame.reformat(format="rgb24", interpolation="BICUBIC", threads=1).to_ndarray()
        hsv = cv2.cvtColor(rgb, cv2.COLOR_RGB2HSV).astype(np.int32)
        if before is not None and np.abs(hsv - before).mean() >= 30 and (cuts[-1] == 0 or number - 1 - cuts[-1] >= 15):
            cuts.append(number - 1)
        before = hsv
    return [(a, b) for a, b in zip(cuts, [*cuts[1:], number], strict=True) if b - a >= MIN_SCENE]


def iou(a: Any, b: Any) -> float:
    width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    shared = width * height
    return shared / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared)


def track_shot(faces: list[tuple[int, list[Any]]]) -> list[dict[str, Any]]:
    """``track_shot`` of the source, its removal from a list while it is walked over included."""
    tracks = []
    while True:
        track: list[tuple[int, Any]] = []
        for number, boxes in faces:
            for box in boxes:
                if not track:
                    track.append((number, box))
                    boxes.remove(box)
                elif number - track[-1][0] <= MAX_GAP:
                    if iou(box, track[-1][1]) > 0.5:
                        track.append((number, box))
                        boxes.remove(box)
                else:
                    break
        if not track:
            return tracks
        if len(track) > MIN_TRACK:
            known = np.array([number for number, _ in track])
            every = np.arange(known[0], known[-1] + 1)
            corners = np.array([box for _, box in track])
            full = np.stack([interp1d(known, corners[:, k])(every) for k in range(4)], axis=1)
            if max(np.mean(full[:, 2] - full[:, 0]), np.mean(full[:, 3] - full[:, 1])) > MIN_FACE:
                tracks.append({"frames": every, "boxes": full})


def crop(track: dict[str, Any], jpegs: list[Path], sound: Any, name: Path) -> None:
    """The face as XVID AVI at 25 fps, and its sound."""
    x1, y1, x2, y2 = track["boxes"].T
    size = medfilt(np.maximum(y2 - y1, x2 - x1) / 2, MEDIAN)
    xs, ys = medfilt((x1 + x2) / 2, MEDIAN), medfilt((y1 + y2) / 2, MEDIAN)
    writer = cv2.VideoWriter(str(name.with_suffix(".avi")), cv2.VideoWriter.fourcc(*"XVID"), FPS, (SIDE, SIDE))
    for index, number in enumerate(track["frames"]):
        half = size[index]
        pad = int(half * (1 + 2 * CROP))
        image = cv2.imread(str(jpegs[number]))
        frame = np.pad(image, ((pad, pad), (pad, pad), (0, 0)), "constant", constant_values=(GREY, GREY))
        my, mx = ys[index] + pad, xs[index] + pad
        rows = slice(int(my - half), int(my + half * (1 + 2 * CROP)))
        columns = slice(int(mx - half * (1 + CROP)), int(mx + half * (1 + CROP)))
        writer.write(cv2.resize(frame[rows, columns], (SIDE, SIDE)))
    writer.release()
    first, end = int(track["frames"][0]), int(track["frames"][-1]) + 1
    part = sound[first * 640 : end * 640]
    write_audio(name.with_suffix(".wav"), Audio((part / 32768.0).astype(np.float32), 16_000))


def main() -> None:
    given = job()
    (clip,) = given["clips"]
    work = Path(given["work"])
    net = filled(given, PlainS3fd(), "sfd_face.pth")
    avi, pictures, crops = work / "video.avi", fresh_folder(work / "pyframes"), fresh_folder(work / "pycrop")
    write_avi(clip, avi)
    jpegs = write_jpegs(avi_frames(avi), pictures, Q2)
    sound = avi_sound(avi)
    write_audio(work / "audio.wav", Audio((sound / 32768.0).astype(np.float32), 16_000))
    faces = detect(net, jpegs)
    tracks = []
    for first, end in scenes(avi):
        tracks += track_shot([(number, faces[number]) for number in range(first, end)])
    for number, track in enumerate(tracks):
        crop(track, jpegs, sound, crops / f"{number:05d}")
    answer(tracks=len(tracks))


main()
