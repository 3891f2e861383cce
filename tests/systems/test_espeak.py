"""espeak-ng: deterministic speech with times, and texts that cannot be spoken."""

from __future__ import annotations

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from bench import espeak
from bench.api import Audio, Failure, Output, Request, UsageError
from bench.espeak import Speech, SpeechError, Synthesiser
from bench.systems.baselines.espeak import Espeak

pytestmark = pytest.mark.skipif(bool(espeak.available()), reason="espeakng-loader is not installed")
SENTENCE = "bin blue at f two now"


@pytest.fixture(scope="module")
def speech() -> Speech:
    return Synthesiser("m1", 80, 130).speak(SENTENCE)


def test_words_and_phonemes_cover_the_sound_in_order(speech: Speech) -> None:
    assert [word.text for word in speech.words] == SENTENCE.split()
    assert all(SENTENCE[w.position :].startswith(w.text) for w in speech.words)
    for items in (speech.phonemes, speech.words):
        assert all(a.end_s == pytest.approx(b.start_s) for a, b in pairwise(items))
    seconds = len(speech.audio.samples) / speech.audio.rate
    assert speech.phonemes[-1].end_s == pytest.approx(seconds)
    assert speech.words[-1].end_s <= seconds
    assert [p.name for p in speech.phonemes][:4] == ["b", "'I", "n", "b"]


def test_samples_are_float32_at_22050_hz(speech: Speech) -> None:
    assert speech.audio.rate == 22_050 and speech.audio.samples.dtype == np.float32
    assert 0.1 < np.abs(speech.audio.samples).max() <= 1.0
    assert 1.5 < len(speech.audio.samples) / 22_050 < 2.5


def test_equal_input_gives_equal_samples_after_other_speech_and_in_threads(speech: Speech) -> None:
    voice = Synthesiser("m1", 80, 130)
    Synthesiser("f3", 40, 200).speak("something else before it")
    with ThreadPoolExecutor(4) as pool:
        again = list(pool.map(voice.speak, [SENTENCE] * 4))
    assert all(np.array_equal(other.audio.samples, speech.audio.samples) for other in again)


def test_voice_pitch_and_rate_change_the_sound(speech: Speech) -> None:
    others = [Synthesiser("f2", 80, 130), Synthesiser("m1", 20, 130), Synthesiser("m1", 80, 260)]
    sounds = [other.speak(SENTENCE).audio.samples for other in others]
    assert all(not np.array_equal(sound, speech.audio.samples) for sound in sounds)
    assert len(sounds[2]) < 0.7 * len(speech.audio.samples)


def test_contractions_and_times_of_day_stay_one_word() -> None:
    spoken = Synthesiser().speak("  Don't say\n3:45,  it's late ")
    assert [word.text for word in spoken.words] == ["Don't", "say", "3:45,", "it's", "late"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "without a letter"),
        (" \n\t", "without a letter"),
        ("... !", "without a letter"),
        ("bin\0blue", "U+0000"),
        ("bin \x1b[2J", "U+001B"),
        ("привет мир", "CYRILLIC"),
        ("bin blue 你好", "CJK"),
        ("пlace red", "CYRILLIC"),  # a look-alike
        ("word " * 10_000, "at most 4000"),
        ("\ud800", "U+D800"),
    ],
)
def test_texts_that_cannot_be_spoken_are_typed_failures(text: str, message: str) -> None:
    with pytest.raises(SpeechError, match=message.replace("+", r"\+")):
        Synthesiser().speak(text)
    (result,) = Espeak().generate([Request(key="k", task="tts", seed=0, text=text)])
    assert isinstance(result, Failure) and result.kind == "model_error" and message in result.detail


def test_accents_and_ligatures_are_latin() -> None:
    assert espeak.check_text("naïve ﬁne Ærø") == "naïve ﬁne Ærø"


def test_one_bad_text_does_not_take_the_batch_with_it() -> None:
    texts = ["place red", "", "place red"]
    results = Espeak().generate([Request(key=str(i), task="tts", seed=i, text=text) for i, text in enumerate(texts)])
    sounds = [
        result.audio.samples for result in results if isinstance(result, Output) and isinstance(result.audio, Audio)
    ]
    assert len(sounds) == 2 and np.array_equal(*sounds)
    assert isinstance(results[1], Failure)


def test_unknown_voices_and_ranges_are_named() -> None:
    with pytest.raises(UsageError, match="sandro"):
        Synthesiser("sandor")
    for pitch, rate in ((100, 130), (-1, 130), (50, 20), (50, 900)):
        with pytest.raises(UsageError, match="possible"):
            Synthesiser("m1", pitch, rate)
    options = Espeak.options()
    for bad in ({"voice": "sandor"}, {"rate": 1}, {"pitch": "high"}, {"speed": 1}):
        with pytest.raises(ValidationError):
            options(**bad)


def test_a_crashed_child_is_an_error_of_that_text(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(espeak, "library", lambda: (tmp_path / "no-library.so", tmp_path))
    with pytest.raises(SpeechError, match=r"no-library\.so"):
        Synthesiser().speak("place red")


def test_the_child_stops_at_the_limit() -> None:
    library, data = espeak.library()
    task = {"library": str(library), "data": str(data), "voice": "gmw/en-US", "pitch": 50, "rate": 130}
    task |= {"text": SENTENCE * 20, "max_samples": 22_050}
    script = Path(espeak.__file__).with_name("espeak_child.py")
    done = subprocess.run(
        [sys.executable, "-I", "-S", str(script)], input=json.dumps(task).encode(), capture_output=True, check=True
    )
    assert json.loads(done.stdout) == {"error": "the speech is longer than 1 s"}


def test_the_system_speaks_with_the_voice_of_its_settings() -> None:
    system = Espeak({"voice": "f2", "pitch": 50, "rate": 130})
    assert system.missing() == []
    system.load("cpu", "float32")
    (output,) = system.generate([Request(key="k", task="tts", seed=3, text=SENTENCE)])
    assert isinstance(output, Output) and isinstance(output.audio, Audio)
    assert np.array_equal(output.audio.samples, Synthesiser("f2", 50, 130).speak(SENTENCE).audio.samples)
    (silent,) = system.generate([Request(key="k", task="tts", seed=3)])
    assert isinstance(silent, Failure) and silent.kind == "empty_reference"


def test_an_absent_package_is_said_with_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(espeak, "find_spec", lambda name: None)
    (line,) = Espeak().missing()
    assert "espeakng-loader" in line and "pip install" in line
    with pytest.raises(UsageError, match="not installed"):
        Synthesiser("m1")
