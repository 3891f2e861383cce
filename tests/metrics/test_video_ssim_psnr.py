"""SSIM and PSNR against scikit-image and a plain second implementation, and their rules over frames."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
from scipy.signal import correlate
from skimage.metrics import mean_squared_error, peak_signal_noise_ratio, structural_similarity
from video_helpers import ArrayMedia, clip, disturbed, face_feature, face_points, textures, truth

from bench.api import Failure, Score
from bench.metrics.faces import FACES
from bench.metrics.psnr import Psnr
from bench.metrics.ssim import Ssim
from bench.metrics.ssim_map import Recipe, StructuralSimilarity, luma_levels

SHAPES = [(11, 11), (12, 40), (40, 52), (97, 33)]
GAUSSIAN: dict[str, Any] = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}


def grey(picture: Any) -> Any:
    return cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)


def plain_pyiqa(x: Any, y: Any) -> float:
    """The pyiqa form on planes (H, W) with the whole two-dimensional float32 window."""
    steps = np.arange(11) - 5
    line = np.exp(-(steps**2) / 4.5)
    window = np.outer(line, line)
    window = (window / window.sum()).astype(np.float32).astype(float)
    x, y = x.astype(float), y.astype(float)
    mx, my, xx, yy, xy = (correlate(p, window, "valid", "direct") for p in (x, y, x * x, y * y, x * y))
    c1, c2 = 2.55**2, 7.65**2
    cs = (2 * (xy - mx * my) + c2) / (xx - mx**2 + yy - my**2 + c2)
    return float(((2 * mx * my + c1) / (mx**2 + my**2 + c1) * np.maximum(cs, 0)).mean())


def second_opinion(protocol: str, x: Any, y: Any) -> float:
    match protocol:
        case "ssim/skimage-gaussian@1":
            return float(structural_similarity(x, y, data_range=255, channel_axis=-1, **GAUSSIAN))
        case "ssim/skimage-uniform@1":
            return float(structural_similarity(x, y, data_range=255, channel_axis=-1))
        case "ssim/skimage-gaussian-gray@1":
            return float(structural_similarity(grey(x), grey(y), data_range=255, **GAUSSIAN))
        case "ssim/pyiqa@1":
            return plain_pyiqa(luma_levels(x), luma_levels(y))
        case _:
            return float(np.mean([plain_pyiqa(x[..., c], y[..., c]) for c in range(3)]))


#: Of the float32 window, whose sum alone is kept; of float32 arithmetic; of float64 arithmetic.
ROUNDING = {"pyiqa": 1e-8, "gaussian": 1e-6, "uniform": 1e-12}
FULL = [p.id for p in Ssim.protocols if "-face" not in p.id]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("protocol", FULL)
def test_ssim_equals_a_second_implementation(protocol: str, shape: tuple[int, int]) -> None:
    measure = Ssim().measure(protocol)
    rounding = ROUNDING["pyiqa" if "pyiqa" in protocol else protocol.split("-")[1].split("@")[0]]
    for level in (1.0, 30.0, 200.0):
        x = textures(1, shape, seed=5)[0]
        y = disturbed(x, level)
        for pair in ((x, y), (x, 255 - x), (np.zeros_like(x), np.full_like(x, 255))):
            assert measure.compute(*pair) == pytest.approx(second_opinion(protocol, *pair), abs=rounding)


def test_luma_is_the_rounded_float32_sum() -> None:
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 256, (60, 60, 3)).astype(np.uint8)
    levels = luma_levels(picture)
    assert (levels == np.round(levels)).all()
    exact = picture.astype(float) @ [0.299, 0.587, 0.114]
    assert np.abs(levels - exact).max() <= 0.5 + 1e-4
    greys = np.repeat(np.arange(256, dtype=np.uint8)[:, None, None], 3, axis=2)
    assert (luma_levels(greys)[:, 0] == np.arange(256)).all()


def test_pictures_of_other_shapes_or_below_the_window_are_refused() -> None:
    ssim = StructuralSimilarity(Recipe())
    with pytest.raises(ValueError, match="at least 11 px"):
        ssim.per_channel(textures(1, (10, 30))[0], textures(1, (10, 30))[0])
    with pytest.raises(ValueError, match="must be equal"):
        ssim.per_channel(textures(1, (20, 30))[0], textures(1, (20, 31))[0])


def test_one_pixel_by_one_level_stays_at_most_one() -> None:
    x = textures(1, (60, 60))[0]
    for protocol in FULL:
        for where in ((0, 0), (59, 0), (30, 30)):
            y = x.copy()
            y[where] ^= 1
            assert 0.999 < Ssim().measure(protocol).compute(x, y) <= 1.0


def test_results_do_not_depend_on_what_was_measured_before() -> None:
    ssim = StructuralSimilarity(Recipe())
    big, small = textures(1, (90, 70))[0], textures(1, (20, 25))[0]
    first = ssim(small, disturbed(small))
    ssim(big, disturbed(big))
    assert ssim(small, disturbed(small)) == first


def score(metric: Any, protocols: list[str], gen: Any, ref: Any, own_length: bool = True) -> Any:
    return metric.score(protocols, gen, ref, truth(own_length))


def test_clip_values_are_means_over_frames_and_pool_by_frames() -> None:
    ref = textures(5)
    gen = disturbed(ref)
    for chunk in (None, 2):
        found = score(Ssim(), FULL, ArrayMedia(gen, chunk=chunk), ArrayMedia(ref, chunk=3))
        for protocol in FULL:
            frames = [second_opinion(protocol, r, g) for r, g in zip(ref, gen, strict=True)]
            assert found[protocol].values["ssim"] == pytest.approx(np.mean(frames), abs=1e-7)
            assert found[protocol].parts["ssim_sum"] == pytest.approx(np.sum(frames), abs=5e-7)
            assert found[protocol].parts["n_frames"] == 5


def test_psnr_equals_scikit_image() -> None:
    ref = textures(4)
    gen = disturbed(ref)
    found = score(Psnr(), ["psnr/rgb@1", "psnr/gray@1", "psnr/pyiqa@1"], ArrayMedia(gen), ArrayMedia(ref))
    pairs = list(zip(ref, gen, strict=True))
    rgb = [peak_signal_noise_ratio(r, g, data_range=255) for r, g in pairs]
    mse = np.mean([mean_squared_error(r, g) for r, g in pairs])
    values = found["psnr/rgb@1"].values
    assert values["psnr"] == pytest.approx(np.mean(rgb), rel=1e-12)
    assert values["psnr_of_mean_mse"] == pytest.approx(10 * np.log10(255**2 / mse), rel=1e-12)
    assert found["psnr/rgb@1"].parts["psnr_sum"] == pytest.approx(np.sum(rgb), rel=1e-12)
    greys = [peak_signal_noise_ratio(grey(r), grey(g), data_range=255) for r, g in pairs]
    assert found["psnr/gray@1"].values["psnr"] == pytest.approx(np.mean(greys), rel=1e-12)
    unit = [10 * np.log10(1 / (mean_squared_error(r / 255, g / 255) + 1e-8)) for r, g in pairs]
    assert found["psnr/pyiqa@1"].values["psnr"] == pytest.approx(np.mean(unit), rel=1e-9)


def test_identical_frames() -> None:
    ref = textures(3)
    for protocol in FULL:
        found = score(Ssim(), [protocol], ArrayMedia(ref.copy()), ArrayMedia(ref))[protocol]
        assert (found.values["ssim"], found.parts["n_identical"]) == (1.0, 3)
    psnr = score(Psnr(), ["psnr/rgb@1", "psnr/gray@1", "psnr/pyiqa@1"], ArrayMedia(ref.copy()), ArrayMedia(ref))
    for protocol, value in (("psnr/rgb@1", 100.0), ("psnr/gray@1", 100.0), ("psnr/pyiqa@1", 80.0)):
        assert psnr[protocol].values == pytest.approx(dict.fromkeys(psnr[protocol].values, value))
        assert psnr[protocol].parts["n_identical"] == 3


def test_one_identical_frame_enters_with_the_cap_and_is_counted() -> None:
    ref = textures(2)
    gen = ref.copy()
    gen[1] = 255 - gen[1]
    found = score(Psnr(), ["psnr/rgb@1"], ArrayMedia(gen), ArrayMedia(ref))["psnr/rgb@1"]
    other = peak_signal_noise_ratio(ref[1], gen[1], data_range=255)
    assert found.values["psnr"] == pytest.approx((100 + other) / 2)
    assert found.parts["n_identical"] == 1


def test_no_frame_is_above_the_cap() -> None:
    ref = np.zeros((1, 600, 700, 3), np.uint8)
    gen = ref.copy()
    gen[0, 0, 0, 0] = 1  # 109 dB
    assert score(Psnr(), ["psnr/rgb@1"], ArrayMedia(gen), ArrayMedia(ref))["psnr/rgb@1"].values["psnr"] == 100.0


def test_swapping_the_sides_changes_nothing() -> None:
    a, b = textures(3, seed=1), textures(3, seed=2)
    for metric, ids in ((Ssim(), FULL), (Psnr(), [p.id for p in Psnr.protocols if "-face" not in p.id])):
        there = score(metric, ids, ArrayMedia(a), ArrayMedia(b))
        back = score(metric, ids, ArrayMedia(b), ArrayMedia(a))
        for protocol in ids:
            assert there[protocol].values == pytest.approx(back[protocol].values, abs=1e-12)


def test_a_picture_below_the_window_is_too_short_for_that_protocol_alone() -> None:
    small = textures(2, (9, 30))
    found = score(Ssim(), FULL, ArrayMedia(disturbed(small)), ArrayMedia(small))
    assert found["ssim/skimage-gaussian@1"] == Failure("too_short", "the picture is smaller than the window of 11 px")
    assert isinstance(found["ssim/skimage-uniform@1"], Score)


def test_unequal_lengths_are_scored_over_the_common_frames() -> None:
    ref = textures(6)
    found = score(Ssim(), FULL[:1], ArrayMedia(ref[:4].copy()), ArrayMedia(ref), own_length=False)[FULL[0]]
    assert (found.values["ssim"], found.parts["n_frames"], found.parts["length_differs"]) == (1.0, 4, 1.0)


def boxed(n: int, box: tuple[int, int, int, int], found: Any = None, size: tuple[int, int] = (40, 52)) -> Any:
    arrays = face_feature(face_points(np.ones(n)), found, size)
    arrays["boxes"][:] = box
    return {FACES: arrays}


@pytest.mark.parametrize("box", [(5, 6, 30, 29), (-7, -3, 20, 19), (30, 20, 80, 70)])
def test_face_region_is_the_reference_box_cut_to_the_picture(box: tuple[int, int, int, int]) -> None:
    ref = textures(3)
    gen = disturbed(ref)
    left, top, right, bottom = box
    crop = np.s_[:, max(top, 0) : bottom + 1, max(left, 0) : right + 1]
    for metric, face, full in (
        (Ssim(), "ssim/skimage-gaussian-face@1", "ssim/skimage-gaussian@1"),
        (Psnr(), "psnr/rgb-face@1", "psnr/rgb@1"),
    ):
        found = score(metric, [face], ArrayMedia(gen), ArrayMedia(ref, stored=boxed(3, box)))[face]
        cut = score(metric, [full], ArrayMedia(gen[crop]), ArrayMedia(ref[crop]))[full]
        assert found.values == pytest.approx(cut.values)


def test_frames_without_a_reference_face_are_skipped_and_counted() -> None:
    ref = textures(4)
    gen = disturbed(ref)
    face = "ssim/skimage-gaussian-face@1"
    media = ArrayMedia(ref, stored=boxed(4, (5, 6, 30, 29), [1, 0, 0, 1]))
    found = score(Ssim(), [face], ArrayMedia(gen), media)[face]
    assert (found.parts["n_frames"], found.parts["n_frames_noface"]) == (2, 2)
    media = ArrayMedia(ref, stored=boxed(4, (5, 6, 30, 29), [1, 0, 0, 0]))
    both = score(Ssim(), [face, FULL[0]], ArrayMedia(gen), media)
    assert both[face].kind == "no_face"
    assert isinstance(both[FULL[0]], Score)


def test_face_regions_come_from_dlib_where_no_feature_is_stored() -> None:
    ref = clip(2)
    reference = ArrayMedia(ref)
    found = score(Psnr(), ["psnr/rgb-face@1"], ArrayMedia(disturbed(ref)), reference)["psnr/rgb-face@1"]
    assert found.parts["n_frames"] == 2
    assert set(reference.new_features) == {FACES}
