"""Which media a clip's page shows: the reference's and each system's, playable by browsers, with their pictures.

Outputs are taken as the store has them (H.264 and 16-bit WAV, which browsers play); a silent video of a talking head
gets the sound that drove it. References are copied where a browser plays them whole, else cut and encoded.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from bench.api import Clip, Source, Unscorable
from bench.results.report import pictures
from bench.results.report.data_script import number, without_empty
from bench.results.report.private import clean_text
from bench.results.report.references import References
from bench.results.report.shelf import Shelf
from bench.results.table import Row
from bench.store_records import OutputRecord

Choice = Literal["copy", "link", "none"]
Medium = dict[str, Any]

NO_MEDIA = "This report was made without media (--media none)."
TYPES = {".mp4": "video/mp4", ".webm": "video/webm", ".wav": "audio/wav", ".mp3": "audio/mpeg", ".flac": "audio/flac"}
_FULL = "Left out: --max-media is used up by the clips before it."
_IMPORTED = "Its scores were imported: there is no output here."
_NO_FILE = "The run store has no file of this output."
_GONE = "The file is no longer in the run store."
_PLAYED = frozenset({"h264", "vp8", "vp9", "av1"})  # codecs of pictures that browsers play in mp4 or WebM
_SHOWN_CRF = 20  # x264's quality of references that had to be encoded; outputs are not encoded again


class Media:
    """Makes the media of one section's clips. ``shelf`` is ``None`` where the report has no media.

    ``root``: the store's folder, which the paths of outputs are relative to.
    """

    def __init__(self, shelf: Shelf | None, root: Path, references: References) -> None:
        self._shelf = shelf
        self._root = root
        self._references = references

    @property
    def no_media(self) -> str:
        """Why outputs have no media, for all of a section; empty where they have."""
        return NO_MEDIA if self._shelf is None else ""

    @property
    def no_reference(self) -> str:
        """The same of references, and of outputs of controls, which are made of them."""
        return self.no_media or self._references.absent

    def reference(self, clip_id: str) -> Medium | None:
        """The recording that a clip's outputs are held against; ``None``: the section says why there is none."""
        clip = self._references.clips.get(clip_id)
        if self._shelf is None or clip is None or not self._references.shareable:
            return None
        return _told(self._shelf, lambda shelf: self._reference(shelf, clip))

    def output(self, row: Row, output: OutputRecord) -> Medium:
        """What a system made of a clip; nothing in it where :attr:`no_media` or :attr:`no_reference` says why."""
        if self._shelf is None or output.status != "ok":
            return {}
        if not output.video and not output.audio:
            return {"absent": _IMPORTED if row.imported else _NO_FILE}
        if row.control and not self._references.shareable:
            return {"absent": "Made of recordings that may not be given to others."}
        return _told(self._shelf, lambda shelf: self._output(shelf, output))

    def _output(self, shelf: Shelf, output: OutputRecord) -> Medium:
        made: Medium = {"media_seconds": number(round(output.media_seconds, 3))}
        sha = output.sha256 or ""
        if output.video:
            path = self._root / output.video
            made |= self._video(shelf, path, sha, self._sound_of(output))
            made["poster"] = _picture(shelf, lambda: pictures.poster(Source(path)), "poster", sha)
        if output.audio:
            path = self._root / output.audio
            made |= {} if output.video else self._plain(shelf, path, sha)
            made |= _beside(shelf, Source(path), sha)
        return made

    def _sound_of(self, output: OutputRecord) -> tuple[Source, str] | None:
        """What is heard with a video, and its hash: made with it, or what drove it where that is known."""
        if output.audio:
            return Source(self._root / output.audio), output.sha256 or ""
        driver = self._references.drivers.get(output.clip_id)
        return None if driver is None or driver.audio is None else (driver.audio, driver.content_sha256)

    def _plain(self, shelf: Shelf, path: Path, sha: str) -> Medium:
        """A stored file as it is."""
        kind = TYPES.get(path.suffix.lower(), "")
        if not kind:
            return {"absent": f"Browsers do not play {path.suffix} files."}
        stream = kind.split("/")[0]
        return {stream: shelf.take(path, stream, sha), f"type_{stream}": kind}

    def _video(self, shelf: Shelf, path: Path, sha: str, sound: tuple[Source, str] | None) -> Medium:
        """A stored video with its sound in one file, so that a player needs no other to be in time with."""
        from bench.media.encode import add_audio

        if sound is None or path.suffix != ".mp4":
            return self._plain(shelf, path, sha)
        heard, key = sound
        name = shelf.make(".mp4", lambda target: add_audio(path, _heard(heard), target), "with sound", sha, key)
        return {"video": name, "type_video": TYPES[".mp4"]}

    def _reference(self, shelf: Shelf, clip: Clip) -> Medium:
        sha = clip.content_sha256
        made: Medium = {"media_seconds": number(round(clip.duration_s, 3)), "size": [clip.width, clip.height]}
        if clip.video is not None:
            video = clip.video
            made |= self._reference_video(shelf, video, clip.audio, sha)
            made["poster"] = _picture(shelf, lambda: pictures.poster(video), "reference poster", sha)
        elif clip.audio is not None:
            sound = clip.audio
            made["audio"] = shelf.make(".wav", lambda target: _write_sound(target, sound), "reference", sha)
            made["type_audio"] = TYPES[".wav"]
        if clip.audio is not None:
            made |= _beside(shelf, clip.audio, sha)
        return made

    @staticmethod
    def _reference_video(shelf: Shelf, video: Source, sound: Source | None, sha: str) -> Medium:
        from bench.media import iter_video, probe, write_video
        from bench.media.encode import add_audio

        whole = video.start is None and video.end is None and video.crop is None
        kind = TYPES.get(video.path.suffix.lower(), "")
        facts = probe(video.path)
        if whole and kind and facts.video_codec in _PLAYED and (sound is None or facts.has_audio):
            return {"video": shelf.take(video.path, "reference", sha), "type_video": kind}

        def write(target: Path) -> None:
            if whole and facts.video_codec == "h264" and sound is not None:
                add_audio(video.path, _heard(sound), target)
            else:
                write_video(target, iter_video(video), _SHOWN_CRF, _heard(sound) if sound is not None else None)

        return {"video": shelf.make(".mp4", write, "reference", sha), "type_video": TYPES[".mp4"]}


def _told(shelf: Shelf, make: Callable[[Shelf], Medium]) -> Medium:
    """What ``make`` makes; a file that cannot be read is told in the page, and does not cost the report."""
    try:
        made = make(shelf)
    except Unscorable as error:
        return {"absent": clean_text(f"Not readable: {error}")}
    except FileNotFoundError:
        return {"absent": _GONE}
    if shelf.full and not made.get("video") and not made.get("audio"):
        return {"absent": _FULL}
    return without_empty(made)


_AAC_RATES = frozenset({16_000, 22_050, 24_000, 32_000, 44_100, 48_000})


def _heard(source: Source) -> Any:
    """Sound of a rate that AAC has."""
    from bench.media import decode_audio, resample
    from bench.records import Audio

    audio = decode_audio(source)
    return audio if audio.rate in _AAC_RATES else Audio(resample(audio.samples, audio.rate, 48_000), 48_000)


def _write_sound(target: Path, source: Source) -> None:
    from bench.media import decode_audio, write_audio

    write_audio(target, decode_audio(source))


def _beside(shelf: Shelf, source: Source, sha: str) -> Medium:
    """Spectrogram, waveform and loudness of a sound."""
    from bench.media import decode_audio

    if shelf.full:
        return {}
    audio = decode_audio(source)
    return {
        "mel": _picture(shelf, lambda: pictures.spectrogram(audio), "mel", sha),
        "wave": _picture(shelf, lambda: pictures.waveform(audio), "wave", sha),
        "curves": {"loudness": pictures.loudness(audio)},
    }


def _picture(shelf: Shelf, draw: Callable[[], bytes], what: str, sha: str) -> str | None:
    return shelf.make(".webp", lambda target: _write(target, draw()), pictures.RECIPE, what, sha)


def _write(target: Path, data: bytes) -> None:
    target.write_bytes(data)
