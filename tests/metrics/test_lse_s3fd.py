"""S3FD: names, goldens, and the network and its decoding against step-by-step references."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from bench import conformance
from bench.api import Unscorable
from bench.metrics.adapters_s3fd import OPS
from bench.metrics.lse.s3fd import make_detector, run, shrink
from bench.metrics.lse.s3fd_declare import DETECTOR, S3FD_WEIGHTS, number_in, pipeline_parameters
from bench.metrics.lse.s3fd_decode import DetectorRules, candidates, decode, detections, second_pass, to_pixels
from bench.metrics.lse.s3fd_net import LEAST_SIDE, S3FD, channels_last, priors
from bench.networks import Seeded

ROOT = Path(__file__).parents[2]
SEEDED = Seeded({S3FD_WEIGHTS.name: 2.45})
RULES = DetectorRules.of(DETECTOR)


@pytest.fixture(scope="module")
def network() -> S3FD:
    torch.set_num_threads(1)
    return SEEDED.fill(S3FD(), S3FD_WEIGHTS)


def test_names_and_shapes_are_the_official_ones(network: S3FD) -> None:
    manifest = json.loads((ROOT / "bench" / "manifests" / "s3fd.json").read_text(encoding="utf-8"))["tensors"]
    assert {name: list(t.shape) for name, t in network.state_dict().items()} == {
        name: entry["shape"] for name, entry in manifest.items()
    }


@pytest.mark.parametrize("op", sorted(OPS))
def test_goldens(op: str) -> None:
    results = conformance.run(ROOT / "tests" / "golden", ["metrics"], [op], tables={"metrics": OPS})
    assert [result.detail for result in results if not result.passed] == []


def plain_forward(state: dict[str, Any], x: Any) -> tuple[Any, Any, list[tuple[int, int]]]:
    """The layers of metrics.md 4.4 one by one, plain layout."""

    def conv(name: str, x: Any, **how: Any) -> Any:
        return F.conv2d(x, state[f"{name}.weight"], state[f"{name}.bias"], **how)

    def norm(name: str, x: Any) -> Any:
        return x / (torch.sqrt((x**2).sum(1, keepdim=True)) + 1e-10) * state[f"{name}.weight"][None, :, None, None]

    sources = []
    for index in (0, 2, "p", 5, 7, "p", 10, 12, 14, "c", 17, 19, 21, "p", 24, 26, 28, "p"):
        if index == "c":
            sources.append(norm("L2Norm3_3", x))
        if isinstance(index, str):
            if index == "p" and x.shape[1] == 512:
                sources.append(norm("L2Norm4_3" if len(sources) == 1 else "L2Norm5_3", x))
            x = F.max_pool2d(x, 2, 2, ceil_mode=index == "c")
        else:
            x = F.relu(conv(f"vgg.{index}", x, padding=1))
    x = F.relu(conv("vgg.31", x, padding=6, dilation=6))
    sources.append(x := F.relu(conv("vgg.33", x)))
    x = F.relu(conv("extras.0", x))
    sources.append(x := F.relu(conv("extras.1", x, stride=2, padding=1)))
    x = F.relu(conv("extras.2", x))
    sources.append(F.relu(conv("extras.3", x, stride=2, padding=1)))
    loc, conf = [], []
    for k, source in enumerate(sources):
        loc.append(conv(f"loc.{k}", source, padding=1).permute(0, 2, 3, 1).reshape(1, -1, 4))
        scores = conv(f"conf.{k}", source, padding=1)
        if k == 0:
            scores = torch.cat([scores[:, :3].max(1, keepdim=True)[0], scores[:, 3:]], 1)
        conf.append(scores.permute(0, 2, 3, 1).reshape(1, -1, 2))
    return torch.cat(loc, 1), torch.softmax(torch.cat(conf, 1), -1), [s.shape[2:] for s in sources]


@pytest.mark.parametrize("size", [(45, 70), (LEAST_SIDE, 61)])
def test_the_network_equals_its_layers_one_by_one(network: S3FD, size: tuple[int, int]) -> None:
    picture = np.random.default_rng(1).integers(0, 256, (*size, 3)).astype(np.uint8)
    loc, conf, maps = run(channels_last(network), picture[None], RULES.mean_rgb, torch.device("cpu"))
    x = torch.from_numpy(picture.astype(np.float32) - np.float32([123, 117, 104])).permute(2, 0, 1)[None]
    expected = plain_forward({name: t.contiguous() for name, t in network.state_dict().items()}, x.contiguous())
    assert maps == [tuple(shape) for shape in expected[2]]
    assert np.abs(loc - expected[0].numpy()).max() <= 1e-5 * np.abs(loc).max()
    assert np.abs(conf - expected[1].numpy()).max() <= 2e-5


def test_a_picture_does_not_depend_on_its_batch(network: S3FD) -> None:
    pictures = np.random.default_rng(2).integers(0, 256, (3, 40, 56, 3)).astype(np.uint8)
    together = run(network, pictures, RULES.mean_rgb, torch.device("cpu"))
    for k in range(3):
        alone = run(network, pictures[k : k + 1], RULES.mean_rgb, torch.device("cpu"))
        assert np.abs(together[0][k] - alone[0][0]).max() <= 1e-5 * np.abs(alone[0]).max()


def test_priors_are_those_of_nested_loops() -> None:
    size, maps = (45, 81), [(11, 20), (6, 10), (3, 5), (1, 2), (1, 1), (1, 1)]
    rows = []
    for k, (height, width) in enumerate(maps):
        step, side = 4 * 2**k, 16 * 2**k
        for i, j in product(range(height), range(width)):
            rows.append([(j + 0.5) * step / 81, (i + 0.5) * step / 45, side / 81, side / 45])
    assert np.allclose(priors(size, maps).numpy(), np.array(rows, np.float32), rtol=1e-6, atol=0)


def overlap(a: Any, b: Any) -> float:
    width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    shared = width * height
    return shared / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared)


def greedy(rows: list[Any], most: float) -> list[Any]:
    """Keep the best row, strike out what overlaps it, repeat. Rows: (score, x1, y1, x2, y2)."""
    left, kept = sorted(rows, key=lambda row: -row[0]), []
    while left:
        kept.append(left.pop(0))
        left = [row for row in left if overlap(kept[-1][1:], row[1:]) <= most]
    return kept


def random_outputs(seed: int, n: int) -> tuple[Any, Any, Any]:
    rng = np.random.default_rng(seed)
    places = np.concatenate([rng.uniform(0, 1, (n, 2)), rng.uniform(0.05, 0.4, (n, 2))], 1).astype(np.float32)
    return rng.normal(0, 1, (n, 4)).astype(np.float32), rng.uniform(0, 1, n).astype(np.float32), places


@pytest.mark.parametrize("seed", range(4))
def test_both_suppressions_equal_greedy_loops(seed: int) -> None:
    offsets, scores, places = random_outputs(seed, 500)
    boxes = []
    for (dx, dy, dw, dh), (x, y, w, h) in zip(offsets.astype(float), places.astype(float), strict=True):
        cx, cy, bw, bh = x + 0.1 * dx * w, y + 0.1 * dy * h, w * np.exp(0.2 * dw), h * np.exp(0.2 * dh)
        boxes.append((cx - bw / 2, cy - bh / 2, cx + bw / 2, cy + bh / 2))
    assert np.allclose(decode(offsets, places), boxes, atol=1e-6)
    first = greedy([(s, *b) for s, b in zip(scores, boxes, strict=True) if s > 0.05], 0.3)
    found = candidates(offsets, scores, places, RULES, RULES.conf_min)
    assert np.allclose(found, np.array(first), atol=1e-5)
    sure = [(s, 640 * a, 360 * b, 640 * c, 360 * d) for s, a, b, c, d in first if s > 0.9]
    second = np.array(greedy(sure, 0.1))
    got = detections(offsets, scores, places, (360, 640), RULES)
    assert np.allclose(got, second[:, [1, 2, 3, 4, 0]], atol=1e-3)
    assert np.array_equal(got, second_pass(to_pixels(found, (360, 640), 0.9), 0.1))  # the short cut changes nothing
    assert got.dtype == np.float64


def test_limits_of_the_first_suppression() -> None:
    offsets, scores, places = random_outputs(9, 300)
    few = DetectorRules.of({**DETECTOR, "nms_top_k": 40, "top_k": 5})
    best = np.sort(np.argsort(scores)[-40:])
    expected = candidates(offsets[best], scores[best], places[best], RULES, 0.05)[:5]
    assert np.array_equal(candidates(offsets, scores, places, few, 0.05), expected)


def test_no_candidates_are_no_faces() -> None:
    offsets, scores, places = random_outputs(3, 20)
    assert detections(offsets, scores * 0.01, places, (64, 64), RULES).shape == (0, 5)


def test_of_equal_scores_the_later_place_comes_first() -> None:
    places = np.array([[0.5, 0.5, 0.2, 0.2], [0.52, 0.5, 0.2, 0.2]], np.float32)
    found = detections(np.zeros((2, 4), np.float32), np.full(2, 0.95, np.float32), places, (100, 100), RULES)
    assert np.allclose(found, [[42, 40, 62, 60, 0.95]])


def test_the_detector_sees_the_small_picture_and_answers_in_large_pixels() -> None:
    class Marked(S3FD):
        """Sees one face, on the place of the second map that is brightest."""

        def forward(self, x: Any) -> Any:
            maps = [(12, 16), (6, 8), (3, 4), (1, 2), (1, 1), (1, 1)]
            sizes = [rows * columns for rows, columns in maps]
            bright = int(F.avg_pool2d(x.sum(1, keepdim=True), 8).reshape(-1).argmax())
            scores = torch.zeros(1, sum(sizes), 2)
            scores[0, sizes[0] + bright, 1] = 0.95
            return torch.zeros(1, sum(sizes), 4), scores, maps

    class Source:
        def fill(self, module: Any, weight: Any) -> Any:
            return Marked()

        def identity(self, weight: Any) -> str:
            return "abc"

    detect = make_detector(Source(), "cpu", pipeline_parameters())  # type: ignore[arg-type]
    frames = np.zeros((2, 192, 256, 3), np.uint8)
    frames[0, 64:96, 160:192] = 255  # row 2, column 5 of cells of 32 px
    frames[1, 160:192, 0:32] = 255
    first, second = detect(frames)
    assert detect.identity == "s3fd-abc"
    assert np.allclose(first[0, :4], [176 - 64, 80 - 64, 176 + 64, 80 + 64])  # a prior of 32 px at a quarter
    assert np.allclose(second[0, :4], [16 - 64, 176 - 64, 16 + 64, 176 + 64])
    odd = np.random.default_rng(0).integers(0, 256, (50, 71, 3)).astype(np.uint8)
    small = shrink(odd, 0.25)  # sampled half way between the second and third of four pixels
    assert small.shape == (12, 18, 3)
    second, third = odd[1:48:4, :68].astype(float), odd[2:48:4, :68].astype(float)
    rows = second + third
    assert np.abs(small[:, :17] - (rows[:, 1::4] + rows[:, 2::4]) / 4).max() <= 1


def test_pictures_too_small_for_the_network() -> None:
    detect = make_detector(SEEDED, "cpu", pipeline_parameters())
    with pytest.raises(Unscorable, match="no_face: pictures of 200x96"):
        detect(np.zeros((1, 96, 200, 3), np.uint8))


@pytest.mark.parametrize("path", ["../shared/specs/protocols.json"])
def test_parameters_are_the_published_ones(path: str) -> None:
    file = ROOT / path
    if not file.is_file():
        pytest.skip(f"{file} is not here")
    found: dict[str, Any] = {}

    def walk(node: Any) -> None:
        for child in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
            walk(child)
        for key, value in node.items() if isinstance(node, dict) else ():
            if isinstance(value, dict) and "parameters" in value:
                found[key] = value["parameters"]
        if isinstance(node, dict) and "parameters" in node and "id" in node:
            found[node["id"]] = node["parameters"]

    walk(json.loads(file.read_text(encoding="utf-8")))
    forms: dict[str, dict[str, Any]] = {"": {"lossy": True}, "-mem": {}, "-k5": {"detect_every": 5}}
    for name, how in forms.items():
        ours, published = pipeline_parameters(**how), found[f"lse/syncnet-v2-pipeline{name}@1"]
        assert {key: published[key] for key in ours} == ours
        assert ("detect_every" in published) == ("detect_every" in ours)


def test_numbers_in_words() -> None:
    assert number_in("mean larger side > 100 px") == 100 and number_in(12) == 12
    with pytest.raises(ValueError, match="one number"):
        number_in("from 3 to 5")
