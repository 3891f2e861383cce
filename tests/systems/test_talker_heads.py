"""The patch encoders, the diffusion heads and the stop classifier of the talker."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor

from bench.conformance import Case, run_case
from bench.detfill import fill_module
from bench.systems.talker.adapters_heads import OPS
from bench.systems.talker.flow_matching import CFM, Draws, frame_error, time_grid
from bench.systems.talker.local_dit import DitConfig, LocDiT
from bench.systems.talker.nar import Block, ContinuousDecoder, PatchEncoder, Rotary
from bench.systems.talker.stop import StopPredictor, positive_weight, stop_labels, stop_loss

MANIFEST = Path(__file__).parents[2] / "bench" / "manifests" / "talker_speech_llm.json"
GOLDEN = Path(__file__).parents[1] / "golden" / "talker"
CASES = {
    "nar_rmsnorm_rope": "nar_rmsnorm_rope",
    "nar_block": "nar_block",
    "nar_decoder": "nar_decoder",
    "patch_encoder": "patch_encoder",
    "patch_encoder_full": "patch_encoder_full",
    "time_embedding": "time_embedding",
    "locdit": "locdit",
    "locdit_full": "locdit_full",
    "cfm_sample_50": "cfm_sample",
    "cfm_sample_cfg1": "cfm_sample",
    "cfm_sample_cfg2": "cfm_sample",
    "cfm_sample_plain": "cfm_sample",
    "cfm_loss": "cfm_loss",
    "cfm_loss_one": "cfm_loss",
    "cfm_zero_star": "cfm_zero_star",
    "stop_predictor": "stop_predictor",
    "stop_labels": "stop_labels",
}
SIZES = DitConfig(feat_dim=32, hidden_size=32, n_layer=2, n_head=4)


def head() -> CFM:
    """A small head with fixed weights."""
    made = CFM(SIZES, 6, 5)
    fill_module(made, gain=1.5, keep=("estimator.decoder.rope.w",))
    return made.eval()


def conditions(rows: int, seed: int = 0) -> dict[str, Tensor]:
    random = torch.Generator().manual_seed(seed)
    shapes = {"mu": (32,), "noise": (6, 4), "cond": (6, 4), "global_cond": (5,)}
    return {name: torch.randn(rows, *shape, generator=random) for name, shape in shapes.items()}


@pytest.mark.parametrize("name", CASES)
def test_goldens(name: str) -> None:
    result = run_case(Case("talker", name, CASES[name], GOLDEN / f"{name}.safetensors"), OPS[CASES[name]])
    assert result.passed, result.detail


@pytest.mark.parametrize(
    ("prefix", "module"),
    [
        ("speech_patch_encoder", lambda: PatchEncoder(1024, 1024, 4, 8)),
        ("motion_patch_encoder", lambda: PatchEncoder(1024, 1024, 4, 8)),
        ("speech_cfm", lambda: CFM(DitConfig(), 32, 256)),
        ("motion_cfm", lambda: CFM(DitConfig(), 40, 40)),
        ("head_stop", lambda: StopPredictor(1024)),
    ],
)
def test_full_size_modules_have_the_official_names_and_shapes(prefix: str, module: object) -> None:
    official = json.loads(MANIFEST.read_text())["tensors"]
    with torch.device("meta"):
        made = module()  # type: ignore[operator]
    own = {f"{prefix}.{name}": list(tensor.shape) for name, tensor in made.state_dict().items()}
    assert own == {name: e["shape"] for name, e in official.items() if name.startswith(f"{prefix}.")}


def test_a_last_block_for_some_positions_gives_what_the_whole_one_gives() -> None:
    block, x = Block(32, 4), torch.randn(2, 9, 32)
    table = Rotary(8)(9)
    whole = block(x, table)
    for wanted in (slice(0, 1), slice(5, 9)):
        torch.testing.assert_close(block(x, table, None, wanted), whole[:, wanted], rtol=1e-5, atol=1e-6)
    decoder = ContinuousDecoder(32, 32, 3, 4)
    torch.testing.assert_close(decoder.tail(decoder.input_proj(x), 4), decoder(x)[:, -4:], rtol=1e-5, atol=1e-6)


def test_the_rotary_table_ends_somewhere() -> None:
    with pytest.raises(ValueError, match="12 is longer than the rotary table of 8 rows"):
        Rotary(4, rows=8)(12)


def test_recomputing_changes_no_gradient() -> None:
    encoder, x = PatchEncoder(12, 32, 2, 4), torch.randn(2, 3, 4, 12)
    gradients = []
    for recompute in (False, True):
        encoder.recompute = recompute
        encoder.zero_grad()
        torch.autograd.backward(encoder(x).square().mean())
        gradients.append([p.grad.clone() for p in encoder.parameters() if p.grad is not None])
    assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))


def test_a_patch_is_encoded_alone() -> None:
    encoder, x = PatchEncoder(12, 32, 2, 4), torch.randn(2, 3, 4, 12)
    torch.testing.assert_close(encoder(x)[1, 2], encoder(x[1:, 2:])[0, 0], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("steps", "zero_star", "calls"), [(1, True, 0), (10, True, 9), (49, True, 47), (3, False, 3)])
def test_how_often_the_estimator_is_asked(
    steps: int, zero_star: bool, calls: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, given, asked = head(), conditions(2), []
    whole = LocDiT.velocity

    def counted(self: LocDiT, x: Tensor, first: Tensor, context: Tensor) -> Tensor:
        asked.append(len(x))
        return whole(self, x, first, context)

    monkeypatch.setattr(LocDiT, "velocity", counted)
    with torch.no_grad():
        x = made.sample(steps=steps, cfg=2.0, zero_star=zero_star, temperature=0.5, **given)
    assert asked == [4] * calls  # both halves at once
    if not calls:
        assert torch.equal(x, given["noise"] * 0.5)


def test_no_guidance_is_half_the_work_and_the_same_result() -> None:
    made, given = head(), conditions(3)
    with torch.no_grad():
        without = made.sample(steps=10, cfg=1.0, **given)
        nearly = made.sample(steps=10, cfg=1.0 + 1e-9, **given)
    torch.testing.assert_close(without, nearly, rtol=1e-4, atol=1e-5)


def test_rows_and_a_kept_schedule_do_not_change_a_result() -> None:
    made, given = head(), conditions(3)
    with torch.no_grad():
        together = made.sample(steps=10, cfg=2.0, schedule=made.schedule(10), **given)
        alone = made.sample(steps=10, cfg=2.0, **{name: tensor[1:2] for name, tensor in given.items()})
    torch.testing.assert_close(together[1:2], alone, rtol=1e-5, atol=1e-5)


def test_the_velocity_of_a_sampler_is_that_of_training() -> None:
    """One step without guidance: noise minus the whole way of the velocity at t = 1."""
    made, given = head(), conditions(2)
    one, none = torch.ones(2), torch.zeros(2)
    with torch.no_grad():
        x = made.sample(steps=1, cfg=1.0, zero_star=False, **given)
        v = made.estimator(given["noise"], given["mu"], one, given["cond"], given["global_cond"], none)
    torch.testing.assert_close(x, given["noise"] - v, rtol=1e-5, atol=1e-5)


def test_time_falls_from_noise_to_data() -> None:
    grid = time_grid(20, 1.0)
    assert grid[0] == 1.0 and abs(float(grid[-1])) < 1e-6 and bool((grid[1:] < grid[:-1]).all())
    with pytest.raises(ValueError, match="at least 1 step"):
        time_grid(0, 1.0)


def test_draws_come_in_the_official_order() -> None:
    cond, data = torch.zeros(5, 6, 8), torch.zeros(5, 6, 4)
    draws = Draws.of(torch.Generator().manual_seed(3), cond, data)
    torch.manual_seed(3)
    for name, expected in {
        "mu_drop": torch.rand(5),
        "cond_drop": torch.rand(5),
        "cond_noise_share": torch.rand(5),
        "cond_noise": torch.randn_like(cond),
        "r": torch.randn(5),
        "t": torch.randn(5),
        "r_mask": torch.rand(5),
        "z": torch.randn_like(data),
    }.items():
        assert torch.equal(getattr(draws, name), expected), name


def test_conditions_are_dropped_at_their_rates() -> None:
    made, rows = CFM(SIZES, 6, 5, mu_drop_rate=0.4, cond_drop_rate=0.2), 2000
    data, mu, cond = torch.ones(rows, 6, 4), torch.ones(rows, 32), torch.ones(rows, 6, 4)
    noised = made.noised(data, mu, cond, Draws.of(torch.Generator().manual_seed(0), cond, data))
    assert abs(float(noised.mu[:, 0].mean()) - 0.6) < 0.04
    assert abs(float(noised.cond[:, 0, 0].mean()) - 0.8) < 0.04
    torch.testing.assert_close(noised.y - noised.t[:, None, None] * noised.target, data)


def test_a_head_learns_one_patch() -> None:
    torch.manual_seed(0)
    made, random = CFM(SIZES, 6, 5, 0.0, 0.0), torch.Generator().manual_seed(1)
    adam = torch.optim.Adam(made.parameters(), 3e-3)
    given = {name: tensor.expand(64, *tensor.shape[1:]) for name, tensor in conditions(1).items()}
    wanted = given.pop("noise")
    for _ in range(150):
        adam.zero_grad()
        torch.autograd.backward(made.loss(wanted, given["mu"], given["cond"], given["global_cond"], random))
        adam.step()
    with torch.no_grad():
        x = made.sample(steps=20, cfg=1.0, noise=torch.randn(64, 6, 4, generator=random), **given)
    assert (x - wanted).abs().mean() < 0.35 * wanted.abs().mean()


def test_only_frames_of_the_mask_count() -> None:
    velocity, target = torch.randn(2, 6, 4), torch.randn(2, 6, 4)
    mask = torch.tensor([[1, 1, 0, 0], [1, 0, 0, 0]])[:, None]
    error = (velocity - target).square().mean(1)
    expected = (error[0, 0] + error[0, 1] + error[1, 0]) / 3
    torch.testing.assert_close(frame_error(velocity, target, mask), expected)
    torch.testing.assert_close(frame_error(velocity, target, None), error.mean())


def test_stop_labels_by_hand() -> None:
    labels = stop_labels(torch.tensor([2, 1, 0, 3, 0]), torch.tensor([5, 1, 2, 9, 3]), 8)
    assert labels.tolist() == [
        [-100, -100, 0, 0, -100, -100, 1, -100],
        [-100, 1, -100, -100, -100, -100, -100, -100],
        [-100, 1, -100, -100, -100, -100, -100, -100],
        [-100, -100, -100, 0, 0, 0, 0, 0],  # cut: it never stops
        [-100, -100, 1, -100, -100, -100, -100, -100],
    ]
    assert positive_weight(labels) == 0.5  # two negatives, four rows with a positive
    assert positive_weight(labels[3:4]) == 1.0
    long = stop_labels(torch.tensor([0, 0]), torch.tensor([187, 188]), 300)
    assert (long == 1).sum(1).tolist() == [1, 0]
    slow = stop_labels(torch.tensor([0]), torch.tensor([8]), 8, fps=50.0, patch_size=3, ignore_seconds=0.1)
    assert slow.tolist() == [[0, 0, 0, 0, 0, -100, -100, 1]]


def test_the_stop_loss_weighs_positives() -> None:
    logits = torch.tensor([[0.3, -0.2, 9.0, 1.1]])
    labels = torch.tensor([[0, 0, -100, 1]])
    weight = 2 * 0.3
    negative = torch.nn.functional.softplus(logits[0, :2]).sum()
    positive = weight * torch.nn.functional.softplus(-logits[0, 3])
    torch.testing.assert_close(stop_loss(logits, labels), (negative + positive) / 3)
    assert stop_loss(logits, torch.full_like(labels, -100)) == 0
