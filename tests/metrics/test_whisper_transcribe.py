"""Our transcription against the package's own ``transcribe`` and ``decode``, on small random networks."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import whisper
from whisper.decoding import DecodingOptions, DecodingResult
from whisper_helpers import SMALL, network, ours, pcm, reference_options, reference_text

from bench.api import Failure
from bench.metrics.whisper_declare import WER_MEDIUM
from bench.metrics.whisper_decode import Window, _Clip
from bench.metrics.whisper_rules import Recipe, Tokens

LENGTHS = (0.5, 5.0, 31.0, 65.0)
END, NO_SPEECH = 50257, 50362


@pytest.mark.parametrize(("seed", "gain", "large"), [(0, 1.0, False), (1, 3.0, True), (2, 8.0, False), (3, 3.0, False)])
def test_text_equals_the_references_alone_and_in_a_batch(seed: int, gain: float, large: bool) -> None:
    net = network(seed, gain, large)
    clips = [pcm(seconds, seed) for seconds in LENGTHS]
    expected = [reference_text(net, clip) for clip in clips]
    transcriber = ours(net, large)
    assert [transcriber.transcribe(clip) for clip in clips] == expected
    assert transcriber.transcribe_many(clips[::-1]) == expected[::-1]
    assert all(expected)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("gain", [0.5, 2.0, 5.0, 12.0])
def test_text_equals_the_references_with_windows_of_full_length(seed: int, gain: float) -> None:
    net = network(10 + seed, gain, n_text_ctx=448, n_audio_state=48, n_text_state=48, n_text_layer=3)
    clips = [pcm(seconds, 10 + seed) for seconds in LENGTHS]
    transcriber = ours(net)
    expected = [reference_text(net, clip) for clip in clips]
    assert [transcriber.transcribe(clip) for clip in clips] == expected
    if gain < 10.0:  # beyond, attention magnifies rounding more than a batch's margin allows for
        assert transcriber.transcribe_many(clips) == expected


def features(net: Any, clips: list[Any], dtype: torch.dtype = torch.float32) -> list[torch.Tensor]:
    mels = [whisper.log_mel_spectrogram(c.astype(np.float32) / 32768, net.dims.n_mels, 480_000) for c in clips]
    with torch.inference_mode():
        return [net.encoder(whisper.pad_or_trim(mel, 3000)[None].to(dtype)) for mel in mels]


@pytest.mark.parametrize("gain", [1.0, 4.0])
def test_tokens_and_probabilities_equal_those_of_decode(gain: float) -> None:
    net = quiet(network(4, gain), 9.0)
    clips = [pcm(3.0, seed) for seed in range(5)]
    transcriber = ours(net)
    with torch.inference_mode():
        windows = transcriber.decode(features(net, clips))
        for window, encoded in zip(windows, features(net, clips), strict=True):
            expected = whisper.decode(net, encoded[0], DecodingOptions(language="en", fp16=False))
            assert window.tokens == expected.tokens
            assert window.no_speech_prob == pytest.approx(expected.no_speech_prob, rel=1e-4)
            assert window.avg_logprob == pytest.approx(expected.avg_logprob, rel=1e-4)


def test_half_precision_follows_the_reference_too() -> None:
    # what a CUDA device is asked for, on the CPU: the package would cast the matrices in every call
    half = ours(network(5, 2.0))
    half = type(half)(network(5, 2.0), Recipe.of(WER_MEDIUM.parameters), torch.float16)
    net = network(5, 2.0)
    with torch.inference_mode():
        for encoded in features(net, [pcm(2.0, 1), pcm(4.0, 2)], torch.float16):
            expected = whisper.decode(net, encoded[0], DecodingOptions(language="en", fp16=True))
            assert encoded.dtype == torch.float16
            assert half.decode([encoded])[0].tokens == expected.tokens
    assert half.batch == 16
    assert isinstance(half.transcribe(pcm(2.0, 1)), str)


def quiet(net: Any, strength: float) -> Any:
    """The network with a bias towards no speech."""
    with torch.no_grad():
        net.decoder.ln.bias.fill_(strength)
        net.decoder.token_embedding.weight[NO_SPEECH] = strength / 4
    return net


@pytest.mark.parametrize(("spread", "kept"), [(1e-3, False), (30.0, True)])
def test_windows_without_speech_are_left_out_unless_the_text_is_likely(spread: float, kept: bool) -> None:
    net = network(6, 2.0)
    with torch.no_grad():  # only the first token says no speech: a direction that the others lack
        net.decoder.token_embedding.weight.mul_(spread)
        net.decoder.positional_embedding[0, 0] = 60.0
        net.decoder.positional_embedding[1:, 0] = 0.0
        net.decoder.token_embedding.weight[:, 0] = 0.0
        net.decoder.token_embedding.weight[NO_SPEECH, 0] = 200.0
    clip = pcm(40.0, 3)
    transcriber = ours(net)
    with torch.inference_mode():
        window = transcriber.decode(features(net, [clip]))[0]
    assert window.no_speech_prob > 0.6
    assert (window.avg_logprob > -1.0) == kept
    expected = reference_text(net, clip)
    assert bool(expected) == kept
    assert transcriber.transcribe_many([clip, pcm(2.0, 1)]) == [expected, reference_text(net, pcm(2.0, 1))]


def test_close_decisions_in_a_batch_are_made_again_alone() -> None:
    net = network(7, 3.0)
    with torch.no_grad():  # every token has a twin with the very same logit
        net.decoder.token_embedding.weight[1:50000:2] = net.decoder.token_embedding.weight[0:50000:2]
    clips = [pcm(2.0, seed) for seed in range(3)]
    transcriber = ours(net)
    with torch.inference_mode():
        assert any(window.unsure for window in transcriber.decode(features(net, clips)))
        assert not any(transcriber.decode([one])[0].unsure for one in features(net, clips))
    calls: list[int] = []
    decode = transcriber.decode
    transcriber.decode = lambda many: (calls.append(len(many)), decode(many))[1]
    transcriber._hear([_Clip(clip, 80, transcriber._tokens) for clip in clips])
    assert calls == [3, *[1] * sum(window.unsure for window in decode(features(net, clips)))] != [3]
    assert transcriber.transcribe_many(clips) == [reference_text(net, clip) for clip in clips]


def test_sentences_of_unequal_length_end_each_on_its_own() -> None:
    net = network(13, 3.0)
    with torch.no_grad():
        net.decoder.token_embedding.weight[END] *= 6.0
    clips = [pcm(3.0, seed) for seed in range(8)]
    transcriber = ours(net)
    together, alone = features(net, clips), features(net, clips)
    with torch.inference_mode():
        found = [window.tokens for window in transcriber.decode(together)]
        assert found == [transcriber.decode([one])[0].tokens for one in alone]
        assert found == [whisper.decode(net, x[0], DecodingOptions(language="en", fp16=False)).tokens for x in alone]
    assert len({len(tokens) for tokens in found}) > 2


def test_more_clips_than_a_batch_holds_come_back_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    net = network(8, 3.0)
    transcriber = ours(net)
    monkeypatch.setattr("bench.metrics.whisper_decode._LARGEST_BATCH", 2)
    clips = [pcm(seconds, 4) for seconds in (33.0, 1.0, 0.2, 4.0, 2.0)]
    assert transcriber.transcribe_many(clips) == [transcriber.transcribe(clip) for clip in clips]
    assert transcriber.transcribe_many([]) == []


def test_a_network_that_overflows_fails_its_clip_alone() -> None:
    net = network(9, 3.0)
    transcriber = ours(net)
    loud, soft = pcm(1.0, 1), pcm(1.0, 2)
    encode = transcriber._encode
    marked = _Clip(loud, 80, transcriber._tokens).mel()
    transcriber._encode = lambda mel: encode(mel) * (torch.inf if torch.equal(mel, marked) else 1.0)
    broken, sound = transcriber.transcribe_many([loud, soft])
    assert isinstance(broken, Failure) and broken.kind == "nan"
    assert sound == reference_text(net, soft)


def random_tokens(random: np.random.Generator, begin: int) -> list[int]:
    """Text, blanks, marks of languages and ever later timestamps, in no order that the rules would allow."""
    tokens, time = [], begin
    for _ in range(random.integers(0, 14)):
        kind = random.random()
        if kind < 0.45:
            time = min(time + int(random.choice([0, 0, 1, 200])), begin + 1500)
            tokens.append(max(time, begin + 1) if random.random() < 0.9 else begin)
        else:
            tokens.append(int(random.choice([220, 50265, *random.integers(0, 50000, 4)])))
    cuts = [i for i in range(1, len(tokens)) if tokens[i] >= begin and tokens[i - 1] >= begin]
    if cuts and tokens[cuts[-1] - 1] == begin:  # would stand still for ever, in the reference too
        tokens[cuts[-1] - 1] = begin + 700
    return tokens


@pytest.mark.parametrize("seed", range(40))
def test_windows_follow_each_other_as_in_the_reference(seed: int) -> None:
    random = np.random.default_rng(seed)
    recipe, dims = Recipe.of(WER_MEDIUM.parameters), SimpleNamespace(n_mels=80, n_audio_ctx=1500, n_text_ctx=448)
    model = SimpleNamespace(dims=dims, device=torch.device("cpu"), is_multilingual=True, num_languages=99)
    tokens = Tokens.of(recipe, model)
    heard: list[tuple[torch.Tensor, DecodingResult]] = []

    def decode(mel: torch.Tensor, options: DecodingOptions) -> DecodingResult:
        silence, likely = random.random(), -2 * random.random()
        said = random_tokens(random, tokens.timestamps)
        result = DecodingResult(mel, "en", None, said, "", likely, silence, 0.0, 1.0)
        heard.append((mel, result))
        return result

    model.decode = decode
    samples = pcm(float(random.choice([0.5, 20.0, 31.0, 95.0])), 5)
    expected = whisper.transcribe(model, samples.astype(np.float32) / 32768, **reference_options())
    clip = _Clip(samples, 80, tokens)
    for mel, result in heard:
        assert torch.equal(clip.mel()[0], mel)
        total = result.avg_logprob * (len(result.tokens) + 1)
        clip.advance(Window(list(result.tokens), result.no_speech_prob, total), recipe)
    assert clip.done
    assert clip.result() == expected["text"]


def test_suppressed_tokens_are_the_references() -> None:
    net = network()
    expected = whisper.decoding.DecodingTask(net, DecodingOptions(language="en"))._get_suppress_tokens()
    tokens = Tokens.of(Recipe.of(WER_MEDIUM.parameters), net)
    assert tokens.never.tolist() == sorted({*expected, tokens.tokenizer.no_timestamps})


def test_other_ways_of_decoding_are_refused() -> None:
    parameters = {**WER_MEDIUM.parameters, "asr": {**WER_MEDIUM.parameters["asr"], "beam_size": 5}}
    with pytest.raises(ValueError, match="beam_size"):
        Recipe.of(parameters)


def test_network_has_the_packages_names_shapes_and_mask() -> None:
    net = network()
    made = whisper.model.Whisper(net.dims)
    assert {n: t.shape for n, t in net.state_dict().items()} == {n: t.shape for n, t in made.state_dict().items()}
    assert list(net.state_dict()) == list(made.state_dict())
    assert torch.equal(net.decoder.mask, made.decoder.mask)
    assert set(SMALL) | {"n_mels", "n_vocab"} == set(vars(net.dims))
