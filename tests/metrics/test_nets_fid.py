"""FID: input, network, pooling over clips, regions, and what it makes of odd clips."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from video_helpers import ArrayMedia, clip, disturbed, face_feature, textures, truth

import bench
from bench.api import Failure, Score, Unscorable
from bench.detfill import fill_module
from bench.metrics import fid
from bench.metrics.batches import in_batches
from bench.metrics.faces import FACES
from bench.metrics.fid import FACE, FULL, Fid, input_side, set_distance
from bench.metrics.frechet import distance
from bench.metrics.inception_input import prepare
from bench.metrics.inception_net import Inception
from bench.networks import Seeded

GAIN = 2.45
WEIGHTS = Seeded({fid.INCEPTION.name: GAIN})
MANIFEST = Path(bench.__file__).parent / "manifests" / "fid_inception.json"
D = 6


@pytest.fixture
def cheap(monkeypatch: pytest.MonkeyPatch) -> Fid:
    """The metric with six features per picture in place of the network's: means and deviations of the channels."""

    def features(network: Any, pictures: list[Any], side: int, device: str) -> Any:
        assert len(pictures) <= fid.BATCH
        rows = [np.concatenate([p.mean(axis=(0, 1)), p.std(axis=(0, 1))]) for p in pictures]
        return np.array(rows, np.float32)

    monkeypatch.setattr(fid, "pool3", features)
    monkeypatch.setattr(fid, "inception", lambda weights, device: object())
    return Fid(WEIGHTS)


def plain_rows(frames: Any) -> Any:
    return np.array([[*p.mean(axis=(0, 1)), *p.std(axis=(0, 1))] for p in frames], np.float32)


def score(metric: Fid, generated: Any, reference: Any, pid: str = FULL.id, own_length: bool = False) -> Score | Failure:
    made = generated if isinstance(generated, ArrayMedia) else ArrayMedia(generated)
    real = reference if isinstance(reference, ArrayMedia) else ArrayMedia(reference)
    return metric.score([pid], made, real, truth(own_length))[pid]


def arrays(metric: Fid, generated: Any, reference: Any) -> Any:
    found = score(metric, generated, reference)
    assert isinstance(found, Score)
    return found.arrays


def test_names_and_shapes_are_the_manifests() -> None:
    wanted = {name: tuple(t["shape"]) for name, t in json.loads(MANIFEST.read_text())["tensors"].items()}
    assert {name: tuple(t.shape) for name, t in Inception().state_dict().items()} == wanted


def plain_resize(picture: Any, side: int) -> Any:
    """Bilinear by the definition: pixel centres at halves, borders repeated."""
    height, width = picture.shape[:2]

    def places(n: int) -> tuple[Any, Any, Any]:
        centre = np.maximum((np.arange(side) + 0.5) * n / side - 0.5, 0.0)
        low = np.minimum(centre.astype(int), n - 1)
        return low, np.minimum(low + 1, n - 1), centre - low

    (r0, r1, wr), (c0, c1, wc) = places(height), places(width)
    p = picture / 255.0
    top = p[r0][:, c0] * (1 - wc)[:, None] + p[r0][:, c1] * wc[:, None]
    bottom = p[r1][:, c0] * (1 - wc)[:, None] + p[r1][:, c1] * wc[:, None]
    return 2 * (top * (1 - wr)[:, None, None] + bottom * wr[:, None, None]) - 1


@pytest.mark.parametrize("shape", [(36, 52), (299, 299), (400, 310), (1, 1), (7, 640)])
def test_input_is_the_plain_bilinear_resize(shape: tuple[int, int]) -> None:
    pictures = np.random.default_rng(0).integers(0, 256, (2, *shape, 3)).astype(np.uint8)
    pictures.setflags(write=False)
    found = prepare(pictures, 299).numpy()
    wanted = np.stack([plain_resize(p, 299) for p in pictures]).transpose(0, 3, 1, 2)
    assert found.shape == (2, 3, 299, 299)
    assert np.abs(found - wanted).max() < 3e-4  # weights of float32 coordinates
    assert input_side(FULL.parameters) == input_side(FACE.parameters) == 299
    with pytest.raises(ValueError, match="no size"):
        input_side({"resize": "bilinear 299x128"})


def test_folded_and_batched_equals_the_network_as_written() -> None:
    frames = [*textures(2, (60, 44)), *textures(1, (90, 120), seed=3)]
    plain = fill_module(Inception(), GAIN).eval()
    with torch.inference_mode():
        wanted = torch.cat([plain(prepare(frame[None], 299).contiguous()) for frame in frames]).numpy()
    network = fid.inception(WEIGHTS, "cpu")
    found = fid.pool3(network, frames, 299, "cpu")
    assert found.shape == (3, 2048)
    assert np.abs(found - wanted).max() < 1e-5 * np.abs(wanted).max()
    assert not any("running" in name for name in network.state_dict())


def test_a_whole_clip_with_the_real_network() -> None:
    metric, frames = Fid(WEIGHTS), textures(2, (50, 40))
    found = score(metric, disturbed(frames), frames)
    assert isinstance(found, Score)
    assert (found.parts["n_generated"], found.parts["n_reference"]) == (2, 2)
    rows = [found.arrays[f"{side}.rows"] for side in fid.SIDES]
    assert rows[0].dtype == np.float32
    value = metric.aggregate(FULL.id, "fid", [found.arrays], np.ones((1, 1)))
    assert value.tolist() == pytest.approx([distance(*rows)])
    assert value[0] > 0


def test_features_are_computed_once_per_medium(cheap: Fid) -> None:
    reference = ArrayMedia(textures(5))
    first = arrays(cheap, textures(4, seed=1), reference)
    (key,) = reference.new_features
    assert key.startswith("video:inception-pool3-")
    assert key.endswith("@1")
    assert WEIGHTS.identity(fid.INCEPTION) in key
    kept = ArrayMedia(None, stored=reference.new_features)
    kept_frames = ArrayMedia(textures(5), stored=reference.new_features)
    assert kept.feature(key, dict) is not None
    again = arrays(cheap, textures(4, seed=1), kept_frames)
    assert kept_frames.new_features == {}
    assert all(np.array_equal(first[name], again[name]) for name in first)


def test_the_set_is_all_frames_pooled(cheap: Fid) -> None:
    clips = [(textures(n, seed=n), textures(m, seed=50 + m)) for n, m in ((3, 4), (1, 2), (9, 5))]
    found = [arrays(cheap, *sides) for sides in clips]
    generated, expected = (plain_rows(np.concatenate([c[side] for c in clips])) for side in (0, 1))
    counts = np.array([[1, 1, 1], [2, 0, 1], [0, 3, 0]])
    values = cheap.aggregate(FULL.id, "fid", found, counts)
    assert values[0] == pytest.approx(distance(generated, expected), rel=1e-6)
    twice = [np.concatenate([plain_rows(c[side]) for c in (clips[0], clips[0], clips[2])]) for side in (0, 1)]
    assert values[1] == pytest.approx(distance(*twice), rel=1e-6)
    assert cheap.aggregate(FULL.id, "fid", found[::-1], np.ones((1, 3))) == pytest.approx(values[0], rel=1e-9)


def test_long_clips_are_kept_as_sums_and_give_the_same_value(cheap: Fid, monkeypatch: pytest.MonkeyPatch) -> None:
    few, many = textures(D), textures(D + 30, seed=2)
    sums = arrays(cheap, many, few)
    assert {name for name in sums if name.startswith("generated")} == {
        *("generated.n", "generated.mean", "generated.products")
    }
    assert set(sums) - {"reference.rows"} == {name for name in sums if name.startswith("generated")}
    value = cheap.aggregate(FULL.id, "fid", [sums], np.ones((1, 1)))
    assert value == pytest.approx(distance(plain_rows(many), plain_rows(few)), rel=1e-6)


def test_identity_and_symmetry(cheap: Fid) -> None:
    a, b = textures(40), textures(35, seed=9)
    same = cheap.aggregate(FULL.id, "fid", [arrays(cheap, a, a)], np.ones((1, 1)))[0]
    assert 0.0 <= same < 1e-6 * np.trace(np.cov(plain_rows(a), rowvar=False))
    there, back = (cheap.aggregate(FULL.id, "fid", [arrays(cheap, *c)], np.ones((1, 1)))[0] for c in ((a, b), (b, a)))
    assert there == pytest.approx(back, rel=1e-9)
    assert there > 1.0


def test_fewer_than_two_frames_have_no_value(cheap: Fid) -> None:
    one = arrays(cheap, textures(1), textures(5))
    with pytest.raises(Unscorable) as caught:
        cheap.aggregate(FULL.id, "fid", [one], np.ones((1, 1)))
    assert caught.value.kind == "too_short"
    values = cheap.aggregate(FULL.id, "fid", [one, one], np.array([[1, 1], [1, 0]]))
    assert np.isfinite(values).tolist() == [True, False]
    with pytest.raises(Unscorable):
        set_distance([], np.zeros(0))
    empty = score(cheap, ArrayMedia(textures(3)[:0], chunk=1), textures(3))
    assert isinstance(empty, Failure)
    assert empty.kind == "too_short"


def test_sizes_and_lengths_may_differ_on_full_frames(cheap: Fid) -> None:
    found = score(cheap, textures(7, (30, 30)), ArrayMedia(textures(20, (64, 48)), converted=True), own_length=True)
    assert isinstance(found, Score)
    assert (found.parts["n_generated"], found.parts["n_reference"], found.parts["fps_converted"]) == (7, 20, 1)


def test_missing_video_is_named(cheap: Fid) -> None:
    for media, kind in (((None, textures()), "no_video_stream"), ((textures(), None), "missing_reference")):
        found = score(cheap, *media)
        assert isinstance(found, Failure)
        assert found.kind == kind


def faced(frames: Any, found: Any = None, box: tuple[int, int, int, int] = (10, 5, 29, 34)) -> ArrayMedia:
    track = face_feature(np.zeros((len(frames), 68, 2)), found, frames.shape[1:3])
    track["boxes"][:] = np.array(box) * track["n_faces"][:, None]
    return ArrayMedia(frames, stored={FACES: track})


def test_faces_are_cut_by_the_references_box_on_both_sides(cheap: Fid) -> None:
    gen, ref = textures(12), textures(10, seed=4)
    seen = np.ones(10, bool)
    seen[[2, 7]] = False
    found = score(cheap, gen, faced(ref, seen), FACE.id)
    assert isinstance(found, Score)
    assert found.parts["n_frames_noface"] == 2
    assert found.parts["length_differs"] == 1
    assert (found.parts["n_generated"], found.parts["n_reference"]) == (8, 8)
    value = cheap.aggregate(FACE.id, "fid", [found.arrays], np.ones((1, 1)))
    crops = [frames[:10][seen][:, 5:35, 10:30] for frames in (gen, ref)]
    assert value[0] == pytest.approx(distance(*map(plain_rows, crops)), rel=1e-6)


@pytest.mark.parametrize(("n_faces", "kind"), [(0, "no_face"), (4, "no_face"), (5, None), (10, None)])
def test_reference_faces_in_some_frames(cheap: Fid, n_faces: int, kind: str | None) -> None:
    reference = faced(textures(10), np.arange(10) < n_faces)
    both = cheap.score([FULL.id, FACE.id], ArrayMedia(textures(10)), reference, truth(False))
    assert isinstance(both[FULL.id], Score)  # never stopped by the other
    assert getattr(both[FACE.id], "kind", None) == kind


def test_faces_need_equal_sizes_and_lengths(cheap: Fid) -> None:
    other_size = score(cheap, textures(10, (30, 30)), faced(textures(10)), FACE.id)
    other_length = score(cheap, textures(3), faced(textures(10)), FACE.id, own_length=True)
    assert [getattr(f, "kind", None) for f in (other_size, other_length)] == ["shape_mismatch", "length_mismatch"]


def test_a_box_outside_of_the_picture_is_no_face(cheap: Fid) -> None:
    found = score(cheap, textures(6), faced(textures(6), box=(60, 5, 90, 30)), FACE.id)
    assert getattr(found, "kind", None) == "no_face"


@pytest.mark.slow
def test_real_faces_end_to_end() -> None:
    frames = clip(4)
    found = score(Fid(WEIGHTS), disturbed(frames), frames, FACE.id)
    assert isinstance(found, Score)
    assert found.parts["n_generated"] == found.parts["n_reference"] == 4 - found.parts["n_frames_noface"]


def test_a_still_picture_is_computed_once_and_batches_keep_their_order() -> None:
    seen: list[int] = []

    def compute(pictures: list[Any]) -> Any:
        seen.append(len(pictures))
        return np.array([[p.flat[0]] for p in pictures])

    values = [3, 3, 3, 1, 2, 2, 1, 5]
    pieces = in_batches((np.full((2, 2, 3), v, np.uint8) for v in values), compute, 2)
    assert np.concatenate(list(pieces)).ravel().tolist() == values
    assert seen == [2, 2, 1]
    assert list(in_batches([], compute, 2)) == []


def test_what_is_missing_is_said() -> None:
    (line,) = (text for text in Fid().missing(FULL.id) if "weights" in text)
    assert fid.INCEPTION.name in line
    assert "pytorch-fid" in line
