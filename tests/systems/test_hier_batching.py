"""Texts that are spoken together: each is what it is alone, whatever comes with it, and batches stay bounded.

Tolerance: two steps of 16 bits of a request's samples, and with ``sentence_batch=1`` none. Durations and voicing are
decided alone where rounding could decide them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hier_small import SEEDED, SMALL, loaded, samples, tts, voice
from torch import Tensor

from bench.api import Failure, WeightFile
from bench.embedded import EMBEDDED
from bench.errors import DataError
from bench.systems.hierspeech import requirements, together
from bench.systems.hierspeech.cascade import Said, Style, say
from bench.systems.hierspeech.long_text import shares
from bench.systems.hierspeech.parts import Networks, Sizes
from bench.systems.hierspeech.pitch import LOWEST_LOG_F0, clip_pitch
from bench.systems.hierspeech.sequence import generator_noise
from bench.systems.hierspeech.system import HierSpeech
from bench.systems.hierspeech.text import Tokens, tokens
from bench.systems.hierspeech.together import Script, batches, say_all
from bench.systems.hierspeech.ttv import TTVSettings
from bench.weights import locate

STEPS = 2
SETTINGS = TTVSettings(max_token_frames=6)
PLAIN = {"alias_free": False}
HEADS: dict[str, dict[str, Any]] = {
    "wave, alias-free": {},
    "wave": PLAIN,
    "istft": {**PLAIN, "upsample_rates": (4,), "upsample_kernel_sizes": (8,), "head": "istft"},
}
COUNTS = (9, 31, 3, 30, 17, 1, 31)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


class Drawn:
    """Numbers as the modules are made with, moved a little: by the rule, activations that are not filtered blow up."""

    def fill(self, module: Any, weight: WeightFile) -> Any:
        """See :meth:`bench.networks.WeightSource.fill`."""
        draw = torch.Generator().manual_seed(5)
        with torch.no_grad():
            for parameter in module.parameters():
                parameter.add_(0.03 * torch.randn(parameter.shape, generator=draw))
        return module.eval().requires_grad_(False)

    def identity(self, weight: WeightFile) -> str:
        """See :meth:`bench.networks.WeightSource.identity`."""
        return "drawn"


def networks(head: str) -> Networks:
    sizes: Sizes = replace(SMALL, synthesizer=replace(SMALL.synthesizer, **HEADS[head]))
    if head == "wave, alias-free":
        return Networks(SEEDED, sizes, "cpu", "float32")
    before = torch.get_rng_state()
    torch.manual_seed(6)
    made = Networks(Drawn(), sizes, "cpu", "float32")
    assert made.ttv is not None
    assert made.synthesizer is not None
    torch.set_rng_state(before)
    return made


def scripts(counts: Sequence[int] = COUNTS) -> list[Script]:
    """Each with another voice and its own noise."""
    made = []
    for seed, count in enumerate(counts):
        draw = torch.Generator().manual_seed(100 + seed)
        tokens = torch.randint(1, 170, (1, count), generator=draw)
        style = Style(*torch.randn(2, 1, 32, 1, generator=draw).unbind(0))
        made.append(Script(tokens, style, generator_noise(draw)))
    return made


def alone(parts: Networks, script: Script) -> Said:
    return say(parts.ttv, parts.synthesizer, script.tokens, script.style, script.noise, SETTINGS)


def together_of(parts: Networks, every: Sequence[Script], at_once: int = 8) -> list[Said]:
    found = dict(say_all(parts.ttv, parts.synthesizer, every, SETTINGS, at_once=at_once))
    assert sorted(found) == list(range(len(every)))
    return [found[place] for place in range(len(every))]


@pytest.mark.parametrize("head", HEADS)
def test_each_is_what_it_is_alone(head: str) -> None:
    parts = networks(head)
    for script, said in zip(scripts(), together_of(parts, scripts()), strict=True):
        expected = alone(parts, script)
        assert said.wave.shape == expected.wave.shape == (1, 1, 320 * said.w2v.shape[2])
        scale = float(expected.wave.abs().max())
        assert scale > 0
        assert float((said.wave - expected.wave).abs().max()) < STEPS / 32768 * scale
        torch.testing.assert_close(said.w2v, expected.w2v, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(said.pitch, expected.pitch, rtol=1e-4, atol=1e-5)


def test_one_at_a_time_is_equal_to_the_bit() -> None:
    parts = networks("istft")
    for script, said in zip(scripts(), together_of(parts, scripts(), at_once=1), strict=True):
        expected = alone(parts, script)
        assert torch.equal(said.wave, expected.wave)
        assert torch.equal(said.w2v, expected.w2v)


def test_durations_next_to_a_whole_number_are_decided_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a batch of more than one the predictor errs by a millionth: enough for another frame at each token."""
    parts = networks("istft")
    every = scripts((12, 12, 12))

    def sample(x: Tensor, mask: Tensor, g: Tensor, noise: Tensor) -> Tensor:
        frames = torch.full_like(mask, 2.5)
        first = noise[:, :1, :1].abs() < 0.6  # of some texts alone
        frames = torch.where(first, torch.full_like(mask, 2.0), frames)
        return (frames * (1 + 1e-6 * (len(mask) > 1))).log()

    monkeypatch.setattr(parts.ttv.dp, "sample", sample)
    lengths = [alone(parts, script).w2v.shape[2] for script in every]
    assert set(lengths) == {24, 36}
    assert [said.w2v.shape[2] for said in together_of(parts, scripts((12, 12, 12)))] == lengths
    monkeypatch.setattr(together, "DOUBT", 0.0)
    assert [said.w2v.shape[2] for said in together_of(parts, scripts((12, 12, 12)))] != lengths


def test_pitch_next_to_the_least_is_decided_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    parts = networks("istft")

    def pitch(x: Tensor, g: Tensor, mask: Tensor | None = None) -> Tensor:
        shape = (len(x), 1, 4 * x.shape[2])
        made = torch.full(shape, LOWEST_LOG_F0 + 1e-6 - 2e-6 * (len(x) > 1))
        return made if mask is None else made * mask.repeat_interleave(4, dim=2)

    monkeypatch.setattr(parts.ttv.pp, "forward", pitch)
    for script, said in zip(scripts((20, 21)), together_of(parts, scripts((20, 21))), strict=True):
        expected = alone(parts, script)
        assert bool((clip_pitch(expected.pitch) > 4).all())
        torch.testing.assert_close(said.pitch, expected.pitch)
        torch.testing.assert_close(said.wave, expected.wave, rtol=1e-3, atol=1e-5)


def test_batches() -> None:
    lengths = [5, 100, 40, 90, 41, 7, 100]
    found = batches(lengths, 3, 1000, 0.5)
    assert found == [[1, 6, 3], [4, 2], [5, 0]]
    assert batches(lengths, 8, 200, 0.0) == [[1, 6], [3, 4], [2, 5, 0]]
    assert batches([300], 8, 200, 0.9) == [[0]]
    assert batches([], 8, 200, 0.9) == []


def test_batches_stay_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    parts = networks("istft")
    seen: list[tuple[str, int, int]] = []
    timing, features = parts.ttv.timing, parts.ttv.features

    def timed(tokens: Tensor, *others: Any) -> Any:
        seen.append(("tokens", *tokens.shape))
        return timing(tokens, *others)

    def featured(given: Any, *others: Any) -> Any:
        seen.append(("frames", len(given.m), int(given.lengths.max())))
        return features(given, *others)

    monkeypatch.setattr(parts.ttv, "timing", timed)
    monkeypatch.setattr(parts.ttv, "features", featured)
    monkeypatch.setattr(together, "MOST_TOKENS", 60)
    monkeypatch.setattr(together, "MOST_FRAMES", 130)
    together_of(parts, scripts((9, 31, 3, 30, 17, 1, 31, 70, 12)), at_once=4)
    limits = {"tokens": 60, "frames": 130}
    assert all(items == 1 or (items <= 4 and items * size <= limits[kind]) for kind, items, size in seen)
    assert any(items > 1 for kind, items, _ in seen if kind == "tokens")
    assert any(items > 1 for kind, items, _ in seen if kind == "frames")


def test_shares_of_texts() -> None:
    def pieces(*counts: int) -> list[Tokens]:
        return [Tokens("", "", (), (0,) * count, "", "") for count in counts]

    nothing = Failure("empty_reference", "")
    texts = [pieces(5, 5), nothing, pieces(3), pieces(40), pieces(1), nothing, pieces(9)]
    assert shares(texts, 13) == [slice(0, 3), slice(3, 4), slice(4, 7)]
    assert shares([pieces(99)], 13) == [slice(0, 1)]
    assert shares([], 13) == [slice(0, 0)]


# --------------------------------------------------------------------------- the system


def requests_of(folder: Path) -> list[Any]:
    one, two = voice(folder, name="one"), voice(folder, 0.7, name="two")
    long = "Place red at nine. Set blue by one!"
    return [
        tts(one, "Bin red."),
        tts(None, seed=2),
        tts(two, long, seed=3),
        tts(one, "", seed=4),
        tts(two, "Bin white by c two now", seed=5),
        tts(folder / "absent.wav", seed=6),
    ]


def same(a: object, b: object, steps: int) -> None:
    if isinstance(a, Failure):
        assert a == b
        return
    one, other = samples(a), samples(b)
    assert one.shape == other.shape
    assert np.abs(one - other).max() * 32768 <= steps


@pytest.mark.parametrize(("at_once", "steps"), [(8, STEPS), (1, 0)])
def test_neither_company_nor_order_nor_worker_matters(
    tmp_path: Path, at_once: int, steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    requests = requests_of(tmp_path)
    system = loaded(silent="off", longest_sentence=20, sentence_batch=at_once)
    whole = system.generate(requests)
    backwards = system.generate(requests[::-1])[::-1]
    other = loaded(silent="off", longest_sentence=20, sentence_batch=at_once)  # another worker, one by one
    single = [other.generate([request])[0] for request in requests]
    monkeypatch.setattr("bench.systems.hierspeech.system._TOKENS_KEPT", 30)
    apart = system.generate(requests)
    for found in (backwards, single, apart):
        for a, b in zip(whole, found, strict=True):
            same(a, b, steps)
    assert [isinstance(one, Failure) for one in whole] == [False, True, False, True, False, True]


def test_a_text_that_fails_takes_no_other_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    requests = [request for request in requests_of(tmp_path) if request.text and request.voice]
    system = loaded(silent="off")
    before = system.generate(requests)
    parts = system._networks
    assert parts is not None
    timing = parts.ttv.timing
    longest = len(tokens(requests[2].text).tokens)

    def broken(padded: Tensor, *others: Any) -> Any:
        if padded.shape[1] >= longest:
            raise DataError("no durations", "")
        return timing(padded, *others)

    monkeypatch.setattr(parts.ttv, "timing", broken)
    after = system.generate(requests)
    kinds = [one.kind if isinstance(one, Failure) else None for one in after]
    assert kinds[2] == "model_error"
    assert kinds[:2] == [None, None]
    for a, b in zip(before, after, strict=True):
        if not isinstance(b, Failure):
            same(a, b, STEPS)


@pytest.mark.skipif(
    any(locate(file) is None for file in (requirements.EMBEDDED.ttv, requirements.EMBEDDED.synthesizer)),
    reason="speech networks are not shipped",
)
def test_the_shipped_networks_together_and_alone(tmp_path: Path) -> None:
    reference = voice(tmp_path)
    texts = ("Bin red.", "place red in d seven again", "set blue by z zero now", "lay green at r one please")
    requests = [tts(reference, text, seed=seed) for seed, text in enumerate(texts)]
    made = HierSpeech({"tier": "embedded", "tasks": "tts"}, EMBEDDED)
    made.load("cpu", "float32")
    for request, found in zip(requests, made.generate(requests), strict=True):
        same(found, made.generate([request])[0], 1)
