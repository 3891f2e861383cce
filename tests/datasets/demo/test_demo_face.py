"""Geometry, warp and drawing of the faces."""

from __future__ import annotations

import numpy as np
import pytest

from bench.datasets.demo import geometry, head, mouth, render, warp
from bench.datasets.demo.speakers import SPEAKERS

NEUTRAL = (0.0, 1.0, 1.0, 0.0, 0.0, 0.6)
OPEN = (0.29, 0.98, 1.0, 0.17, 0.0, 0.5)


def _targets(name: str, *states: tuple[float, ...], blink: float = 0.0) -> tuple[geometry.Targets, np.ndarray]:
    identity = SPEAKERS[name].identity
    array = np.array(states)
    count = len(states)
    motion = head.HeadMotion(0.0, np.zeros((count, 5)), np.full(count, blink), np.zeros(count))
    lips = mouth.lips(array, identity)
    return geometry.frame_targets(geometry.identity_face(identity), lips, array[:, mouth.JAW], motion), array


def test_eyes_of_the_portrait_are_50_px_apart() -> None:
    points = geometry.portrait_face().landmarks
    distance = np.linalg.norm(points[geometry.LEFT_EYE].mean(0) - points[geometry.RIGHT_EYE].mean(0))
    assert distance == pytest.approx(geometry.IOD, abs=0.1)


def test_there_are_66_common_and_16_lip_control_points() -> None:
    targets, _ = _targets("s1", NEUTRAL)
    assert targets.common.shape == (1, 66, 2)
    assert targets.lips.upper().shape == targets.lips.lower().shape == (1, 16, 2)
    assert targets.lips.landmarks().shape == (1, 20, 2)


def test_spline_passes_through_its_points() -> None:
    rng = np.random.default_rng(3)
    targets = rng.uniform(0, 224, (40, 2))
    sources = targets + rng.normal(0, 5, (40, 2))
    values = warp.spline_values(targets, sources, targets)
    assert np.abs(targets + values - sources).max() < 0.01


def test_spline_of_an_affine_map_is_affine_everywhere() -> None:
    rng = np.random.default_rng(4)
    targets = rng.uniform(0, 224, (30, 2))
    matrix, shift = np.array([[1.1, 0.05], [-0.02, 0.9]]), np.array([3.0, -7.0])
    points = rng.uniform(-20, 250, (50, 2))
    values = warp.spline_values(targets, targets @ matrix.T + shift, points)
    np.testing.assert_allclose(points + values, points @ matrix.T + shift, atol=1e-4)


def test_grid_of_8_px_is_close_to_the_spline_at_every_pixel() -> None:
    base = geometry.portrait_face()
    common = geometry.common_points(base.landmarks, base.hair, base.neck)
    warper = warp.Warper(common, geometry.portrait_lips())
    targets, _ = _targets("s2", OPEN)
    lips = targets.lips.frame(0)
    field = warper.map(targets.common[0], lips)
    rows = np.array([20, 60, 100])  # above the mouth, where one spline alone counts
    x, y = np.meshgrid(np.arange(224.0), rows.astype(float))
    points = np.stack([x.ravel(), y.ravel()], axis=1)
    sources = np.concatenate([common, geometry.portrait_lips().upper()])
    exact = points + warp.spline_values(np.concatenate([targets.common[0], lips.upper()]), sources, points)
    found = np.stack([field[0][rows].ravel(), field[1][rows].ravel()], axis=1)
    assert np.abs(found - exact).mean() < 0.05


@pytest.mark.parametrize("name", sorted(SPEAKERS))
def test_no_map_leaves_the_texture_or_folds_at_the_border(name: str) -> None:
    base = geometry.portrait_face()
    common = geometry.common_points(base.landmarks, base.hair, base.neck)
    warper = warp.Warper(common, geometry.portrait_lips())
    identity = SPEAKERS[name].identity
    pose = np.array([[3.9, 2.7, 2.4, 4.8, 3.6], [-3.9, -2.7, -2.4, -4.8, -3.6]])  # three standard deviations
    motion = head.HeadMotion(0.0, pose, np.zeros(2), np.zeros(2))
    states = np.array([OPEN, NEUTRAL])
    face = geometry.identity_face(identity)
    targets = geometry.frame_targets(face, mouth.lips(states, identity), states[:, mouth.JAW], motion)
    for index in range(2):
        field = warper.map(targets.common[index], targets.lips.frame(index))
        assert field.min() > -geometry.MARGIN + 2
        assert field.max() < geometry.SIZE + geometry.MARGIN - 3
        assert (np.diff(field[0][[0, 112, 223]], axis=1) > 0).all()
        assert (np.diff(field[1][:, [0, 223]], axis=0) > 0).all()


def test_mouth_opens_by_the_gap_and_closed_lips_meet() -> None:
    identity = SPEAKERS["s1"].identity
    lips = mouth.lips(np.array([NEUTRAL, OPEN]), identity)
    opening = (lips.lower_top - lips.upper_bottom)[:, 3, 1] / geometry.IOD
    np.testing.assert_allclose(opening, [0.008, 0.298], atol=1e-9)
    assert np.ptp(lips.corners[0, :, 0]) == pytest.approx(2 * 0.40 * identity.mouth * geometry.IOD)


@pytest.mark.parametrize("name", sorted(SPEAKERS))
def test_open_mouth_is_dark_with_teeth_below_the_upper_lip(name: str) -> None:
    targets, states = _targets(name, NEUTRAL, OPEN)
    renderer = render.Renderer(SPEAKERS[name].identity)
    frame = renderer.frame(targets, 1, states[1], 0.0).astype(int)
    lips = targets.lips.frame(1)
    x = round(float(lips.upper_bottom[3, 0]))
    top, bottom = float(lips.upper_bottom[3, 1]), float(lips.lower_top[3, 1])
    teeth = frame[round(top + 1), x].sum()
    dark = frame[round(top + 0.55 * (bottom - top)), x].sum()
    assert teeth > 2 * dark
    closed = renderer.frame(targets, 0, states[0], 0.0).astype(int)
    joint = targets.lips.frame(0).upper_bottom[3]
    column = closed[round(joint[1]) - 5 : round(joint[1]) + 6, round(joint[0])].sum(axis=1)
    assert abs(int(np.argmin(column)) - 5) <= 1
    assert (column < 0.75 * np.median(column)).sum() <= 3  # a thin line


def test_only_the_mouth_region_changes_when_the_mouth_opens() -> None:
    targets, states = _targets("s3", NEUTRAL, OPEN)
    renderer = render.Renderer(SPEAKERS["s3"].identity)
    closed, opened = (renderer.frame(targets, i, states[i], 0.0).astype(int) for i in range(2))
    change = np.abs(closed - opened).mean(axis=2)
    assert change[:90].mean() < 1.0  # eyes, brows, hair
    lips = targets.lips.frame(1)
    y, x = round(float(lips.upper_bottom[3, 1])) + 5, round(float(lips.upper_bottom[3, 0]))
    assert change[y - 2 : y + 3, x - 8 : x + 9].mean() > 40


def test_blinking_changes_eyes_and_leaves_brows_and_mouth() -> None:
    targets, states = _targets("s5", NEUTRAL)
    renderer = render.Renderer(SPEAKERS["s5"].identity)
    seeing, shut = (renderer.frame(targets, 0, states[0], closed).astype(int) for closed in (0.0, 1.0))
    change = np.abs(seeing - shut).mean(axis=2)
    points = targets.landmarks[0]
    for eye, brow in ((geometry.LEFT_EYE, geometry.LEFT_BROW), (geometry.RIGHT_EYE, geometry.RIGHT_BROW)):
        x, y = points[eye].mean(axis=0).round().astype(int)
        assert change[y - 2 : y + 3, x - 3 : x + 4].mean() > 15
        assert max(change[round(py), round(px)] for px, py in points[brow]) < 3
    assert change[round(points[30, 1]) :].max() == 0


def test_identities_differ_in_shape() -> None:
    faces = {name: geometry.identity_face(s.identity).landmarks for name, s in SPEAKERS.items()}
    names = sorted(faces)
    for index, one in enumerate(names):
        for other in names[index + 1 :]:
            assert np.linalg.norm(faces[one] - faces[other], axis=1).mean() > 1.5


def test_noise_has_unit_variance_and_is_smooth() -> None:
    series = head.smooth_noise(np.random.default_rng(0), 20_000, 10.0)
    assert series.std() == pytest.approx(1.0, abs=0.05)
    assert np.abs(np.diff(series)).max() < 0.4


def test_blinks_begin_and_end_within_the_clip() -> None:
    for seed in range(50):
        closed = head.blinks(np.random.default_rng(seed), 75)
        assert closed.shape == (75,)
        assert closed.min() == 0.0 and closed.max() <= 1.0
        assert closed[:7].max() == 0.0
        assert closed[-1] <= 0.5
        assert 1 <= (np.diff((closed > 0).astype(int)) == 1).sum() <= 2
