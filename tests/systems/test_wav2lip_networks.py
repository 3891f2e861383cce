"""Wav2Lip's networks: names, goldens, forms, small configurations, and the detector against a loop over places."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from bench import conformance
from bench.api import Unscorable
from bench.detfill import fill_module
from bench.faces.s3fd import LEAST_SIDE, S3FD, Maps, S3fdDetector, decode, faces_of
from bench.systems.wav2lip import losses
from bench.systems.wav2lip.adapters_wav2lip import OPS
from bench.systems.wav2lip.blocks import ConvBN, folded
from bench.systems.wav2lip.discriminator import QualityDiscriminator
from bench.systems.wav2lip.expert import SmallSyncNet, SyncNetColor
from bench.systems.wav2lip.generator import GeneratorSizes, Wav2LipGenerator

ROOT = Path(__file__).parents[2]
SMALL = GeneratorSizes(64, 4, (4, 6, 8, 8, 8), (1, 1, 1, 1, 1), 8, (4, 4, 6, 8), (8, 8, 8, 6, 4, 4), 4)
PARAMETERS = {"generator": 36_298_035, "syncnet_color": 16_435_072, "disc_qual": 14_113_793}


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("name", "made"),
    [
        ("generator", Wav2LipGenerator),
        ("syncnet_color", SyncNetColor),
        ("disc_qual", QualityDiscriminator),
        ("s3fd", S3FD),
    ],
)
def test_names_and_shapes_are_the_official_ones(name: str, made: type[nn.Module]) -> None:
    path = ROOT / "bench" / "manifests" / f"wav2lip_{name}.json"
    manifest = json.loads(path.read_text(encoding="utf-8"))["tensors"]
    network = made()
    assert {key: (list(t.shape), str(t.dtype)) for key, t in network.state_dict().items()} == {
        key: (entry["shape"], f"torch.{entry['dtype']}") for key, entry in manifest.items()
    }
    if name in PARAMETERS:
        assert sum(p.numel() for p in network.parameters()) == PARAMETERS[name]


@pytest.mark.parametrize("op", sorted(OPS))
def test_goldens(op: str) -> None:
    results = conformance.run(ROOT / "tests" / "golden", ["tfg"], [op], tables={"tfg": OPS})
    assert [result.detail for result in results if not result.passed] == []


def small(generator_seed: int = 0) -> Wav2LipGenerator:
    network = fill_module(Wav2LipGenerator(SMALL), 2.0)
    # the rule's variances are near 1 everywhere; other ones show whether they are used
    draws = torch.Generator().manual_seed(generator_seed)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_var.copy_(torch.rand(module.running_var.shape, generator=draws) + 0.2)
    return network.eval()


def inputs(frames: int) -> tuple[torch.Tensor, torch.Tensor]:
    draws = torch.Generator().manual_seed(1)
    speech = torch.rand(2, frames, 1, 80, 16, generator=draws) * 8 - 4
    return speech, torch.rand(2, 6, frames, 64, 64, generator=draws)


def test_the_training_form_is_the_inference_form_frame_by_frame() -> None:
    network = small()
    speech, face = inputs(3)
    with torch.no_grad():
        made = network(speech, face)
        each = torch.stack([network(speech[:, t], face[:, :, t]) for t in range(3)], dim=2)
    assert made.shape == (2, 3, 3, 64, 64)
    torch.testing.assert_close(made, each, atol=1e-6, rtol=1e-5)
    assert (made[:, :, 0] - made[:, :, 1]).abs().max() > 1e-3


def test_frames_are_flattened_time_first() -> None:
    """Statistics of a batch do not tell the order; what a batch normalisation sees first does."""
    seen: list[torch.Tensor] = []
    network = small()
    network.face_encoder_blocks[0].register_forward_hook(lambda _m, args, _o: seen.append(args[0]))
    speech, face = inputs(3)
    with torch.no_grad():
        network(speech, face)
    assert torch.equal(seen[0][1], face[1, :, 0])
    assert torch.equal(seen[0][2], face[0, :, 1])


def test_folding_changes_rounding_alone() -> None:
    network = small()
    speech, face = inputs(1)
    with torch.no_grad():
        before = network(speech[:, 0], face[:, :, 0])
        after = folded(copy.deepcopy(network))
        assert not [m for m in after.modules() if isinstance(m, nn.BatchNorm2d)]
        torch.testing.assert_close(after(speech[:, 0], face[:, :, 0]), before, atol=1e-5, rtol=1e-4)


def test_the_skip_comes_after_the_normalisation_and_before_the_relu() -> None:
    layer = fill_module(ConvBN(4, 4, residual=True), 1.0).eval()
    x = torch.randn(1, 4, 5, 5, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(layer(x), F.relu(layer.conv_block[1](layer.conv_block[0](x)) + x))
    with pytest.raises(ValueError, match="keeps its shape"):
        ConvBN(4, 8, residual=True)


def test_small_networks_of_the_same_classes_learn() -> None:
    torch.manual_seed(0)
    generator, expert, judge = Wav2LipGenerator(SMALL), SmallSyncNet(), QualityDiscriminator(4, 64)
    expert.eval().requires_grad_(False)
    speech, face = inputs(5)
    made = generator(speech, face)
    loss = losses.pixel_loss(made, face[:, 3:]) + losses.sync_loss(expert, speech[:, 0], made)
    loss = loss + losses.deceived(judge(made))
    loss.backward()
    assert math.isfinite(float(loss))
    silent = [name for name, p in generator.named_parameters() if p.grad is None or not torch.isfinite(p.grad).all()]
    assert silent == []
    assert SyncNetColor(4, 64)(speech[:, 0], losses.lower_halves(made))[1].shape == (2, 64)


@pytest.mark.parametrize("wrong", [{"image": 100}, {"image": 0}, {"widths": (1, 2)}, {"decoder": (1,) * 5}])
def test_impossible_sizes_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"multiple|needed"):
        GeneratorSizes(**wrong)  # type: ignore[arg-type]


# --------------------------------------------------------------------------- losses


def test_cross_entropy_is_finite_at_both_ends_and_above_one() -> None:
    assert float(losses.cross_entropy(torch.tensor([1.0 + 1e-6]), 1.0)) == 0.0
    assert float(losses.cross_entropy(torch.zeros(3), 1.0)) == 100.0
    assert float(losses.cross_entropy(torch.tensor([0.25, 0.5]), torch.tensor([1.0, 0.0]))) == pytest.approx(
        (math.log(4) + math.log(2)) / 2
    )


def test_a_silent_network_has_cosine_zero() -> None:
    alike = losses.cosine(torch.zeros(1, 4), torch.ones(1, 4))
    assert float(alike) == 0.0
    assert float(losses.cosine_cross_entropy(torch.zeros(1, 4), torch.ones(1, 4), 1.0)) == 100.0


def test_lower_halves_are_frame_by_frame() -> None:
    faces = torch.arange(2 * 3 * 5 * 4 * 4, dtype=torch.float32).reshape(2, 3, 5, 4, 4)
    stacked = losses.lower_halves(faces)
    assert stacked.shape == (2, 15, 2, 4)
    assert torch.equal(stacked[1, 3 * 2 + 1], faces[1, 1, 2, 2:])


def test_the_two_players_want_opposite_things() -> None:
    sure, fooled = torch.full((4, 1), 0.9), torch.full((4, 1), 0.1)
    assert float(losses.deceived(sure)) < float(losses.deceived(fooled))
    assert float(losses.discerning(sure, fooled)) == pytest.approx(-2 * math.log(0.9), rel=1e-5)


# --------------------------------------------------------------------------- the detector


def slow_decode(scores: list[np.ndarray], offsets: list[np.ndarray]) -> np.ndarray:
    """Place by place as the source does: candidates above 0.05, suppression at 0.3, faces above 0.5."""
    rows = []
    for tap, (score, offset) in enumerate(zip(scores, offsets, strict=True)):
        stride = 2 ** (tap + 2)
        for y, x in zip(*np.where(score > 0.05), strict=True):
            a, b, c, d = offset[:, y, x].astype(np.float64)
            w, h = 4 * stride * math.exp(0.2 * c), 4 * stride * math.exp(0.2 * d)
            cx = stride / 2 + x * stride + 0.1 * a * 4 * stride
            cy = stride / 2 + y * stride + 0.1 * b * 4 * stride
            rows.append((cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2, score[y, x]))
    kept: list[tuple[float, ...]] = []
    for row in sorted(rows, key=lambda r: -r[4]):
        if all(union_share(row, other) <= 0.3 for other in kept):
            kept.append(row)
    return np.array([row for row in kept if row[4] > 0.5]).reshape(-1, 5)


def union_share(a: tuple[float, ...], b: tuple[float, ...]) -> float:
    width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]) + 1)
    height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]) + 1)
    areas = [(r[2] - r[0] + 1) * (r[3] - r[1] + 1) for r in (a, b)]
    return width * height / (sum(areas) - width * height)


@pytest.mark.parametrize("seed", range(4))
def test_decoding_is_that_of_a_loop_over_all_candidates(seed: int) -> None:
    rng = np.random.default_rng(seed)
    shapes = [(20, 30), (10, 15), (5, 8), (7, 8), (4, 4), (2, 2)]
    scores = [rng.beta(0.6, 1.2, shape).astype(np.float32) for shape in shapes]
    offsets = [rng.normal(0, 1.5, (4, *shape)).astype(np.float32) for shape in shapes]
    found, expected = decode(scores, offsets), slow_decode(scores, offsets)
    assert len(found) > 5
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-3)


def test_no_face_is_an_empty_array() -> None:
    shapes = [(4, 4), (2, 2)]
    maps = Maps([torch.zeros(2, 2, *s) for s in shapes], [torch.zeros(2, 4, *s) for s in shapes])
    assert [faces.shape for faces in faces_of(maps)] == [(0, 5), (0, 5)]  # both scores are equal: exactly 0.5


def test_the_detector_does_not_depend_on_its_batches_and_refuses_tiny_pictures() -> None:
    network = fill_module(S3FD(), 2.45).eval()
    with torch.no_grad():
        network.conv3_3_norm_mbox_conf.bias[3] += 3.0
    frames = np.random.default_rng(0).integers(0, 256, (3, 40, 36, 3), np.uint8)
    one, three = S3fdDetector(network, "cpu", 1)(frames), S3fdDetector(network, "cpu", 3)(frames)
    assert sum(map(len, one)) > 0
    for a, b in zip(one, three, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-2)
    with pytest.raises(Unscorable, match="32 px") as caught:
        S3fdDetector(network, "cpu")(frames[:, : LEAST_SIDE - 1])
    assert caught.value.kind == "no_face"


def test_where_memory_runs_out_the_batch_is_halved() -> None:
    class Hungry(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.sizes: list[int] = []

        def forward(self, x: torch.Tensor) -> Maps:
            self.sizes.append(len(x))
            if len(x) > 2:
                raise torch.OutOfMemoryError
            return Maps([torch.zeros(len(x), 2, 1, 1)], [torch.zeros(len(x), 4, 1, 1)])

    class Starving(nn.Module):
        def forward(self, x: torch.Tensor) -> Maps:
            raise torch.OutOfMemoryError

    network = Hungry()
    frames = np.zeros((5, 32, 32, 3), np.uint8)
    assert len(S3fdDetector(network, "cpu", 8)(frames)) == 5  # type: ignore[arg-type]
    assert network.sizes == [5, 4, 2, 2, 1]
    with pytest.raises(torch.OutOfMemoryError):
        S3fdDetector(Starving(), "cpu", 8)(frames)  # type: ignore[arg-type]
