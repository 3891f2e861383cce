"""WER and CER by Whisper: declarations, rules, edge cases; the networks are small and random."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from audio_helpers import media, noise, nothing, score_one, truth
from whisper_helpers import SMALL

from bench.api import Failure, Protocol, Score
from bench.media import Media
from bench.metrics.whisper_declare import LARGE_V3, MEDIUM, PROTOCOLS, dims_of, recipe_of
from bench.metrics.whisper_manifest import large_v3, medium
from bench.metrics.whisper_wer import WhisperWer
from bench.networks import OFFICIAL, Seeded

PUBLISHED = Path(__file__).parents[2] / ".." / "shared" / "specs" / "protocols.json"
WER, CER, WER_M, CER_M = (protocol.id for protocol in PROTOCOLS)
GAIN = 6.0


def metric(gain: float = GAIN) -> WhisperWer:
    made = WhisperWer(Seeded({LARGE_V3.name: gain, MEDIUM.name: gain}), SMALL)
    made.load("cpu")
    return made


def key_of(output: Media) -> str:
    return next(key for key in output.new_features if key.startswith("audio:whisper"))


@pytest.mark.parametrize("protocol", PROTOCOLS, ids=lambda p: p.id)
def test_declaration_has_all_of_the_published_one(protocol: Protocol) -> None:
    if not PUBLISHED.is_file():
        pytest.skip("../shared/specs/protocols.json is not here")
    wanted = json.loads(PUBLISHED.read_text())["protocols"][protocol.id]
    ours = json.loads(json.dumps(protocol.parameters))
    assert {name: ours[name] for name in wanted["parameters"]} == wanted["parameters"]
    head = protocol.values[0]
    assert (head.unit, head.direction) == (wanted["unit"], wanted["direction"])
    assert (head.label, protocol.status) == (wanted["metric"], wanted["status"])
    assert list(protocol.failures) == wanted["failures"]
    assert list(protocol.used_by) == wanted["used_by"]
    assert [(w.name, w.sha256) for w in protocol.weights] == [(w["file"], w["sha256"]) for w in wanted["weights"]]
    assert head.aggregation.kind == "ratio" and not protocol.values[1].headline


def test_defaults_and_recipes() -> None:
    assert [protocol.id for protocol in PROTOCOLS if protocol.default] == [WER]
    assert [recipe_of(protocol.id).id for protocol in PROTOCOLS] == [WER, WER, WER_M, WER_M]


def test_defaults_of_the_reference_are_those_of_the_installed_package() -> None:
    import inspect

    import whisper

    transcribe = {name: p.default for name, p in inspect.signature(whisper.transcribe).parameters.items()}
    decode = whisper.DecodingOptions()
    for protocol in (recipe_of(WER), recipe_of(WER_M)):
        ours = dict(protocol.parameters["defaults"])
        assert {name: ours[name] for name in ("no_speech_threshold", "logprob_threshold")} == {
            name: transcribe[name] for name in ("no_speech_threshold", "logprob_threshold")
        }
        assert (ours["suppress_tokens"], ours["max_initial_timestamp"]) == (
            decode.suppress_tokens,
            decode.max_initial_timestamp,
        )
        assert whisper.__version__ == protocol.parameters["asr"]["package"].split("==")[1]


@pytest.mark.parametrize(
    ("weight", "manifest", "count"), [(LARGE_V3, large_v3, 1543490560), (MEDIUM, medium, 763857920)]
)
def test_manifest_accounts_for_the_size_of_the_official_file(weight: Any, manifest: Any, count: int) -> None:
    tensors = manifest()
    assert weight.manifest == f"{manifest.__module__}:{manifest.__name__}"
    assert sum(int(np.prod(shape)) for shape, _ in tensors.values()) == count
    assert {kind for _, kind in tensors.values()} == {"float16"}
    # two bytes a number; the rest, some 310 bytes a tensor, are the archive's
    assert 0 < (weight.size - 2 * count) / len(tensors) < 400


def test_dims_are_the_official_ones() -> None:
    wide, mid = dims_of(recipe_of(CER).parameters), dims_of(recipe_of(CER_M).parameters)
    assert (wide["n_mels"], wide["n_vocab"], wide["n_audio_state"], wide["n_text_layer"]) == (128, 51866, 1280, 32)
    assert (mid["n_mels"], mid["n_vocab"], mid["n_audio_state"], mid["n_text_layer"]) == (80, 51865, 1024, 24)


def test_counts_rates_and_texts_belong_together(tmp_path: Path) -> None:
    results = metric().score([WER, CER, WER_M, CER_M], media(tmp_path, noise(48_000)), nothing(), truth())
    for name, units, result in (("wer", "ref_words", results[WER]), ("cer", "ref_chars", results[CER])):
        assert isinstance(result, Score)
        parts = result.parts
        assert parts["edits"] == parts["substitutions"] + parts["deletions"] + parts["insertions"]
        assert parts[units] == parts["substitutions"] + parts["deletions"] + parts["hits"]
        assert result.values[name] == result.values["macro"] == parts["edits"] / parts[units]
        assert result.text["norm_reference"] == "bin blue at f 2 now"
        assert result.text["hypothesis"]
        assert (parts["silent_audio"], parts["half_precision"]) == (0.0, 0.0)
    assert results[WER].text == results[CER].text != results[WER_M].text == results[CER_M].text


def test_what_was_heard_is_kept_with_the_audio(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    output = media(tmp_path, noise(16_000))
    first = score_one(metric(), WER, output, nothing())
    key = key_of(output)
    identity = Seeded({LARGE_V3.name: GAIN}).identity(LARGE_V3)
    assert key.startswith(f"audio:whisper-large-v3-{identity}-") and key.endswith("-float32@1")
    again = Media(None, output._audio, "again", stored=output.new_features)
    monkeypatch.setattr(WhisperWer, "_transcriber", lambda *_: pytest.fail("heard twice"))
    assert score_one(metric(), WER, again, nothing()) == first
    assert isinstance(score_one(metric(), CER, again, nothing()), Score)


def test_keys_differ_where_the_text_may(tmp_path: Path) -> None:
    output = media(tmp_path, noise(8_000))
    for gain in (2.0, 3.0):
        metric(gain).score([WER, WER_M], output, nothing(), truth())
    assert len(output.new_features) == 4
    half = metric()
    half.load("cuda:0")
    assert half._key(recipe_of(WER)).endswith("-float16@1")
    declared = WhisperWer(Seeded({}))
    assert "n_text" in half._key(recipe_of(WER)) and "n_text" not in declared._key(recipe_of(WER))


def test_nothing_heard_is_all_deletions(tmp_path: Path) -> None:
    output = media(tmp_path, noise(8_000))
    score_one(metric(), WER, output, nothing())
    silent = Media(None, output._audio, "x", stored={key_of(output): {"text": np.zeros(0, np.uint8)}})
    result = score_one(metric(), WER, silent, nothing())
    assert result.values["wer"] == 1.0
    assert result.parts["deletions"] == result.parts["ref_words"] == 6.0


def test_right_words_cost_nothing_however_written(tmp_path: Path) -> None:
    output = media(tmp_path, noise(8_000))
    score_one(metric(), WER, output, nothing())
    said = np.frombuffer(b" Bin blue at F two, now!", np.uint8)
    heard = Media(None, output._audio, "x", stored={key_of(output): {"text": said}})
    assert score_one(metric(), WER, heard, nothing()).values == {"wer": 0.0, "macro": 0.0}


def test_silence_is_heard_and_marked(tmp_path: Path) -> None:
    result = score_one(metric(), WER, media(tmp_path, np.zeros(16_000, np.float32)), nothing())
    assert result.parts["silent_audio"] == 1.0
    assert result.text["hypothesis"]  # invented, and scored


@pytest.mark.parametrize(
    ("wave", "transcript", "kind"),
    [
        (np.zeros(1599, np.float32), "bin blue", "too_short"),
        (np.full(16_000, np.nan, np.float32), "bin blue", "nan"),
        (np.zeros(16_000, np.float32), " [noise] (um) ", "empty_reference"),
        (np.zeros(16_000, np.float32), "", "empty_reference"),
        (np.zeros(16_000, np.float32), None, "missing_reference"),
        (None, "bin blue", "no_audio_stream"),
    ],
)
def test_what_cannot_be_scored_fails_by_rule(wave: Any, transcript: str | None, kind: str, tmp_path: Path) -> None:
    output = nothing() if wave is None else media(tmp_path, wave)
    result = score_one(metric(), WER, output, nothing(), truth(transcript))
    assert isinstance(result, Failure) and result.kind == kind


def test_a_tenth_of_a_second_is_enough(tmp_path: Path) -> None:
    assert isinstance(score_one(metric(), WER, media(tmp_path, noise(1600)), nothing()), Score)


def test_a_network_without_numbers_is_a_failure(tmp_path: Path) -> None:
    result = score_one(metric(float("inf")), WER, media(tmp_path, noise(8_000)), nothing())
    assert isinstance(result, Failure) and result.kind == "nan"


def test_several_media_are_heard_at_once_with_the_same_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    waves = [noise(n, seed=n) for n in (8_000, 30_000, 1_000, 16_000)]
    alone = [score_one(metric(), WER, media(tmp_path, wave), nothing()) for wave in waves]
    together, outputs = metric(), [*(media(tmp_path, wave) for wave in waves), nothing()]
    score_one(together, WER, outputs[3], nothing())  # known already
    transcriber, sizes = together._transcriber(recipe_of(WER)), list[int]()
    many = transcriber.transcribe_many
    monkeypatch.setattr(transcriber, "transcribe_many", lambda pcms: (sizes.append(len(pcms)), many(pcms))[1])
    together.prepare([WER, CER], outputs)
    assert sizes == [2]  # one is known, one too short, one has no audio
    monkeypatch.setattr(transcriber, "transcribe", lambda _: pytest.fail("heard twice"))
    assert [score_one(together, WER, output, nothing()) for output in outputs[:4]] == alone
    assert score_one(together, WER, outputs[4], nothing()).kind == "no_audio_stream"
    together.prepare([WER], outputs)
    assert sizes == [2]


def test_absent_weights_are_told_with_their_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_WEIGHTS", str(tmp_path))
    for protocol_id, name in ((WER, "large-v3.pt"), (CER_M, "medium.pt")):
        (line,) = WhisperWer().missing(protocol_id)
        assert name in line and "openai/whisper" in line and "MIT" in line and "bench weights add" in line
    found = score_one(WhisperWer(OFFICIAL), WER, media(tmp_path, noise(8_000)), nothing())
    assert isinstance(found, Failure) and found.kind == "model_error" and "large-v3.pt" in found.detail


def test_declaring_loads_no_numeric_library() -> None:
    code = "import sys; import bench.metrics.whisper_wer, bench.metrics.whisper_manifest; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"numpy", "torch", "jiwer", "whisper"} & set(done.stdout.split())
