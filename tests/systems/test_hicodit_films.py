"""The shipped ``hicodit`` on films that are not as it would like them, by ``bench run``: what fails, what is said.

The films are a clip of the demo corpus and what was done to it, so its words tell whether the lips were read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
import pytest
from hicodit_small import HOP, RATE, film
from numpy.typing import NDArray

from bench import cli, media
from bench.api import Audio, Clip, Source
from bench.datasets.demo.clip import MadeClip, make_clip
from bench.datasets.demo.sentences import plan_corpus
from bench.store import Store
from bench.systems.hicodit import weight_files
from bench.systems.hicodit.options import HiCoDiTOptions, manner_of
from bench.systems.hicodit.training.listen import Listener
from bench.systems.hicodit.windows import spans
from bench.weights import locate

for name in ("dlib", "pocketsphinx", "espeakng_loader"):
    pytest.importorskip(name)
pytestmark = pytest.mark.skipif(
    any(locate(file) is None for file in weight_files.EMBEDDED), reason="the small checkpoint is not shipped"
)

WORDS = "wer/pocketsphinx-grid@1"
SPOKEN = 6  # words of a sentence
Film = NDArray[np.uint8]


@dataclass(frozen=True)
class Heard:
    """What became of a film: the reason where it failed; else its words that are wrong, and its speech at 16 kHz."""

    kind: str
    wrong: float
    length: int | None
    speech: Path


class Place:
    """A folder data set, whose clips all say one sentence."""

    def __init__(self, root: Path, sentence: str, samples: NDArray[np.float32]) -> None:
        self.root, self._sentence, self._samples = root / "tree", sentence, samples
        self.root.mkdir()

    def add(self, name: str, frames: Film, fps: int = 25) -> Path:
        """A film with the sound beside it, as long as itself."""
        length = round(len(frames) / fps * RATE)
        path = film(self.root / f"{name}.mp4", np.ascontiguousarray(frames), fps)
        return self.sounding(path, np.resize(self._samples, length))

    def sounding(self, path: Path, samples: NDArray[np.float32]) -> Path:
        """Text and sound for a film that is there."""
        media.write_audio(path.with_suffix(".wav"), Audio(samples, RATE))
        path.with_suffix(".txt").write_text(self._sentence + "\n", encoding="utf-8")
        return path

    def run(self) -> Mapping[str, Heard]:
        """What ``bench run`` makes of each."""
        out = self.root.parent / "store"
        command = ["run", "-q", "-s", "hicodit", "--dataset", "folder", "--data-root", str(self.root), "--task", "vts"]
        command += ["--set", "hicodit.tier=embedded", "--workers", "0", "--out", str(out)]
        assert cli.invoke([*command, "--metrics", WORDS]) == 0
        with Store.open(out, write=False) as store:
            (run,) = store.runs(task="vts")
            rows = store.outputs(run.id)
            column = store.scores(run.id, WORDS)
            wrong = dict(zip(column.clip_ids, column.parts["edits"].tolist(), strict=True))
            return {
                name: Heard(row.kind or "ok", wrong[name], row.n_samples, out / str(row.audio))
                for name, row in rows.items()
            }


def talking() -> MadeClip:
    """The first clip of split ``test``: 75 frames."""
    return make_clip(plan_corpus()["test"][0])


def in_place(root: Path, made: MadeClip) -> Place:
    return Place(root, " ".join(made.sidecar["words"].tolist()), made.samples)


@pytest.fixture(autouse=True)
def _own_world(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("BENCH_DATA", "BENCH_OUT", "BENCH_PLUGIN", "BENCH_LIMIT"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="module")
def heard(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Heard]:
    root = tmp_path_factory.mktemp("films")
    made = talking()
    place, frames = in_place(root, made), made.frames
    points = made.sidecar["landmarks"]  # (T, 68, 2)
    left, top = points[:, 48:].min(axis=(0, 1)).astype(int) - 5
    right, bottom = points[:, 48:].max(axis=(0, 1)).astype(int) + 5
    films = {name: frames.copy() for name in ("lost", "covered", "below")}
    films["lost"][30:36] = 127
    films["covered"][:, top:bottom, left:right] = 127
    films["below"][:, points[:, 36:48, 1].max().astype(int) + 5 :] = 127  # below the eyes
    films |= {
        "whole": frames,
        "grey": (frames @ np.array([0.299, 0.587, 0.114]))[..., None].repeat(3, -1).round().astype(np.uint8),
        "nobody": np.full((10, 224, 224, 3), 127, np.uint8),
        "brief": frames[20:28],
        "briefest": frames[20:27],
    }
    for name, pictures in films.items():
        place.add(name, pictures)
    place.add("fast", frames.repeat(2, axis=0), fps=50)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BENCH_CACHE", str(root / "cache"))
        return place.run()


@pytest.mark.parametrize("name", ["whole", "grey", "lost", "fast"])
def test_lips_are_read_in_colour_in_grey_through_gaps_and_at_other_rates(heard: Mapping[str, Heard], name: str) -> None:
    """Six words, of which another clip's lips would give one."""
    assert heard[name].kind == "ok"
    assert heard[name].wrong <= 2
    assert heard[name].length == 75 * HOP


@pytest.mark.parametrize(("name", "frames"), [("brief", 8), ("briefest", 7)])
def test_a_third_of_a_second_is_spoken(heard: Mapping[str, Heard], name: str, frames: int) -> None:
    assert (heard[name].kind, heard[name].length) == ("ok", frames * HOP)


@pytest.mark.parametrize("name", ["nobody", "below"])
def test_without_a_face_or_its_lower_half_there_is_nothing_to_read(heard: Mapping[str, Heard], name: str) -> None:
    assert (heard[name].kind, heard[name].length) == ("no_face", None)


def test_a_covered_mouth_in_a_face_gives_sound_without_the_words(heard: Mapping[str, Heard]) -> None:
    """Landmarks say where a mouth would be, not whether it is seen."""
    assert (heard["covered"].kind, heard["covered"].length) == ("ok", 75 * HOP)
    assert heard["covered"].wrong >= 5


@pytest.mark.slow
def test_a_minute_says_its_words_across_all_windows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    made, times = talking(), 20
    place = in_place(tmp_path, made)
    once = film(tmp_path / "once.mp4", made.frames)
    place.sounding(repeated(once, place.root / "minute.mp4", times), np.tile(made.samples, times))
    minute = place.run()["minute"]
    assert (minute.kind, minute.length) == ("ok", times * 75 * HOP)
    wave = media.decode_audio(Source(minute.speech)).samples
    wrong = [words_wrong(made, piece) for piece in wave.reshape(times, -1)]
    assert sum(wrong) <= 0.3 * SPOKEN * times, wrong
    jumps = np.abs(np.diff(wave))
    seams = [after * HOP for _, after in spans(times * 75, manner_of(HiCoDiTOptions(), "embedded"))[:-1]]
    assert len(seams) == 16
    assert max(jumps[at - 40 : at + 40].max() for at in seams) <= 2 * np.quantile(jumps, 0.999)


def repeated(source: Path, target: Path, times: int) -> Path:
    """A film so many times over, without encoding it again."""
    with av.open(str(target), "w") as made:
        stream, begin = None, 0
        for _ in range(times):
            with av.open(str(source)) as one:
                template = one.streams.video[0]
                stream = stream or made.add_stream_from_template(template)
                length = template.duration
                assert length is not None
                for packet in one.demux(template):
                    if packet.dts is None or packet.pts is None:
                        continue
                    packet.pts, packet.dts = packet.pts + begin, packet.dts + begin
                    packet.stream = stream
                    made.mux(packet)
                begin += length
    return target


def words_wrong(made: MadeClip, samples: NDArray[np.float32]) -> float:
    """Of the six of a sentence."""
    clip = Clip("piece", "demo", "test", None, None, " ".join(made.sidecar["words"].tolist()), "piece", 75)
    return float(Listener([clip]).scores(clip, samples, RATE)[WORDS].parts["edits"])
