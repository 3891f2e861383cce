"""The system ``hierspeech`` whole: rule-made weights stand for the official files."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hier_small import SEEDED, SMALL, frames, loaded, samples, tts, voice
from pydantic import ValidationError
from system_helpers import Made, make_clip

from bench import media
from bench.api import Audio, Failure, Request, Source
from bench.faces.boxes import Pads
from bench.faces.paste import crop, paste
from bench.faces.tracks import place
from bench.systems.hierspeech import weight_files
from bench.systems.hierspeech.cascade import say, style_of
from bench.systems.hierspeech.face import declare
from bench.systems.hierspeech.face.generator import TTVFace, TTVFaceSizes
from bench.systems.hierspeech.face.windows import window_indices
from bench.systems.hierspeech.long_text import joined, pieces_of, shortened
from bench.systems.hierspeech.options import HierSpeechOptions
from bench.systems.hierspeech.parts import Networks
from bench.systems.hierspeech.prompt import prompt_rows
from bench.systems.hierspeech.sequence import generator_noise
from bench.systems.hierspeech.system import HierSpeech
from bench.systems.hierspeech.text import tokens
from bench.systems.hierspeech.ttv import TTVSettings
from bench.systems.hierspeech.waveform import to_int16
from bench.weights_check import FOLDER

pytest.importorskip("espeakng_loader")
TEXT = "Place red at nine."
SHORT = "Bin red."
LONG = "Place red at nine. Set blue by one! Lay green in two, please."
BOX = (12.0, 6.0, 44.0, 40.0)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def system() -> HierSpeech:
    return loaded(silent="off")


@pytest.fixture
def reference(tmp_path: Path) -> Path:
    return voice(tmp_path)


class Detector:
    """One box in every frame."""

    looked = 0

    def __call__(self, pictures: np.ndarray) -> list[np.ndarray]:
        self.looked += len(pictures)
        return [np.array([(*BOX, 0.9)]) for _ in pictures]


def failure(result: object) -> Failure:
    assert isinstance(result, Failure), result
    return result


def noise_of(seed: int, number: int = 1) -> list[Any]:
    seeds = np.random.default_rng(seed).integers(0, 2**63 - 1, number)
    return [generator_noise(torch.Generator().manual_seed(int(one))) for one in seeds]


# --------------------------------------------------------------------------- speech


@pytest.mark.parametrize(
    ("norm", "rate", "ratio"),
    [("max", 16000, 0.0), pytest.param("prompt", 24000, 0.0, marks=pytest.mark.slow), ("max", 48000, 0.6)],
)
def test_it_is_the_cascade_step_by_step(reference: Path, norm: str, rate: int, ratio: float) -> None:
    made = loaded(scale_norm=norm, output_rate=rate, denoise_ratio=ratio, silent="off")
    result = made.generate([tts(reference)])[0]
    parts = Networks(SEEDED, SMALL, "cpu", "float32")
    audio = torch.from_numpy(media.decode_audio(Source(reference)).samples)[None]
    prompt = prompt_rows(audio, parts.denoiser.denoise if ratio else None)
    style = style_of(parts.ttv, parts.synthesizer, prompt.mel, ratio)
    settings = TTVSettings(max_token_frames=100)
    said = say(parts.ttv, parts.synthesizer, torch.tensor([tokens(TEXT).tokens]), style, noise_of(7)[0], settings)
    wave = said.wave if rate == 16000 else parts.finer(rate).enhance(said.wave)
    steps = to_int16(wave, prompt.peak if norm == "prompt" else 0.999)
    got = samples(result)
    assert result.audio.rate == rate  # type: ignore[union-attr]
    assert np.array_equal(got * 32768, steps)
    assert len(got) == said.w2v.shape[2] * rate // 50
    written = reference.with_name("out.wav")
    media.write_audio(written, Audio(got, rate))
    assert np.array_equal(media.decode_audio(Source(written)).samples * 32768, steps)


def test_folded_networks_without_training_parts_are_the_networks(system: HierSpeech) -> None:
    parts = Networks(SEEDED, SMALL, "cpu", "float32")
    names = set(parts.ttv.state_dict()) | set(parts.synthesizer.state_dict()) | set(parts.finer(24000).state_dict())
    assert not [name for name in names if name.endswith("weight_g") or name.split(".")[0] in {"enc_q", "mel_decoder"}]
    assert not [p for part in (parts.ttv, parts.synthesizer) for p in part.parameters() if p.requires_grad]


def test_neither_batch_nor_order_nor_what_came_before_matters(system: HierSpeech, tmp_path: Path) -> None:
    one, two = voice(tmp_path, name="one"), voice(tmp_path, 0.7, name="two")
    requests = [tts(one), tts(two, LONG, seed=8), tts(one, "Bin white now", seed=9), tts(one, seed=10)]
    together = [samples(result) for result in system.generate(requests)]
    backwards = [samples(result) for result in system.generate(requests[::-1])][::-1]
    for a, b in zip(together, backwards, strict=True):
        assert len(a) == len(b)
        assert np.abs(a - b).max() * 32768 <= 2
    alone = samples(loaded(silent="off").generate(requests[2:3])[0])
    assert np.abs(together[2] - alone).max() * 32768 <= 2
    assert len(together[0]) != len(together[3]) or np.abs(together[0] - together[3]).max() > 0.1  # the seed does


def test_voices_are_kept_by_their_content(tmp_path: Path) -> None:
    made = loaded(silent="off")
    first = samples(made.generate([tts(voice(tmp_path, name="a"), voice_key="x")])[0])
    other = voice(tmp_path, name="b")
    assert np.array_equal(first, samples(made.generate([tts(other, voice_key="x")])[0]))
    assert not np.array_equal(first, samples(made.generate([tts(other, voice_key="y")])[0]))
    assert not np.array_equal(first, samples(made.generate([tts(other, voice_key=None)])[0]))


def test_a_denoiser_is_built_only_where_it_counts(reference: Path) -> None:
    made = loaded(silent="off", tasks="tts", output_rate=24000)
    assert made.tasks == ("tts",)
    assert [w.name for w in made.weights] == [
        weight_files.TTV.name,
        weight_files.SYNTHESIZER.name,
        weight_files.SPEECHSR_24K.name,
    ]
    samples(made.generate([tts(reference)])[0])
    built = vars(made._networks)
    assert {"ttv", "synthesizer"} <= set(built)
    assert not {"denoiser", "mms", "face"} & set(built)


@pytest.mark.parametrize("batch", [1, pytest.param(2, marks=pytest.mark.slow), 4])
def test_long_text_is_its_pieces_one_after_the_other(reference: Path, batch: int) -> None:
    made = loaded(silent="off", longest_sentence=20, sentence_batch=batch)
    got = samples(made.generate([tts(reference, LONG)])[0])
    parts = Networks(SEEDED, SMALL, "cpu", "float32")
    pieces = pieces_of([LONG], 20)[0]
    assert isinstance(pieces, list)
    assert [piece.text for piece in pieces] == [TEXT, "Set blue by one!", "Lay green in two,", "please."]
    prompt = prompt_rows(torch.from_numpy(media.decode_audio(Source(reference)).samples)[None])
    style = style_of(parts.ttv, parts.synthesizer, prompt.mel)
    waves = [
        say(parts.ttv, parts.synthesizer, torch.tensor([piece.tokens]), style, noise, TTVSettings()).wave.flatten()
        for piece, noise in zip(pieces, noise_of(7, 4), strict=True)
    ]
    expected = to_int16(joined(waves, 80))
    assert len(got) == len(expected) == sum(len(wave) for wave in waves)
    assert np.abs(got * 32768 - expected).max() <= (0 if batch == 1 else 3)
    ends = np.cumsum([len(wave) for wave in waves])[:-1]
    assert np.abs(got[np.concatenate([ends - 1, ends])]).max() < 2e-3  # through zero


def test_joints_and_ends() -> None:
    ones = [torch.ones(50), torch.ones(30), torch.ones(3)]
    made = joined(ones, 10)
    assert made.shape == (83,)
    assert torch.equal(made[:40], torch.ones(40))
    assert made[49] < 0.01
    assert made[50] < 0.01
    assert torch.equal(made[60:70], torch.ones(10))
    assert made[-1] == 1
    assert torch.equal(ones[0], torch.ones(50))
    assert torch.equal(joined(ones[:1], 10), ones[0])
    cut = shortened(ones[0], 40, 10)
    assert cut.shape == (40,)
    assert cut[-1] < 0.01
    assert shortened(ones[0], 50, 10) is ones[0]


# --------------------------------------------------------------------------- bad input


@pytest.mark.parametrize("text", [None, "", "   \n", "!!! ??? …", "()[]", "\0\x07", "Привет, мир", "你好", "🙂", "— –"])
def test_text_with_nothing_to_speak(system: HierSpeech, reference: Path, text: str | None) -> None:
    results = system.generate([tts(reference), tts(reference, text)])
    assert len(samples(results[0]))
    assert failure(results[1]).kind == "empty_reference"


@pytest.mark.parametrize("text", ["1234567890", "3:45 50% $7.20 & more", "a", "Hello Привет", "naïve façade", "No\0w."])
def test_odd_text_is_spoken(system: HierSpeech, reference: Path, text: str) -> None:
    assert len(samples(system.generate([tts(reference, text)])[0])) >= 960


@pytest.mark.parametrize("text", ["word " * 1000, "x" * 5000])
@pytest.mark.slow
def test_five_thousand_characters(reference: Path, text: str) -> None:
    pieces = pieces_of([text], 300)[0]
    assert isinstance(pieces, list)
    assert len("".join(piece.text for piece in pieces).replace(" ", "")) == len(text.replace(" ", ""))
    assert max(len(piece.text) for piece in pieces) <= 300
    short = loaded(silent="off", length_scale=0.25, max_token_frames=1, sentence_batch=16)
    assert len(samples(short.generate([tts(reference, text)])[0])) == 320 * sum(len(p.tokens) for p in pieces)


def test_a_piece_without_sound_is_left_out(system: HierSpeech, reference: Path) -> None:
    whole, alone = system.generate([tts(reference, "Place red. Привет! "), tts(reference, "Place red.")])
    assert np.abs(samples(whole) - samples(alone)).max() * 32768 <= 2


def test_references(system: HierSpeech, tmp_path: Path) -> None:
    short, clipped = voice(tmp_path, 0.2, name="short"), voice(tmp_path, 1.0, 3.0, "clipped")
    results = system.generate(
        [
            tts(short),
            tts(clipped),
            tts(voice(tmp_path, 0.03, name="click")),
            tts(voice(tmp_path, 1.0, 0.0, "silent")),
            tts(None),
            tts(tmp_path / "absent.wav"),
            tts(short, seed=3),
        ]
    )
    for place_ in (0, 1, 6):
        assert np.isfinite(samples(results[place_])).all()
    assert [failure(results[i]).kind for i in (2, 3, 4)] == ["too_short", "silent_audio", "missing_reference"]
    assert failure(results[5]).kind in {"decode_error", "no_audio_stream"}


@pytest.mark.slow
def test_a_short_reference_may_be_repeated_and_a_long_one_is_cut(tmp_path: Path) -> None:
    short = voice(tmp_path, 0.5, name="short")
    plain, often = (loaded(silent="off", voice_repeats=n).generate([tts(short)])[0] for n in (1, 5))
    assert not np.array_equal(samples(plain), samples(often))
    long = media.decode_audio(Source(voice(tmp_path, 3.0, name="long"))).samples
    media.write_audio(tmp_path / "cut.wav", Audio(long[:16000], 16000))
    results = loaded(silent="off", voice_seconds=1).generate([tts(tmp_path / "long.wav"), tts(tmp_path / "cut.wav")])
    assert np.array_equal(samples(results[0]), samples(results[1]))


def test_weights_that_give_no_durations_fail_the_clip(reference: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = loaded(silent="off", tasks="tts")
    assert made._networks is not None
    monkeypatch.setattr(made._networks.ttv.dp, "sample", lambda x, mask, g, noise: mask * float("nan"))
    assert failure(made.generate([tts(reference)])[0]).kind == "model_error"


def test_another_task_is_refused(system: HierSpeech) -> None:
    assert failure(system.generate([Request("k", "vts", 0)])[0]).kind == "model_error"


# --------------------------------------------------------------------------- faces


def t2av(made: Made, reference: Path | None, text: str = SHORT, **changes: Any) -> Request:
    identity = made.clip.video.path if made.clip.video else None
    request = Request("k", "t2av", 7, text=text, voice=reference, identity=identity, identity_key="id")
    return replace(request, **changes)


@pytest.mark.parametrize("silent", ["generator", pytest.param("off", marks=pytest.mark.slow)])
def test_features_of_the_text_draw_the_face(tmp_path: Path, reference: Path, silent: str) -> None:
    clip = make_clip(tmp_path, "one", frames=9)
    made = loaded(Detector(), silent=silent, smooth=False, face="best", face_batch=7, output_rate=24000)
    result = made.generate([t2av(clip, reference)])[0]
    parts = Networks(SEEDED, SMALL, "cpu", "float32")
    prompt = prompt_rows(torch.from_numpy(media.decode_audio(Source(reference)).samples)[None])
    style = style_of(parts.ttv, parts.synthesizer, prompt.mel)
    said = say(parts.ttv, parts.synthesizer, torch.tensor([tokens(SHORT).tokens]), style, noise_of(7)[0])
    count = said.w2v.shape[2] // 2
    windows = said.w2v[0].T[window_indices(said.w2v.shape[2], 4)]  # (N, W, D)
    expected = plain_face(parts, media.decode_video(clip.clip.video).frames, windows, silent)  # type: ignore[arg-type]
    got = frames(result)
    assert got.shape == (count, 48, 64, 3)
    assert np.abs(got.astype(int) - expected).max() <= 1
    assert np.abs(got.astype(int) - expected).mean() < 0.02
    assert len(samples(result)) == count * 960


def plain_face(parts: Networks, video: np.ndarray, windows: torch.Tensor, silent: str) -> np.ndarray:
    """Frame by frame, in plain words."""
    box = place([np.array([(*BOX, 0.9)])], video.shape[1:3], Pads(), None, False).boxes[0]

    def seen(frame: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(crop(frame, box, 64)).permute(2, 0, 1)[None] / 255.0

    identity = seen(video[0])
    with torch.no_grad():
        if silent == "generator":
            identity = parts.silent_face.silenced(identity)
        out = []
        there = [*range(len(video)), *range(len(video) - 2, 0, -1)]
        for index, window in enumerate(windows):
            frame = video[there[index % len(there)]].copy()
            pose = seen(frame)
            pose[:, :, 32:] = 0
            face = parts.face(pose, identity, window[None])[0].permute(1, 2, 0)
            paste(frame, np.rint(face.numpy() * 255).astype(np.uint8), box, HierSpeechOptions().feather)
            out.append(frame)
    return np.stack(out)


def test_features_of_the_audio_draw_the_face(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    clip = make_clip(tmp_path, "one", frames=9)
    audio = clip.clip.audio.path if clip.clip.audio else None
    made = loaded(Detector(), silent="off", smooth=False, face="best")
    request = t2av(clip, None, task="a2v", text=None, audio=audio, n_frames=9)
    got, again = made.generate([request, replace(request, n_frames=None, seed=1)])
    parts = Networks(SEEDED, SMALL, "cpu", "float32")
    with torch.no_grad():
        features = parts.mms(torch.from_numpy(media.decode_audio(Source(audio)).samples)[None])[0].T[:18]  # type: ignore[arg-type]
    windows = features[window_indices(18, 4)]
    expected = plain_face(parts, media.decode_video(clip.clip.video).frames, windows, "off")  # type: ignore[arg-type]
    assert frames(got).shape == (9, 48, 64, 3)
    assert np.abs(frames(got).astype(int) - expected).max() <= 1
    assert np.array_equal(frames(got), frames(again))


def test_faces_and_identities_are_found_once(tmp_path: Path, reference: Path) -> None:
    clip = make_clip(tmp_path, "one", frames=9)
    detector = Detector()
    made = loaded(detector, silent="off")
    requests = [t2av(clip, reference), t2av(clip, reference, "Lay blue.", seed=2)]
    together = made.generate(requests)
    assert detector.looked == 9
    alone = loaded(Detector(), silent="off").generate(requests[1:])[0]
    assert np.abs(frames(together[1]).astype(int) - frames(alone)).max() <= 1
    assert np.abs(samples(together[1]) - samples(alone)).max() * 32768 <= 2
    assert (frames(together[0])[0] != media.decode_video(clip.clip.video).frames[0]).any()  # type: ignore[arg-type]


def test_inputs_of_faces_that_are_absent_or_broken(tmp_path: Path, reference: Path) -> None:
    clip = make_clip(tmp_path, "one", frames=5)
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(clip.clip.video.path.read_bytes()[:600])  # type: ignore[union-attr]
    made = loaded(Detector(), silent="off")
    request = t2av(clip, reference)
    results = made.generate(
        [
            replace(request, identity=None),
            replace(request, identity=broken, identity_key=None),
            replace(request, voice=None),
            replace(request, text=""),
            replace(request, task="a2v"),
            request,
        ]
    )
    kinds = [failure(result).kind for result in results[:5]]
    assert kinds[0] == kinds[2] == kinds[4] == "missing_reference"
    assert kinds[1] == "decode_error"
    assert kinds[3] == "empty_reference"
    frames(results[5])


@pytest.fixture(scope="module")
def portrait(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A face that moves a pixel a frame, and for two frames hides; even sizes, as H.264 wants."""
    data = pytest.importorskip("skimage.data")
    pytest.importorskip("dlib")
    picture = data.astronaut()[20:200, 130:330]
    path = tmp_path_factory.mktemp("portrait") / "face.mp4"
    video = np.stack([np.roll(picture, index, axis=1) for index in range(12)])
    video[9:] = 90
    media.write_video(path, video.astype(np.uint8))
    return path


@pytest.mark.parametrize("silent", ["generator", pytest.param("closed_frame", marks=pytest.mark.slow)])
def test_a_face_that_dlib_finds(portrait: Path, reference: Path, tmp_path: Path, silent: str) -> None:
    made = loaded(silent=silent, feather=3)
    request = Request("k", "t2av", 7, text=SHORT, voice=reference, identity=portrait, identity_key="p")
    result = made.generate([request])[0]
    got, video = frames(result), media.decode_video(Source(portrait)).frames
    assert len(got) > 12
    assert (got[:9] != video[:9]).any(axis=(1, 2, 3)).all()
    assert np.array_equal(got[9:12], video[9:])  # no face: as it was
    assert np.array_equal(got[12], video[10])  # forth and back
    assert np.array_equal(got[0, :20], video[0, :20])
    if silent == "generator":
        assert failure(loaded(silent="off", face=5).generate([request])[0]).kind == "no_face"
    nothing = make_clip(tmp_path, "grey", frames=4)
    assert failure(made.generate([t2av(nothing, reference, identity_key=None)])[0]).kind == "no_face"


# --------------------------------------------------------------------------- files and settings


def test_what_is_missing_is_named_for_each_task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_WEIGHTS", str(tmp_path))
    made = HierSpeech({})
    assert made.tasks == ("tts", "t2av", "a2v")
    assert all(file in made.weights for task in made.tasks for file in made.weights_for(task))
    lines = made.missing()
    assert {line.split(":")[0] for line in lines} == {"tts, t2av", "t2av, a2v", "a2v"}
    named = {weight.name for weight in made.weights}
    assert all(any(f"weights {name} are not here" in line for line in lines) for name in named)
    assert weight_files.DENOISER.name not in named
    assert declare.VGG19.name not in named
    for weight in (weight_files.TTV, weight_files.SYNTHESIZER):
        (tmp_path / f"{weight.name}.safetensors").write_bytes(b"")
    ready = HierSpeech({})
    assert ready.missing_for("tts") == []
    assert ready.weights_for("tts") == (weight_files.TTV, weight_files.SYNTHESIZER)
    for task in ("t2av", "a2v"):
        assert "hierspeech_face.safetensors" in ready.missing_for(task)[0 if task == "t2av" else 1]
    both = HierSpeech({"tasks": "t2av", "silent": "off", "detector": "dlib"})
    assert [line.split(" are not here")[0] for line in both.missing()] == ["t2av: weights hierspeech_face.safetensors"]
    assert HierSpeech({"output_rate": 48000, "denoise_ratio": 0.8, "tasks": "tts"}).missing()


def test_the_class_declares_every_file_once() -> None:
    names = [weight.name for weight in HierSpeech.weights]
    assert len(names) == len(set(names)) == 18
    for weight in HierSpeech.weights:
        if weight.manifest and weight.manifest.endswith(".json"):
            assert json.loads((FOLDER / weight.manifest).read_text())["tensors"]
    told = declare.manifest()
    with torch.device("meta"):
        state = TTVFace(TTVFaceSizes()).state_dict()
    assert {name: shape for name, (shape, _) in told.items()} == {k: tuple(v.shape) for k, v in state.items()}
    assert {kind for _, kind in told.values()} == {"float32", "int64"}


def test_settings() -> None:
    given = HierSpeechOptions(tasks="tts,a2v", output_rate="48000", pads="1 2 3 4", face="best")  # type: ignore[arg-type]
    assert given.tasks == ("tts", "a2v")
    assert given.output_rate == 48000
    assert given.pads == (1, 2, 3, 4)
    again = HierSpeech(given.model_dump(mode="json"), SEEDED, sizes=SMALL)
    assert again.tasks == ("tts", "a2v")
    for wrong in (
        {"tasks": "vts"},
        {"output_rate": 22050},
        {"denoise_ratio": 1.5},
        {"face": -1},
        {"longest_sentence": 3},
        {"scale": 1},
    ):
        with pytest.raises(ValidationError):
            HierSpeechOptions(**wrong)  # type: ignore[arg-type]


def test_nothing_heavy_is_imported_with_the_class() -> None:
    import subprocess
    import sys

    code = (
        "import sys, bench.systems.hierspeech.system; print([m for m in ('torch', 'numpy', 'cv2') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_generate_wants_load(reference: Path) -> None:
    with pytest.raises(RuntimeError, match="load"):
        HierSpeech({}, SEEDED, sizes=SMALL).generate([tts(reference)])
