"""WER and CER by pocketsphinx: rules, edge cases, independence of order."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from audio_helpers import SENTENCES, media, noise, nothing, score_one, speech, truth

from bench.api import Failure, Score, UsageError
from bench.metrics import recognise as rec
from bench.metrics.wer import SLOTS, VOCABULARY, Wer, grammar_of, words_outside

pytest.importorskip("pocketsphinx")

GRID, CER = "wer/pocketsphinx-grid@1", "cer/pocketsphinx-grid@1"
LOOP, LM = "wer/pocketsphinx-jsgf@1", "wer/pocketsphinx-lm@1"


def grid(output: Any, transcript: str | None = SENTENCES[0], protocol: str = GRID) -> Any:
    return score_one(Wer(), protocol, output, nothing(), truth(transcript))


def test_clear_speech_is_mostly_understood(tmp_path: Path) -> None:
    scores = [grid(media(tmp_path, speech(text)), text) for text in SENTENCES]
    assert sum(s.parts["edits"] for s in scores) / sum(s.parts["ref_words"] for s in scores) < 0.3
    chance = grid(media(tmp_path, speech(SENTENCES[0])), SENTENCES[1])
    assert chance.values["wer"] > 0.6


def test_counts_rates_and_texts_belong_together(tmp_path: Path) -> None:
    output = media(tmp_path, speech())
    results = Wer().score([GRID, CER], output, nothing(), truth())
    for name, units, result in (("wer", "ref_words", results[GRID]), ("cer", "ref_chars", results[CER])):
        assert isinstance(result, Score)
        parts = result.parts
        assert parts["edits"] == parts["substitutions"] + parts["deletions"] + parts["insertions"]
        assert parts[units] == parts["substitutions"] + parts["deletions"] + parts["hits"]
        assert result.values[name] == result.values["macro"] == parts["edits"] / parts[units]
        assert result.text["reference"] == SENTENCES[0]
        assert result.text["norm_reference"] == "bin blue at f 2 now"
        assert len(result.text["hypothesis"].split()) in (0, 6)
    assert results[CER].parts["ref_chars"] == len("bin blue at f 2 now")


def test_hypothesis_does_not_depend_on_what_was_decoded_before(tmp_path: Path) -> None:
    clips = [media(tmp_path, speech(text)) for text in SENTENCES]
    metric = Wer()
    forward = [score_one(metric, GRID, clip, nothing()).text["hypothesis"] for clip in clips]
    backward = [score_one(metric, GRID, clip, nothing()).text["hypothesis"] for clip in reversed(clips)]
    alone = [grid(clip).text["hypothesis"] for clip in clips]
    assert forward == backward[::-1] == alone


def test_cut_dictionary_gives_the_text_of_the_whole_one(tmp_path: Path) -> None:
    import pocketsphinx

    pcm, rules = rec.to_pcm(speech(SENTENCES[1])), tmp_path / "g.jsgf"
    rules.write_text(grammar_of("pocketsphinx-grid@1") or "")
    decoder = pocketsphinx.Decoder(samprate=16000, lm=None, jsgf=str(rules))
    decoder.start_utt()
    decoder.process_raw(pcm.tobytes(), full_utt=True)
    decoder.end_utt()
    assert rec.recognise(pcm, grammar_of("pocketsphinx-grid@1")) == decoder.hyp().hypstr != ""


def test_grammars_hold_each_slots_sorted_words() -> None:
    text = rec.sentence_grammar({"b": ("two", "one"), "a": ("now",)})
    assert text.splitlines()[2:] == ["public <utt> = <b> <a>;", "<b> = one | two;", "<a> = now;"]
    assert rec.grammar_words(text) == {"one", "two", "now"}
    for recipe in ("pocketsphinx-grid@1", "pocketsphinx-jsgf@1"):
        assert rec.grammar_words(grammar_of(recipe) or "") == VOCABULARY
    assert [len(words) for words in SLOTS.values()] == [4, 4, 4, 25, 10, 4]
    assert grammar_of("pocketsphinx-lm@1") is None


def test_word_loop_and_language_model_answer_too(tmp_path: Path) -> None:
    output = media(tmp_path, speech()[4000:20000])
    loop, model = grid(output, protocol=LOOP), grid(output, protocol=LM)
    assert set(loop.text["hypothesis"].split()) <= VOCABULARY
    assert model.values["wer"] > 0


def test_word_without_pronunciation_is_a_configuration_error() -> None:
    with pytest.raises(UsageError, match="zzyzxq"):
        rec.recognise(np.ones(16000, np.int16), rec.loop_grammar(["zzyzxq", "but"]))


@pytest.mark.parametrize("wave", [np.zeros(16000, np.float32), noise(16000, 0.0005), np.full(8000, 3e-5, np.float32)])
def test_silence_is_an_empty_hypothesis_without_decoding(tmp_path: Path, wave: Any) -> None:
    score = grid(media(tmp_path, wave))
    assert score.text["hypothesis"] == ""
    assert (score.values["wer"], score.parts["deletions"], score.parts["silent_audio"]) == (1.0, 6.0, 1.0)


@pytest.mark.parametrize("n", [0, 1, 1599])
def test_less_than_a_tenth_of_a_second_is_too_short(tmp_path: Path, n: int) -> None:
    assert grid(media(tmp_path, noise(n))).kind == "too_short"


def test_a_tenth_of_a_second_is_scored(tmp_path: Path) -> None:
    assert isinstance(grid(media(tmp_path, noise(1600))), Score)


@pytest.mark.parametrize("rate", [8000, 22050, 48000])
def test_other_rates_are_resampled(tmp_path: Path, rate: int) -> None:
    score = grid(media(tmp_path, noise(rate), rate))
    assert set(score.text["hypothesis"].split()) <= VOCABULARY


def test_clipped_audio_is_scored(tmp_path: Path) -> None:
    assert isinstance(grid(media(tmp_path, 40 * speech(), subtype="PCM_16")), Score)


def test_nan_and_missing_streams_are_failures(tmp_path: Path) -> None:
    wave = noise(16000)
    wave[5] = np.nan
    assert grid(media(tmp_path, wave)).kind == "nan"
    assert grid(nothing()).kind == "no_audio_stream"


@pytest.mark.parametrize(
    ("transcript", "kind"),
    [
        (None, "missing_reference"),
        ("", "empty_reference"),
        (" \t", "empty_reference"),
        ("[noise] um", "empty_reference"),
        ("bin blue at f two tomorrow", "model_error"),
        ("我们在哪里", "model_error"),
        ("bin\x00blue", "model_error"),
        ("word " * 10_000, "model_error"),
    ],
)
def test_transcripts_that_cannot_be_scored_say_why(tmp_path: Path, transcript: str | None, kind: str) -> None:
    failure = grid(media(tmp_path, noise(16000)), transcript)
    assert isinstance(failure, Failure)
    assert (failure.kind, len(failure.detail) < 200) == (kind, True)


def test_ten_thousand_words_of_the_vocabulary_are_scored(tmp_path: Path) -> None:
    score = grid(media(tmp_path, np.zeros(16000, np.float32)), "bin blue " * 5_000)
    assert (score.values["wer"], score.parts["ref_words"]) == (1.0, 10_000.0)


def test_language_model_takes_any_transcript(tmp_path: Path) -> None:
    silence = media(tmp_path, np.zeros(16000, np.float32))
    assert grid(silence, "我们 在哪里", LM).parts["ref_words"] == 2.0


def test_pcm_of_16_bit_samples_is_exact() -> None:
    pcm = np.array([-32768, -1, 0, 1, 32767], np.int16)
    assert np.array_equal(rec.to_pcm((pcm / 32768).astype(np.float32)), pcm)
    assert rec.to_pcm(np.array([-2.0, 2.0], np.float32)).tolist() == [-32768, 32767]


def test_unsuited_corpora_are_named_beforehand() -> None:
    metric = Wer()
    assert metric.unsuited(GRID, ["Good morning", None])
    assert metric.unsuited(LM, ["Good morning"]) == ""
    assert metric.unsuited(GRID, ["Good morning", "BIN Blue"]) == ""
    assert words_outside("bin blue whale") == ["whale"]
