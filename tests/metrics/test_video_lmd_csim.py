"""LMD and CSIM: values by hand, identity and symmetry, missing faces, sizes and lengths."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from video_helpers import ArrayMedia, clip, face_feature, face_points, truth

from bench.api import Failure, Unscorable
from bench.metrics.csim.cosine import cosine, euclidean
from bench.metrics.csim.dlib_resnet import CsimDlib
from bench.metrics.faces import DESCRIPTORS, FACES, FACES_GREY_LAST
from bench.metrics.lmd import Lmd

LMD = [p.id for p in Lmd.protocols]
CSIM = "csim/dlib-resnet@1"


def points_media(landmarks: Any, found: Any = None, size: tuple[int, int] = (150, 150)) -> ArrayMedia:
    arrays = face_feature(landmarks, found, size)
    return ArrayMedia(None, stored={FACES: arrays, FACES_GREY_LAST: arrays})


def described(vectors: Any, found: Any = None) -> ArrayMedia:
    """A medium whose frame 5·k has the descriptor ``vectors[k]``."""
    n = 5 * (len(vectors) - 1) + 1
    seen = np.ones(n, bool) if found is None else np.asarray(found, bool)
    stored = {"vectors": np.asarray(vectors, np.float32), "valid": seen[::5]}
    return ArrayMedia(None, stored={FACES: face_feature(face_points(np.ones(n)), seen), DESCRIPTORS: stored})


def test_one_moved_point_by_hand() -> None:
    reference = face_points(np.full(2, 4.0))
    generated = reference.copy()
    generated[:, 55] += (20, 0)  # after centring: 19 px for this point, 1 px for the 19 others
    generated += 7  # the whole face elsewhere changes nothing
    found = Lmd().score(LMD, points_media(generated), points_media(reference), truth())
    assert found["lmd/atvg-dlib68@1"].values["lmd"] == pytest.approx(38.0)
    assert found["lmd/mouth20-px@1"].values["lmd"] == pytest.approx(1.9)
    assert found["lmd/mouth20-iod@1"].values["lmd"] == pytest.approx(1.9)  # eyes are 100 px apart
    parts = found["lmd/atvg-dlib68@1"].parts
    assert (parts["lmd_sum"], parts["n_frames"]) == (pytest.approx(76.0), 2)
    assert (parts["height"], parts["width"]) == (150, 150)


def test_the_percentage_is_of_the_reference() -> None:
    reference = face_points(np.full(3, 4.0))
    generated = face_points(np.full(3, 10.0))
    generated[:, 42:48] += (100, 0)
    there = Lmd().score(LMD[2:], points_media(generated), points_media(reference), truth())[LMD[2]]
    back = Lmd().score(LMD[2:], points_media(reference), points_media(generated), truth())[LMD[2]]
    assert there.values["lmd"] == pytest.approx(2 * back.values["lmd"])


def test_a_clip_against_itself() -> None:
    frames = clip(6)
    output, reference = ArrayMedia(frames.copy()), ArrayMedia(frames)
    lmd = Lmd().score(LMD, output, reference, truth())
    assert [lmd[protocol].values["lmd"] for protocol in LMD] == [0.0, 0.0, 0.0]
    csim = CsimDlib().score([CSIM], output, reference, truth())[CSIM]
    assert csim.values == {"csim": pytest.approx(1.0, abs=1e-12), "csim_distance": 0.0}
    assert csim.parts["n_frames"] == 2
    assert set(output.new_features) == {FACES, FACES_GREY_LAST, DESCRIPTORS}


def test_csim_is_symmetric_and_below_one_for_another_picture() -> None:
    import cv2

    a, b = ArrayMedia(clip(1)), ArrayMedia(np.stack([cv2.GaussianBlur(clip(1)[0][:, ::-1], (5, 5), 1.5)]))
    there = CsimDlib().score([CSIM], a, b, truth())[CSIM].values
    back = CsimDlib().score([CSIM], b, a, truth())[CSIM].values
    assert there == pytest.approx(back, abs=1e-12)
    assert 0.9 < there["csim"] < 0.9999
    assert 0.05 < there["csim_distance"] < 0.5


def test_cosines_by_hand() -> None:
    a, b = np.array([[3.0, 4.0], [1.0, 0.0], [0.0, 0.0]]), np.array([[4.0, 3.0], [-2.0, 0.0], [1.0, 1.0]])
    assert cosine(a, b) == pytest.approx([0.96, -1.0, 0.0])
    assert euclidean(a, b) == pytest.approx([2**0.5, 3.0, 2**0.5])


def test_csim_means_over_the_frames_where_both_show_a_face() -> None:
    found = np.ones(16, bool)
    found[5] = False
    a = described([[1, 0], [5, 5], [0, 2], [1, 1]])
    b = described([[1, 0], [1, 0], [2, 0], [1, -1]], found)
    score = CsimDlib().score([CSIM], a, b, truth())[CSIM]
    assert score.values["csim"] == pytest.approx(1 / 3)
    assert score.values["csim_distance"] == pytest.approx((0 + 8**0.5 + 2) / 3)
    assert (score.parts["n_frames"], score.parts["n_frames_noface"]) == (3, 1)


def test_faces_missing_in_some_frames_are_counted_and_in_most_are_no_face() -> None:
    landmarks = face_points(np.ones(8))
    some = points_media(landmarks, [1, 0, 0, 1, 1, 1, 0, 1])
    other = points_media(landmarks, [1, 0, 1, 1, 1, 0, 1, 1])
    found = Lmd().score(LMD, some, other, truth())
    for protocol in LMD:
        assert (found[protocol].parts["n_frames"], found[protocol].parts["n_frames_noface"]) == (4, 4)
    most = points_media(landmarks, [0, 0, 0, 1, 1, 1, 0, 0])
    found = Lmd().score(LMD, most, other, truth())
    for protocol in LMD:
        assert isinstance(found[protocol], Failure)
        assert found[protocol].kind == "no_face"
        assert "5 of the output" in found[protocol].detail


def test_a_video_without_a_face() -> None:
    nothing, face = ArrayMedia(np.full((6, 150, 150, 3), 90, np.uint8)), ArrayMedia(clip(6))
    assert Lmd().score(LMD[1:], nothing, face, truth())[LMD[1]].kind == "no_face"
    with pytest.raises(Unscorable, match="no_face"):
        CsimDlib().score([CSIM], face, nothing, truth())
    assert DESCRIPTORS not in face.new_features  # nothing costly was computed for it


def test_several_faces_are_flagged_and_no_failure() -> None:
    arrays = face_feature(face_points(np.ones(6)))
    arrays["n_faces"][[1, 4]] = 2
    several = ArrayMedia(None, stored={FACES: arrays})
    found = Lmd().score(LMD[1:2], several, points_media(face_points(np.ones(6))), truth())[LMD[1]]
    assert found.parts["n_frames_multiple"] == 2


def test_one_frame_is_enough() -> None:
    one = points_media(face_points(np.ones(1)))
    assert Lmd().score(LMD, one, one, truth())[LMD[0]].values["lmd"] == 0.0
    found = CsimDlib().score([CSIM], described([[1, 2]]), described([[2, 4]]), truth())[CSIM]
    assert found.values["csim"] == pytest.approx(1.0, abs=1e-15)


@pytest.mark.parametrize(
    ("n", "size", "own", "kind"),
    [(12, (150, 150), True, "length_mismatch"), (20, (150, 151), True, "shape_mismatch")],
)
def test_other_lengths_and_sizes(n: int, size: tuple[int, int], own: bool, kind: str) -> None:
    output, reference = points_media(face_points(np.ones(n)), size=size), points_media(face_points(np.ones(20)))
    found = Lmd().score(LMD, output, reference, truth(own))
    assert {found[protocol].kind for protocol in LMD} == {kind}
    with pytest.raises(Unscorable, match=kind):
        CsimDlib().score([CSIM], output, reference, truth(own))


def test_lengths_that_the_system_sets_are_flagged() -> None:
    output, reference = points_media(face_points(np.ones(12))), points_media(face_points(np.ones(20)))
    found = Lmd().score(LMD, output, reference, truth(own_length=False))
    assert (found[LMD[0]].parts["n_frames"], found[LMD[0]].parts["length_differs"]) == (12, 1.0)
    a, b = described([[1, 0], [1, 0]]), described([[1, 0], [1, 0], [0, 1]])
    assert CsimDlib().score([CSIM], a, b, truth(False))[CSIM].parts["n_frames"] == 2


def test_a_missing_reference_is_told_from_a_missing_output() -> None:
    good, bad = points_media(face_points(np.ones(3))), ArrayMedia(None)
    with pytest.raises(Unscorable, match="no_video_stream"):
        Lmd().score(LMD, bad, good, truth())
    with pytest.raises(Unscorable, match="missing_reference"):
        Lmd().score(LMD, good, bad, truth())
