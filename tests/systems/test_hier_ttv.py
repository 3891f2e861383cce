"""Text-to-vec as a whole: manifest, goldens, batches, training."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from bench.conformance import Case, run_case
from bench.errors import DataError
from bench.nets.weight_norm import fold_weight_norm
from bench.systems.hierspeech.adapters_ttv import OPS
from bench.systems.hierspeech.sequence import Noise, generator_noise, sequence_mask
from bench.systems.hierspeech.ttv import TextToVec, TTVBatch, TTVConfig, TTVNoise, TTVSettings
from bench.systems.hierspeech.ttv_losses import TTVLosses, ttv_losses

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "tests" / "golden" / "hierspeech"
SMALL = TTVConfig(
    inter_channels=8,
    hidden_channels=12,
    gin_channels=8,
    feature_size=16,
    text_layers=1,
    text_heads=2,
    posterior_layers=2,
    decoder_layers=2,
    flow_couplings=2,
    flow_blocks=1,
    flow_heads=2,
    duration_flows=2,
    pitch_channels=8,
    pitch_frames=10,
)


def noise(seed: int) -> Noise:
    return generator_noise(torch.Generator().manual_seed(seed))


@pytest.fixture
def net() -> TextToVec:
    """A small network, with something in the layers that begin at 0."""
    torch.manual_seed(0)
    made = TextToVec(SMALL)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
    return made.eval()


@pytest.fixture
def batch() -> TTVBatch:
    """Two clips, of 24 and 17 frames, with 9 and 7 tokens."""
    generator = torch.Generator().manual_seed(1)
    lengths, token_lengths = torch.tensor([24, 17]), torch.tensor([9, 7])
    mask = sequence_mask(lengths)
    return TTVBatch(
        tokens=torch.randint(1, 178, (2, 9), generator=generator),
        token_lengths=token_lengths,
        w2v=torch.randn(2, 16, 24, generator=generator) * mask,
        lengths=lengths,
        mel=torch.randn(2, 80, 24, generator=generator),
        mel_lengths=lengths,
        f0=torch.rand(2, 1, 96, generator=generator) * 200,
        phonemes=torch.randint(1, 178, (2, 4), generator=generator),
        phoneme_lengths=torch.tensor([4, 3]),
    )


def test_names_and_shapes_are_the_official_ones() -> None:
    manifest = json.loads((ROOT / "bench" / "manifests" / "hier_ttv_v1.json").read_text(encoding="utf-8"))
    with torch.device("meta"):
        net = TextToVec(TTVConfig.from_model_section(manifest["config"]))
    ours = {name: list(tensor.shape) for name, tensor in net.state_dict().items()}
    assert ours == {name: tensor["shape"] for name, tensor in manifest["tensors"].items()}
    assert sum(tensor.numel() for tensor in net.state_dict().values()) == manifest["n_elements"]


@pytest.mark.parametrize("op", OPS)
def test_goldens(op: str) -> None:
    result = run_case(Case("hierspeech", op, op, GOLDEN / f"{op}.safetensors"), OPS[op])
    assert result.passed, result.detail


def test_the_tiny_design_can_be_built_of_the_same_classes() -> None:
    sizes = {"inter_channels": 64, "hidden_channels": 64, "gin_channels": 64, "feature_size": 128, "pitch_channels": 64}
    layers = {"text_layers": 2, "posterior_layers": 4, "decoder_layers": 4, "flow_couplings": 2, "flow_blocks": 1}
    with torch.device("meta"):
        net = TextToVec(TTVConfig(**sizes, **layers, text_heads=2, text_kernel=5))
    # 2.67 million: hierspeech.md, T.4
    assert sum(p.numel() for p in net.parameters()) == 2_669_168


def test_a_text_in_a_batch_sounds_as_it_does_alone(net: TextToVec, batch: TTVBatch) -> None:
    settings = TTVSettings(max_token_frames=6)
    g = net.style(batch.mel, batch.mel_lengths)
    both = net.infer(batch.tokens, batch.token_lengths, g, [noise(1), noise(2)], settings)
    for item, count in enumerate(batch.token_lengths.tolist()):
        tokens = batch.tokens[item : item + 1, :count]
        alone = net.infer(tokens, torch.tensor([count]), g[item : item + 1], [noise(item + 1)], settings)
        size = int(both.lengths[item])
        assert alone.lengths.tolist() == [size]
        assert alone.durations[0].tolist() == both.durations[item, :count].tolist()
        torch.testing.assert_close(both.w2v[item, :, :size], alone.w2v[0], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(both.pitch[item, :, : 4 * size], alone.pitch[0], rtol=1e-4, atol=1e-5)
        assert not both.w2v[item, :, size:].any()
        assert not both.pitch[item, :, 4 * size :].any()
    assert both.w2v.shape[2] == both.lengths.max()


def test_styles_are_blended_and_a_ratio_of_0_needs_no_denoised_prompt(net: TextToVec, batch: TTVBatch) -> None:
    whole = torch.tensor([24, 24])
    first, second = net.style(batch.mel, whole)
    torch.testing.assert_close(net.blended_style(batch.mel, 0.25)[0], 0.75 * first + 0.25 * second)
    spoilt = torch.cat([batch.mel[:1], torch.full_like(batch.mel[:1], torch.nan)])
    torch.testing.assert_close(net.blended_style(spoilt, 0.0)[0], first)
    with pytest.raises(ValueError, match="two rows"):
        net.blended_style(batch.mel[:1], 0.5)


def test_settings_do_what_they_say(net: TextToVec, batch: TTVBatch) -> None:
    def durations(**changes: float) -> torch.Tensor:
        settings = replace(TTVSettings(), **changes)
        return net.infer_noise_control(batch.tokens[:1], batch.mel, noise(1), settings, 0.8).durations

    usual = durations()
    assert (usual >= 1).all()  # rounded up, so every token is heard
    assert durations(length_scale=3.0).sum() > 2 * usual.sum()
    assert durations(max_token_frames=2).max() <= 2
    assert torch.equal(durations(noise_scale=0.9), usual)
    assert not torch.equal(durations(noise_scale_w=0.1), usual)


def test_no_durations_are_an_error_for_people_and_no_frames_one_frame(net: TextToVec, batch: TTVBatch) -> None:
    affine = net.dp.flows[0]
    with torch.no_grad():
        affine.m.fill_(500.0)
    said = net.infer_noise_control(batch.tokens[:1], batch.mel, noise(1))
    assert said.w2v.shape == (1, 16, 1)  # exp underflows everywhere: one frame, as in the official code
    assert not said.durations.any()
    assert said.w2v.isfinite().all()
    with torch.no_grad():
        affine.m.fill_(-500.0)
    with pytest.raises(DataError, match="no numbers"):
        net.infer_noise_control(batch.tokens[:1], batch.mel, noise(1))
    assert net.infer_noise_control(
        batch.tokens[:1], batch.mel, noise(1), TTVSettings(max_token_frames=3)
    ).durations.tolist() == [[3] * 9]


def test_reconstruction_keeps_the_time_axis_and_does_not_see_padding(net: TextToVec, batch: TTVBatch) -> None:
    g, eps = net.style(batch.mel, batch.mel_lengths), torch.randn(2, 8, 24)
    both = net.reconstruct(batch.w2v, batch.lengths, g, eps)
    assert both.w2v.shape == batch.w2v.shape
    alone = net.reconstruct(batch.w2v[1:, :, :17], batch.lengths[1:], g[1:], eps[1:, :, :17])
    torch.testing.assert_close(both.w2v[1:, :, :17], alone.w2v, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(both.pitch[1:, :, :68], alone.pitch, rtol=1e-4, atol=1e-5)
    mean = net.reconstruct(batch.w2v, batch.lengths, g, None)
    assert not torch.allclose(mean.z, both.z)
    torch.testing.assert_close(net.reconstruct(batch.w2v, batch.lengths, g, torch.zeros_like(eps)).w2v, mean.w2v)


def test_folding_changes_nothing_that_is_heard(net: TextToVec, batch: TTVBatch) -> None:
    before = net.infer_noise_control(batch.tokens[:1], batch.mel, noise(1))
    after = fold_weight_norm(net).infer_noise_control(batch.tokens[:1], batch.mel, noise(1))
    torch.testing.assert_close(after.w2v, before.w2v, rtol=1e-5, atol=1e-6)
    assert not [name for name in net.state_dict() if name.endswith("weight_g")]


def losses_of(net: TextToVec, batch: TTVBatch, seed: int = 5, with_durations: bool = True) -> TTVLosses:
    drawn = TTVNoise.draw(net.config, batch, torch.Generator().manual_seed(seed))
    return ttv_losses(net(batch, drawn, with_durations), batch)


def test_gradients_reach_every_parameter_and_the_durations_no_other(net: TextToVec, batch: TTVBatch) -> None:
    losses_of(net, batch).total.backward()
    lacking = {name for name, p in net.named_parameters() if p.grad is None or not p.grad.isfinite().all()}
    assert not lacking
    net.zero_grad()
    losses_of(net, batch).durations.backward()
    assert {name.split(".")[0] for name, p in net.named_parameters() if p.grad is not None} == {"dp"}
    net.zero_grad()
    losses_of(net, batch).f0.backward()
    assert {name.split(".")[0] for name, p in net.named_parameters() if p.grad is not None} == {"pp"}


def test_durations_can_be_left_out_and_change_nothing_else(net: TextToVec, batch: TTVBatch) -> None:
    without, with_them = losses_of(net, batch, with_durations=False), losses_of(net, batch)
    assert without.durations == 0
    torch.testing.assert_close(without.total, with_them.total - with_them.durations)


def test_training_forward_aligns_and_slices(net: TextToVec, batch: TTVBatch) -> None:
    drawn = TTVNoise.draw(net.config, batch, torch.Generator().manual_seed(0))
    out = net(batch, replace(drawn, slices=torch.tensor([0.999, 0.0])))
    assert out.durations.sum(1).tolist() == batch.lengths.tolist()
    assert (out.durations[0] >= 1).all()
    assert out.durations[1, 7:].tolist() == [0, 0]
    assert out.starts.tolist() == [14, 0]  # 24 - 10
    assert out.pitch.shape == (2, 1, 40)
    short = replace(batch, w2v=batch.w2v[:, :, :9], lengths=torch.tensor([9, 9]), f0=batch.f0[:, :, :36])
    short = replace(short, mel=batch.mel[:, :, :9], mel_lengths=torch.tensor([9, 9]))
    out = net(short, TTVNoise.draw(net.config, short, torch.Generator().manual_seed(0)))
    assert out.pitch.shape == (2, 1, 36)  # clips that are shorter than the slice are taken whole
    assert out.starts.tolist() == [0, 0]


def test_a_few_steps_lower_the_loss_and_can_be_repeated(batch: TTVBatch) -> None:
    def curve(steps: int) -> list[float]:
        torch.manual_seed(0)
        net = TextToVec(SMALL).train()
        optimiser = torch.optim.AdamW(net.parameters(), 1e-2, betas=(0.8, 0.99), eps=1e-9)
        generator, values = torch.Generator().manual_seed(2), []
        for _ in range(steps):
            losses = ttv_losses(net(batch, TTVNoise.draw(SMALL, batch, generator)), batch)
            optimiser.zero_grad()
            losses.total.backward()
            optimiser.step()
            values.append(float(losses.total.detach()))
        return values

    first = curve(12)
    assert sum(first[-3:]) < 0.8 * sum(first[:3])
    assert curve(3) == first[:3]
