"""The talking face of the shared-latent model: windows, networks, losses."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from bench.detfill import fill_module
from bench.systems.hierspeech.face import losses
from bench.systems.hierspeech.face.blocks import folded
from bench.systems.hierspeech.face.declare import VGG19
from bench.systems.hierspeech.face.discriminator import TINY_CHANNELS, FaceDiscriminator
from bench.systems.hierspeech.face.generator import TINY, TTVFace, TTVFaceSizes, masked
from bench.systems.hierspeech.face.perceptual import LAYERS, PerceptualLoss, manifest, official
from bench.systems.hierspeech.face.reference import closed_frame, mouth_opening
from bench.systems.hierspeech.face.windows import frame_count, window_indices
from bench.systems.wav2lip.expert import SmallSyncNet, SyncNetColor
from bench.systems.wav2lip.losses import lower_halves

SMALL = TTVFaceSizes(64, 4, (4, 6, 8, 8, 8), 8, (8, 8, 8, 6, 4, 4), 4, 16, 4)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def count(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


# --------------------------------------------------------------------------- windows


@pytest.mark.parametrize(("vectors", "window"), [(40, 10), (9, 10), (1, 10), (0, 10), (64, 6), (7, 2), (12, 8)])
def test_a_window_is_centred_on_the_frames_own_vectors(vectors: int, window: int) -> None:
    found = window_indices(vectors, window)
    assert found.shape == (frame_count(vectors), window)
    for frame, row in enumerate(found):
        wanted = [2 * frame + 0.5 + place - (window - 1) / 2 for place in range(window)]
        assert row.tolist() == [min(max(int(w), 0), vectors - 1) if w > 0 else 0 for w in wanted]


def test_a_window_of_ten_is_two_frames_on_either_side() -> None:
    assert window_indices(40)[5].tolist() == list(range(2 * 3, 2 * 7 + 2))
    with pytest.raises(ValueError, match="even number"):
        window_indices(10, 5)


# --------------------------------------------------------------------------- networks


def test_the_printed_sizes() -> None:
    with torch.device("meta"):
        assert round(count(TTVFace()) / 1e6, 1) == 44.2
        assert round(count(TTVFace(TINY)) / 1e6, 2) == 1.42
        assert round(count(TTVFace(replace(TINY, features=256))) / 1e6, 1) == 0.9
    assert round(count(FaceDiscriminator()) / 1e6, 1) == 3.9
    assert round(count(FaceDiscriminator(TINY_CHANNELS)) / 1e6, 3) == 0.084


def inputs(sizes: TTVFaceSizes, batch: int = 2) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    draws = torch.Generator().manual_seed(0)
    faces = torch.rand(2, batch, 3, sizes.image, sizes.image, generator=draws)
    return masked(faces[0]), faces[1], torch.randn(batch, sizes.window, sizes.features, generator=draws)


def filled(sizes: TTVFaceSizes = SMALL) -> TTVFace:
    network = fill_module(TTVFace(sizes), 2.0, keep=("feat_mean", "feat_std", "silence")).eval()
    network.set_statistics(torch.linspace(-1, 1, sizes.features), torch.linspace(0, 2, sizes.features))
    return network


@pytest.mark.parametrize("image", [64, 96, 128, 256])
def test_every_resolution(image: int) -> None:
    sizes = replace(SMALL, image=image)
    network = filled(sizes)
    with torch.no_grad():
        maps = network.pose_encoder(torch.rand(1, 3, image, image))
        assert [m.shape[-1] for m in maps] == [image, image // 2, image // 4, image // 8, image // 16, image // 32, 1]
        assert network(*inputs(sizes, 1)).shape == (1, 3, image, image)


def test_the_first_layer_in_two_parts_is_the_whole_layer() -> None:
    network = filled()
    pose, identity, speech = inputs(SMALL)
    seen: list[torch.Tensor] = []
    network.decoder[1].register_forward_hook(lambda _m, args, _o: seen.append(args[0]))
    with torch.no_grad():
        network(pose, identity, speech)
        fused = network.fuse(torch.cat([network.pose_encoder(pose)[-1], network.identity_encoder(identity)[-1]], 1))
        standard = ((speech - network.feat_mean) / network.feat_std).reshape(2, -1, 1, 1)
        torch.testing.assert_close(seen[0], network.decoder[0](torch.cat([fused, standard], 1)), atol=1e-4, rtol=1e-4)


def test_an_identity_is_encoded_once_for_a_clip() -> None:
    network = filled()
    pose, identity, speech = inputs(SMALL, 3)
    with torch.no_grad():
        one = network.identity_encoder(identity[:1])
        shared = network.decode(network.pose_encoder(pose), one, network.hear(speech))
        torch.testing.assert_close(
            shared, network(pose, identity[:1].expand(3, -1, -1, -1), speech), atol=1e-6, rtol=1e-4
        )


def test_a_clip_axis_and_folding_change_nothing() -> None:
    network = filled()
    pose, identity, speech = inputs(SMALL, 6)
    with torch.no_grad():
        flat = network(pose, identity, speech)
        clips = network(*(x.unflatten(0, (2, 3)) for x in (pose, identity, speech)))
        assert torch.equal(clips.flatten(0, 1), flat)
        torch.testing.assert_close(folded(copy.deepcopy(network))(pose, identity, speech), flat, atol=1e-5, rtol=1e-4)


def test_speech_and_identity_move_the_face() -> None:
    network = filled()
    pose, identity, speech = inputs(SMALL)
    with torch.no_grad():
        base = network(pose, identity, speech)
        assert (network(pose, identity, speech + 1) - base).abs().max() > 1e-4
        assert (network(pose, identity.flip(0), speech) - base).abs().max() > 1e-4


def test_statistics_have_a_floor_and_are_part_of_the_checkpoint() -> None:
    state = filled().state_dict()
    assert state["feat_std"].min() == pytest.approx(1e-3)
    assert {"feat_mean", "feat_std", "silence"} <= state.keys()
    again = TTVFace(SMALL)
    again.load_state_dict(state, strict=True)
    assert torch.equal(again.feat_mean, state["feat_mean"])


def test_closed_lips_come_from_silence_and_the_masked_reference() -> None:
    network = filled()
    network.silence.copy_(torch.randn(SMALL.window, SMALL.features, generator=torch.Generator().manual_seed(1)))
    _, reference, _ = inputs(SMALL)
    with torch.no_grad():
        expected = network(masked(reference), reference, network.silence.expand(2, -1, -1))
        assert torch.equal(network.silenced(reference), expected)
    assert (masked(reference)[:, :, 32:] == 0).all()
    assert torch.equal(masked(reference)[:, :, :32], reference[:, :, :32])


def test_the_discriminator_is_bounded_and_judges_frame_by_frame() -> None:
    torch.manual_seed(0)
    judge = FaceDiscriminator(TINY_CHANNELS)
    faces = torch.rand(3, 3, 64, 64)
    for _ in range(30):  # training steps refine the estimate of the norms
        judge(faces)
    judge.eval()
    for conv in judge.convs:
        assert isinstance(conv, nn.Conv2d)
        assert float(torch.linalg.matrix_norm(conv.weight.detach().flatten(1), 2)) == pytest.approx(1.0, abs=0.05)
    with torch.no_grad():
        torch.testing.assert_close(judge(faces)[1:2], judge(faces[1:2]), atol=1e-6, rtol=1e-4)


def test_generator_and_discriminator_learn_together() -> None:
    torch.manual_seed(0)
    network, judge, expert = TTVFace(TINY), FaceDiscriminator(TINY_CHANNELS), SmallSyncNet().eval()
    pose, identity, speech = inputs(TINY, 5)
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-3)
    history = []
    for _ in range(6):
        made = network(pose, identity, speech)
        clip = made.unflatten(0, (1, 5)).transpose(1, 2)  # (1, 3, 5, S, S)
        lips = losses.lip_embedding(expert, clip)
        loss = losses.deceived(judge(made)) + 10 * F.l1_loss(made, identity) + 0.1 * (1 - lips.sum())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        history.append(float(F.l1_loss(made, identity).detach()))
    assert history[-1] < history[0]
    assert all(p.grad is not None for p in network.parameters())


@pytest.mark.parametrize("wrong", [{"image": 80}, {"widths": (8,)}, {"decoder": (8,)}])
def test_impossible_sizes_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"multiple|needed"):
        TTVFaceSizes(**wrong)  # type: ignore[arg-type]


# --------------------------------------------------------------------------- losses


def test_stabilised_sync_is_the_published_form_where_that_is_finite() -> None:
    draws = torch.Generator().manual_seed(0)
    x, y, d = torch.rand(3, 500, generator=draws, dtype=torch.float64)
    keep = (y - d).abs() > 1e-2
    x, y, d = x[keep], y[keep], d[keep]
    near, far = (x - y).abs(), (y - d).abs()
    published = -torch.log(1 - (near + 1e-6) / (near + far + 1e-6))
    torch.testing.assert_close(losses.stabilized_sync(x, y, d), published, atol=1e-9, rtol=1e-6)


def test_stabilised_sync_is_zero_and_finite_where_nothing_differs() -> None:
    x = torch.full((1,), 0.4, requires_grad=True)
    same = torch.full((1,), 0.4, requires_grad=True)
    loss = losses.stabilized_sync(x, same, same)
    loss.sum().backward()
    assert float(loss.detach()) == 0.0
    assert float(x.grad) == 0.0  # type: ignore[arg-type]
    assert same.grad is None  # truth and reference are not to move
    assert math.isfinite(float(losses.stabilized_sync(torch.ones(1), torch.zeros(1), torch.zeros(1))))


def test_the_triplet_pulls_to_the_truth_and_away_from_the_reference() -> None:
    true, reference = torch.zeros(1, 4), torch.ones(1, 4)
    at_truth = losses.adaptive_triplet(true, true, reference)
    assert float(at_truth) == 0.0
    assert float(losses.adaptive_triplet(reference, true, reference)) == pytest.approx(3.0)
    assert float(losses.adaptive_triplet(true, true, reference, alpha=0.5, floor=0.1)) == pytest.approx(0.1)


def test_the_game_is_the_original_one_in_logits() -> None:
    real, made = torch.tensor([1.2, -0.3]), torch.tensor([0.4, -2.0])
    p, q = torch.sigmoid(real), torch.sigmoid(made)
    assert float(losses.discerning(real, made)) == pytest.approx(float(-(p.log().mean() + (1 - q).log().mean())))
    assert float(losses.deceived(made)) == pytest.approx(float(-q.log().mean()))


def test_an_expert_sees_blue_first_in_its_own_size() -> None:
    expert = fill_module(SyncNetColor(4, 64), 2.0).eval()
    faces = torch.rand(2, 3, 5, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        plain = expert.embed_face(lower_halves(faces[:, [2, 1, 0]]))
        torch.testing.assert_close(losses.lip_embedding(expert, faces), plain)
        large = faces.repeat_interleave(2, dim=3).repeat_interleave(2, dim=4)  # bilinear halving undoes this
        torch.testing.assert_close(losses.lip_embedding(expert, large), plain, atol=1e-5, rtol=1e-3)


def test_the_perceptual_loss_is_the_sum_over_its_layers() -> None:
    torch.manual_seed(0)
    layers: list[nn.Module] = [nn.Conv2d(3, 4, 3, padding=1), nn.ReLU()]
    for _ in range(15):
        layers += [nn.Conv2d(4, 4, 3, padding=1), nn.ReLU()]
    net = nn.Sequential(*layers)
    made, true = torch.rand(2, 2, 3, 8, 8, requires_grad=True).unbind(0)
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    a, b = ((x.detach() - mean[:, None, None]) / std[:, None, None] for x in (made, true))
    wanted = {"l2": 0.0, "l1": 0.0}
    with torch.no_grad():
        for index, layer in enumerate(net):
            a, b = layer(a), layer(b)
            wanted["l2"] += LAYERS.get(index, 0.0) * float(((a - b) ** 2).mean())
            wanted["l1"] += LAYERS.get(index, 0.0) * float((a - b).abs().mean())
    for norm in ("l2", "l1"):
        loss = PerceptualLoss(net, norm)(made, true)  # type: ignore[arg-type]
        assert float(loss.detach()) == pytest.approx(wanted[norm], rel=1e-4)
    assert float(PerceptualLoss(net)(true, true).detach()) == 0.0


def test_vgg_has_the_published_names_and_is_off_without_its_file(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    tensors = manifest()
    assert tensors["features.0.weight"] == ((64, 3, 3, 3), "float32")
    assert tensors["features.34.bias"] == ((512,), "float32")
    assert tensors["classifier.6.weight"] == ((1000, 4096), "float32")
    assert len(tensors) == 38
    assert sum(math.prod(shape) for shape, _ in tensors.values()) == 143_667_240
    monkeypatch.setenv("BENCH_WEIGHTS", str(tmp_path_factory.mktemp("none")))
    assert official() is None
    assert VGG19.name == "vgg19-dcbb9e9d.pth"


# --------------------------------------------------------------------------- the reference frame


def test_the_frame_with_closed_lips() -> None:
    points = np.zeros((4, 68, 2))
    points[:, 54] = (40, 0)
    points[:, 66, 1] = (8, 2, 1, 4)
    points[2, 54] = (0, 0)  # a mouth without width
    np.testing.assert_allclose(mouth_opening(points), [0.2, 0.05, np.inf, 0.1])
    assert closed_frame(points, np.ones(4, bool)) == 1
    assert closed_frame(points, np.array([True, False, False, True])) == 3
    assert closed_frame(points, np.zeros(4, bool)) == 0
