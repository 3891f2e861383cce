"""The one place where video and audio are decoded, resampled and encoded.

Everywhere: frames are uint8 RGB ``(T, H, W, 3)`` on the 25 fps grid; audio is float32 mono
``(N,)``. What cannot be read raises :class:`bench.api.Unscorable` with one of the failure kinds.
"""

from bench.media.encode import strip_audio, write_video
from bench.media.facts import Probe, file_sha256, probe
from bench.media.grid import fps_grid
from bench.media.item import Media
from bench.media.picture import read_png, write_png
from bench.media.resample import ResampleMethod, resample
from bench.media.sound import decode_audio, to_int16, write_audio
from bench.media.video import Video, count_frames, decode_video, iter_video
from bench.records import Audio, Source

__all__ = [
    "Audio",
    "Media",
    "Probe",
    "ResampleMethod",
    "Source",
    "Video",
    "count_frames",
    "decode_audio",
    "decode_video",
    "file_sha256",
    "fps_grid",
    "iter_video",
    "probe",
    "read_png",
    "resample",
    "strip_audio",
    "to_int16",
    "write_audio",
    "write_png",
    "write_video",
]
