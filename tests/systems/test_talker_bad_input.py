"""Bad texts, voices and pictures for ``talker``: each gets an output or a typed failure, the rest its output."""

from __future__ import annotations

import pickle
import wave
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hier_small import voice
from safetensors.torch import save_file
from talker_small import HOP, Detector, asked, film, loaded, own_weights, pictures, sound
from test_hier_bad_input import at_rate, clip, leaving, no_picture, of, portrait, ran, tone
from test_hier_bad_input import film as filmed

from bench import cli, media, registry
from bench.api import Audio, Failure
from bench.systems.talker.system import Talker
from bench.systems.talker.text import Characters, pieces

pytest.importorskip("dlib")
PLUGIN = Path(__file__).with_name("small_talker.py")
TEXT = "bin blue at a one now"
PATCHES = 2  # of a piece of text, by the settings of the small system


@pytest.fixture(autouse=True)
def _own_world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("BENCH_DATA", "BENCH_OUT", "BENCH_PLUGIN", "BENCH_LIMIT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(registry, "_trial", {group: dict(known) for group, known in registry._trial.items()})
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def kinds(root: Path, task: str, *more: str, system: str = "small-talker") -> dict[str, str]:
    """``ok``, or the kind of failure, by the file's name."""
    return {name.split("/")[1]: kind for name, kind in ran(root, system, task, *more, plugin=PLUGIN).items()}


# ------------------------------------------------------------------------------------------- through `bench run`

#: name: (text, kind)
TEXTS = {
    "empty": ("", "empty_reference"),
    "blanks": (" \n ", "empty_reference"),
    "marks": ("?! … ()", "empty_reference"),
    "cyrillic": ("Привет, мир.", "empty_reference"),
    "chinese": ("你好，世界。", "empty_reference"),
    "emoji": ("🙂", "empty_reference"),
    "digits": ("1234567890", "ok"),
    "symbols": ("50% & $7.20 @ 3:45", "ok"),
    "two-scripts": ("place Привет red", "ok"),
    "accents": ("Père Noël naïve", "ok"),
    "right-to-left": ("red \u202eשלום\u202c blue", "ok"),
    "control": ("bin\x01 blue\u200b", "ok"),
    "good": (TEXT, "ok"),
}
LONG_TEXTS = {
    "5000-characters": ("Place red at nine again. " * 200, "ok"),
    "one-word-of-5000": ("a" * 5000, "ok"),
    "5000-digits": ("7" * 5000, "ok"),
    "good": (TEXT, "ok"),
}


#: Of the tasks that make a video, or follow one; ``tts`` gets all.
FEW = ("empty", "cyrillic", "digits", "two-scripts", "good")


@pytest.mark.parametrize("task", ["t2av", "tts", "dub"])
def test_texts(tmp_path: Path, task: str) -> None:
    root = tmp_path / "tree"
    asked_for = {name: case for name, case in sorted(TEXTS.items()) if task == "tts" or name in FEW}
    for name, (text, _) in asked_for.items():
        clip(root / "ann" / f"{name}.mp4", filmed(size=(32, 32), frames=5), tone(0.2), text)
    assert kinds(root, task) == {name: kind for name, (_, kind) in asked_for.items()}


@pytest.mark.parametrize(
    ("task", "kind"),
    [
        pytest.param("tts", "ok", marks=pytest.mark.slow),
        pytest.param("t2av", "ok", marks=pytest.mark.slow),
        ("dub", "model_error"),
    ],
)
def test_long_texts(tmp_path: Path, task: str, kind: str) -> None:
    """Spoken piece by piece; but a video of a fraction of a second cannot say 5,000 characters."""
    root = tmp_path / "tree"
    for name, (text, _) in LONG_TEXTS.items():
        clip(root / "ann" / f"{name}.mp4", filmed(size=(32, 32), frames=5), tone(0.2), text)
    assert kinds(root, task) == {name: "ok" if name == "good" else kind for name in sorted(LONG_TEXTS)}


#: speaker: (seconds and gain of the reference, kind)
VOICES = {
    "short": (0.2, 0.3, "ok"),
    "clipped": (1.0, 9.0, "ok"),
    "silent": (1.0, 0.0, "silent_audio"),
    "click": (0.04, 0.3, "too_short"),  # 64 ms, since AAC fills its last block: one frame of speech
    "good": (1.0, 0.3, "ok"),
}


@pytest.mark.parametrize("prefix", ["0", "30"])
@pytest.mark.parametrize("task", [pytest.param("t2av", marks=pytest.mark.slow), "tts"])
def test_voices(tmp_path: Path, task: str, prefix: str) -> None:
    """Whatever the reference's length, the prefix is at most all of it."""
    root = tmp_path / "tree"
    for name, (seconds, gain, _) in VOICES.items():
        clip(root / name / "reference.mp4", filmed(size=(32, 32), frames=round(seconds * 25)), tone(seconds, gain))
        clip(root / name / "spoken.mp4", filmed(size=(32, 32), frames=8))
    found = ran(root, "small-talker", task, "--set", f"gt_prefix_seconds={prefix}", plugin=PLUGIN)
    assert {name: found[f"{name}/spoken"] for name in VOICES} == {name: kind for name, (*_, kind) in VOICES.items()}
    assert {found[f"{name}/reference"] for name in VOICES} == {"ok"}


#: name: (how it is written, kind where a face is looked for in the first frame; the whole picture does without)
VIDEOS: dict[str, tuple[Callable[[Path], None], str]] = {
    "good": (of(filmed((4, 4, 120))), "ok"),
    "no-face": (of(filmed()), "no_face"),
    "face-of-20-px": (of(filmed((60, 50, 20))), "no_face"),
    "30-fps": (at_rate(Fraction(30)), "ok"),
    "12.5-fps": (at_rate(Fraction(25, 2)), "ok"),
    "longer-sound": (of(filmed((4, 4, 120)), tone(0.8)), "ok"),
    "longer-video": (of(filmed((4, 4, 120), frames=20), tone(0.3)), "ok"),
    "no-frame": (no_picture, "missing_reference"),
    "161x123": (of(filmed((2, 2, 119), size=(123, 161))), "ok"),
    "wide": (of(filmed((4, 4, 120), size=(128, 1600), frames=4)), "ok"),
    "leaves": (of(leaving()), "ok"),
    "two-faces": (of(filmed((4, 4, 120), (130, 10, 100), size=(128, 240))), "ok"),
    "one-frame": (of(filmed((4, 4, 120), frames=1)), "ok"),
}


@pytest.mark.parametrize(
    ("task", "view"),
    [
        ("a2v", "whole"),
        ("vts", "face"),
        *(
            pytest.param(task, view, marks=pytest.mark.slow)
            for task, view in (("a2v", "face"), ("vts", "whole"), ("dub", "face"), ("t2av", "face"), ("t2av", "whole"))
        ),
    ],
)
def test_videos(tmp_path: Path, task: str, view: str) -> None:
    root = tmp_path / "tree"
    for name, (write, _) in VIDEOS.items():
        write(root / "ann" / f"{name}.mp4")
    found = kinds(root, task, "--set", f"view={view}", "--reference", "same")
    wanted = {name: kind for name, (_, kind) in sorted(VIDEOS.items())}
    if view == "whole":
        wanted = {name: "ok" if kind == "no_face" else kind for name, kind in wanted.items()}
    if task != "a2v":
        wanted["one-frame"] = "too_short"  # of voice: see above
    assert found == wanted


@pytest.mark.slow
@pytest.mark.parametrize("task", ["a2v", "vts", "dub", "t2av", "tts"])
def test_videos_in_tier_embedded(tmp_path: Path, task: str) -> None:
    root = tmp_path / "tree"
    for name, (write, _) in VIDEOS.items():
        write(root / "ann" / f"{name}.mp4")
    own = {**own_weights(tmp_path), "tier": "embedded", "steps": 1, "max_seconds": 0.3}
    given = [part for name, value in own.items() for part in ("--set", f"{name}={value}")]
    found = kinds(root, task, *given, "--reference", "same", system="talker")
    wanted = {name: kind for name, (_, kind) in sorted(VIDEOS.items())}
    if task == "tts":
        wanted = dict.fromkeys(wanted, "ok")
    assert found == wanted


def test_a_bad_motion_file_ends_before_any_work(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root, left = tmp_path / "tree", tmp_path / "was-run"
    clip(root / "ann" / "one.mp4", filmed(size=(32, 32), frames=5), tone(0.2))
    files = {"flat.pt": torch.zeros(40), "narrow.pt": torch.zeros(8, 3), "rows.pt": torch.zeros(1, 40)}
    for name, tensor in files.items():
        torch.save(tensor, tmp_path / name)
    (tmp_path / "evil.pt").write_bytes(pickle.dumps(_Touching(left)))
    (tmp_path / "noise.safetensors").write_bytes(b"\x00" * 100)
    command = ["run", "-q", "-s", "small-talker", "--plugin", str(PLUGIN), "--dataset", "folder"]
    command += ["--data-root", str(root), "--task", "t2av", "--workers", "0", "--metrics", "duration"]
    for name in (*files, "evil.pt", "noise.safetensors", "none.pt"):
        path = tmp_path / name
        code = cli.invoke([*command, "--out", str(tmp_path / "store"), "--set", f"motion_file={path}"])
        said = capsys.readouterr()
        assert code == 2, name
        assert "motion_file" in said.out + said.err, name
        assert "Traceback" not in said.out + said.err
    assert not left.exists()


class _Touching:
    """Would leave a file behind, if it were unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (Path.touch, (self.path,))


# ------------------------------------------------------------------------------------------- the system directly


@pytest.fixture(scope="module")
def system() -> Talker:
    return loaded(gt_prefix_seconds=0)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("talker-bad")
    film(folder, 10)
    voice(folder, 1.0)
    return folder


def wav(path: Path, rate: int, seconds: float, channels: int = 1) -> Path:
    """16 bits, one buzz in all channels."""
    times = np.arange(round(rate * seconds)) / rate
    one = (8000 * np.sign(np.sin(2 * np.pi * 140 * times))).astype("<i2")
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(np.repeat(one[:, None], channels, 1).tobytes())
    return path


@pytest.mark.parametrize("tier", ["canonical", "embedded"])
def test_sound_of_any_rate_and_length(world: Path, tmp_path: Path, tier: str) -> None:
    system = loaded() if tier == "canonical" else _embedded(tmp_path)
    hop = HOP if tier == "canonical" else 640
    for rate, seconds, channels in ((8000, 0.2, 1), (11_025, 0.05, 1), (44_100, 0.3, 2), (48_000, 1.0, 6)):
        path = wav(tmp_path / f"{rate}.wav", rate, seconds, channels)
        shown, *voiced = system.generate(
            [
                asked("a2v", audio=path, identity=world / "film.mp4"),
                asked("tts", text=TEXT, voice=path),
                asked("t2av", text=TEXT, voice=path, identity=world / "film.mp4"),
                asked("dub", text=TEXT, voice=path, video=world / "film.mp4"),
            ]
        )
        assert len(pictures(shown)) == max(1, int(seconds * 25))
        if tier == "canonical" and seconds < 0.08:  # the speaker encoder has no two frames of it
            assert [result.kind for result in voiced if isinstance(result, Failure)] == ["too_short"] * 3
            continue
        spoken, both, dubbed = voiced
        assert len(sound(spoken)) % hop == 0
        assert len(pictures(both)) * hop == len(sound(both))
        assert len(sound(dubbed)) == 10 * hop
        assert np.isfinite(sound(spoken)).all()


@pytest.mark.parametrize("kind", ["silent", "clipped"])
def test_driving_sound_may_be_silent_or_clipped(system: Talker, world: Path, kind: str) -> None:
    path = voice(world, 0.5, gain={"silent": 0.0, "clipped": 9.0}[kind], name=kind)
    (shown,) = system.generate([asked("a2v", audio=path, identity=world / "film.mp4")])
    assert len(pictures(shown)) == 12


def test_sound_without_a_sample_or_with_nan_fails(system: Talker, world: Path, tmp_path: Path) -> None:
    wav(tmp_path / "none.wav", 16_000, 0.0)
    samples = np.full(8000, 0.1, np.float32)
    samples[100] = np.nan
    _write_float(tmp_path / "nan.wav", samples)
    for name, kind in (("none", {"too_short", "missing_reference"}), ("nan", {"nan"})):
        path = tmp_path / f"{name}.wav"
        shown, spoken, good = system.generate(
            [
                asked("a2v", audio=path, identity=world / "film.mp4"),
                asked("tts", text=TEXT, voice=path),
                asked("tts", text=TEXT, voice=world / "voice.wav"),
            ]
        )
        for result in (shown, spoken):
            assert isinstance(result, Failure), name
            assert result.kind in kind
        assert len(sound(good)) == 4 * PATCHES * HOP


def _write_float(path: Path, samples: np.ndarray) -> None:
    """A WAV of 32-bit floats, 16 kHz."""
    data = samples.astype("<f4").tobytes()
    head = b"WAVEfmt " + (16).to_bytes(4, "little") + (3).to_bytes(2, "little") + (1).to_bytes(2, "little")
    head += (16_000).to_bytes(4, "little") + (64_000).to_bytes(4, "little") + (4).to_bytes(2, "little")
    head += (32).to_bytes(2, "little") + b"data" + len(data).to_bytes(4, "little") + data
    path.write_bytes(b"RIFF" + len(head).to_bytes(4, "little") + head)


SIZES = [(1, 1), (1, 400), (400, 1), (3, 5), (33, 17), (40, 2000)]


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_portraits_of_any_size(system: Talker, world: Path, tmp_path: Path, size: tuple[int, int]) -> None:
    path = tmp_path / "face.png"
    media.write_png(path, np.full((*size, 3), 90, np.uint8))
    both, shown, good = system.generate(
        [
            asked("t2av", text=TEXT, voice=world / "voice.wav", identity=path),
            asked("a2v", audio=world / "voice.wav", identity=path),
            asked("tts", text=TEXT, voice=world / "voice.wav"),
        ]
    )
    assert pictures(both).shape == (4 * PATCHES, *size, 3)  # brought back to the portrait's size
    assert pictures(shown).shape == (25, *size, 3)
    assert len(sound(good))


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_portraits_of_any_size_where_a_face_is_looked_for(
    world: Path, tmp_path: Path, size: tuple[int, int], embedded_with_dlib: Talker
) -> None:
    path = tmp_path / "face.png"
    media.write_png(path, np.full((*size, 3), 90, np.uint8))
    shown, good = embedded_with_dlib.generate(
        [
            asked("a2v", audio=world / "voice.wav", identity=path),
            asked("tts", text=TEXT, voice=world / "voice.wav"),
        ]
    )
    assert isinstance(shown, Failure)
    assert shown.kind == "no_face"
    assert len(sound(good))


@pytest.fixture(scope="module")
def embedded_with_dlib(tmp_path_factory: pytest.TempPathFactory) -> Talker:
    return _embedded(tmp_path_factory.mktemp("weights"), detect=False)


def _embedded(folder: Path, detect: bool = True) -> Talker:
    own = own_weights(folder)
    system = Talker({"tier": "embedded", **own, "steps": 1, "max_seconds": 0.3}, detect=Detector() if detect else None)
    system.load("cpu", "float32")
    return system


def test_a_face_at_the_edge_is_pasted_into_its_picture(world: Path, tmp_path: Path, embedded_with_dlib: Talker) -> None:
    path = tmp_path / "edge.png"
    picture = filmed((0, 0, 120), size=(121, 301), frames=1)[0]
    picture[:120, :120] = portrait(120)
    media.write_png(path, picture)
    (shown,) = embedded_with_dlib.generate([asked("a2v", audio=world / "voice.wav", identity=path)])
    made = pictures(shown)
    assert made.shape == (25, 121, 301, 3)
    np.testing.assert_array_equal(made[:, :, 250:], np.broadcast_to(picture[:, 250:], (25, 121, 51, 3)))


@pytest.mark.parametrize("seconds", [0.2, 0.5, 30.0])
def test_a_prefix_longer_than_a_short_reference(world: Path, tmp_path: Path, seconds: float) -> None:
    """0.2 s of voice, three frames of face: no whole patch, or just one."""
    film(tmp_path, 3, "brief")
    path = wav(tmp_path / "brief.wav", 16_000, 0.2)
    for keep in (False, True):
        system = loaded(gt_prefix_seconds=seconds, keep_prefix=keep)
        both, spoken, good = system.generate(
            [
                asked("t2av", text=TEXT, voice=path, identity=tmp_path / "brief.mp4"),
                asked("tts", text=TEXT, voice=path),
                asked("tts", text=TEXT, voice=world / "voice.wav"),
            ]
        )
        assert len(pictures(both)) * HOP == len(sound(both))
        for result in (both, spoken, good):
            frames = len(sound(result)) // HOP
            assert frames == 4 * PATCHES if not keep else frames >= 4 * PATCHES


def test_nothing_is_given(system: Talker, world: Path) -> None:
    tasks = ("t2av", "tts", "a2v", "vts", "dub")
    *bad, good = system.generate([*(asked(task) for task in tasks), asked("tts", text=TEXT, voice=world / "voice.wav")])
    for task, result in zip(tasks, bad, strict=True):
        assert isinstance(result, Failure), task
        assert result.kind in {"missing_reference", "empty_reference"}
        assert result.detail
    assert len(sound(good)) == 4 * PATCHES * HOP


def test_broken_files_fail_alone(system: Talker, world: Path, tmp_path: Path) -> None:
    for name in ("broken.mp4", "broken.png", "broken.wav"):
        (tmp_path / name).write_bytes(b"nothing of the kind")
    gone = tmp_path / "gone.mp4"
    good = {"voice": world / "voice.wav", "text": TEXT}
    *bad, last = system.generate(
        [
            asked("a2v", audio=world / "voice.wav", identity=tmp_path / "broken.png"),
            asked("a2v", audio=world / "voice.wav", identity=tmp_path / "broken.mp4"),
            asked("a2v", audio=tmp_path / "broken.wav", identity=world / "film.mp4"),
            asked("a2v", audio=world / "voice.wav", identity=gone),
            asked("vts", video=tmp_path / "broken.mp4", voice=world / "voice.wav"),
            asked("t2av", **good, identity=tmp_path / "broken.mp4"),
            asked("tts", **good),
        ]
    )
    assert all(isinstance(result, Failure) and result.detail for result in bad)
    assert len(sound(last)) == 4 * PATCHES * HOP


def test_a_motion_file_needs_no_motion_in_the_video(world: Path, tmp_path: Path) -> None:
    save_file({"motion": torch.zeros(4, 16)}, tmp_path / "m.safetensors")
    system = loaded(motion_file=str(tmp_path / "m.safetensors"), gt_prefix_seconds=5)
    media.write_png(tmp_path / "face.png", np.full((9, 7, 3), 90, np.uint8))
    (both,) = system.generate([asked("t2av", text=TEXT, voice=world / "voice.wav", identity=tmp_path / "face.png")])
    assert len(pictures(both)) * HOP == len(sound(both))


# ------------------------------------------------------------------------------------------------------ its rules


@pytest.mark.parametrize(
    "text",
    ["7" * 5000, "a" * 5000, "Place red at nine again. " * 200, "1,234,567.89 " * 300, "é" * 5000, "red\n" * 1000],
    ids=["digits", "letters", "sentences", "numbers", "accents", "lines"],
)
def test_no_piece_is_longer_than_the_model_has_learned(text: str) -> None:
    """In letters that are spoken; and what is spoken of all pieces is what is spoken of the text."""
    table = Characters()
    parts = pieces(text, table, 40)
    assert max(len(table.speakable(part)) for part in parts) <= 40
    assert "".join(" ".join(map(table.speakable, parts)).split()) == "".join(table.speakable(text).split())


def test_long_text_needs_no_more_memory_than_its_pieces(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The longest row that the loop is asked for is that of one piece."""
    system = loaded(gt_prefix_seconds=0, longest_text=20)
    pipeline = system._pipeline
    assert pipeline is not None
    asked_for, follow, job = [], pipeline._follow, pipeline._job
    monkeypatch.setattr(pipeline, "_job", lambda work: asked_for.append(job(work)) or asked_for[-1])
    monkeypatch.setattr(pipeline, "_follow", follow)
    text = "Place red at nine. " * 12
    (made,) = system.generate([asked("tts", text=text, voice=world / "voice.wav")])
    assert len(asked_for) == 12
    assert max(one.length for one in asked_for) <= 1 + 22 + 2 * PATCHES
    assert len(sound(made)) == 12 * 4 * PATCHES * HOP


def test_audio_longer_than_its_frames_is_cut_and_shorter_is_filled(system: Talker, world: Path) -> None:
    requests = [asked("a2v", audio=world / "voice.wav", identity=world / "film.mp4", n_frames=n) for n in (1, 7, 40)]
    for request, made in zip(requests, system.generate(requests), strict=True):
        assert len(pictures(made)) == request.n_frames


def test_a_video_of_another_length_than_asked_for(system: Talker, world: Path) -> None:
    given = {"video": world / "film.mp4", "voice": world / "voice.wav"}
    requests = [asked("vts", **given, n_frames=n) for n in (1, 7, 40)]
    for request, made in zip(requests, system.generate(requests), strict=True):
        assert len(sound(made)) == (request.n_frames or 0) * HOP


def test_what_is_read_is_float_and_mono(tmp_path: Path) -> None:
    """The rule that the tests above stand on: channels are averaged, the rate stays."""
    found = media.decode_audio(media.Source(wav(tmp_path / "six.wav", 48_000, 0.1, 6)))
    assert isinstance(found, Audio)
    assert (found.samples.ndim, found.rate) == (1, 48_000)
