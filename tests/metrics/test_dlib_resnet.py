"""dlib's recogniser in torch: against dlib itself, whatever is beside a face, and with broken weight files."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from video_helpers import ArrayMedia, clip

from bench.api import UsageError
from bench.metrics import dlib_dat, dlib_resnet_net
from bench.metrics import faces as front
from bench.metrics.declare import DLIB_RESNET

CLOSE = 1e-6  # of numbers up to 0.4; what dlib's own float32 sums leave open


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """As in a worker."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@lru_cache(maxsize=1)
def by_dlib() -> Any:
    import dlib

    return dlib.face_recognition_model_v1(front._checked(DLIB_RESNET))


def net() -> Any:
    return front._recogniser()


def pictures() -> dict[str, Any]:
    """The astronaut's portrait as it is, mirrored, cut, scaled, turned, noisy, dark and in false colours."""
    import cv2
    from skimage import data

    whole = data.astronaut()
    turned = cv2.warpAffine(whole, cv2.getRotationMatrix2D((220.0, 120.0), 12.0, 1.0), (512, 512))
    noisy = np.clip(whole + np.random.default_rng(0).normal(0, 12, whole.shape), 0, 255).astype(np.uint8)
    return {
        "whole": whole,
        "mirrored": whole[:, ::-1],
        "cut through the hair": whole[60:260, 120:330],
        "half size": cv2.resize(whole, (256, 256), interpolation=cv2.INTER_AREA),
        "larger": cv2.resize(whole[:280, 80:360], (700, 700), interpolation=cv2.INTER_CUBIC),
        "turned": turned,
        "noisy": noisy,
        "dark": (whole * 0.4).astype(np.uint8),
        "blue for red": whole[..., ::-1],
    }


def some_chips(n: int = 9) -> Any:
    """Crops of a textured picture, uint8 (n, 150, 150, 3): the network takes any."""
    from skimage import data

    whole = data.astronaut()
    return np.stack([whole[17 * k : 17 * k + 150, 23 * k : 23 * k + 150] for k in range(n)])


@pytest.mark.parametrize("name", list(pictures()))
def test_descriptors_of_real_faces_are_those_of_dlib(name: str) -> None:
    import dlib

    picture = np.ascontiguousarray(pictures()[name])
    box = front.largest(front.detect(picture))
    points = front.landmarks(picture, box)
    shape = dlib.full_object_detection(dlib.rectangle(*box), [dlib.point(int(x), int(y)) for x, y in points])
    wanted = np.array(by_dlib().compute_face_descriptor(picture, shape, 0))
    assert np.abs(front.descriptor(picture, box, points) - wanted).max() < CLOSE
    # the cut-out face is the very one that dlib describes
    assert (np.array(by_dlib().compute_face_descriptor(front.face_chip(picture, box, points))) == wanted).all()


def test_any_chip_gets_the_numbers_of_dlib() -> None:
    rng = np.random.default_rng(1)
    flat = [np.full((150, 150, 3), level, np.uint8) for level in (0, 255)]
    chips = [*flat, *some_chips(4), rng.integers(0, 256, (150, 150, 3), dtype=np.uint8)]
    wanted = np.array([by_dlib().compute_face_descriptor(chip) for chip in chips])
    found = net().embed(chips)
    assert found.dtype == np.float32
    assert np.abs(found - wanted)[2:].max() < CLOSE
    assert np.abs(found - wanted)[:2].max() < 10 * CLOSE  # of black and of white dlib and torch round 1e-6 off float64


def test_the_bits_of_a_descriptor_do_not_depend_on_what_is_beside_it() -> None:
    chips = some_chips()
    together = net().embed(chips)
    assert together.shape == (9, 128)
    for n in (1, 2, 4, 5, 7):
        assert (net().embed(chips[:n]) == together[:n]).all()
    assert (net().embed(chips[::-1]) == together[::-1]).all()
    assert net().embed([]).shape == (0, 128)


def test_descriptors_of_a_video_are_those_of_its_frames_however_it_is_cut() -> None:
    frames = clip(31)
    frames[10:16] = frames[10]  # equal samples 2 and 3
    frames[20] = 90  # no face
    whole = front.descriptors(ArrayMedia(frames))
    assert whole.valid.tolist() == [True, True, True, True, False, True, True]
    for chunk in (1, 4, 5, 7):
        media = ArrayMedia(frames, chunk=chunk)
        assert (front.descriptors(media).vectors == whole.vectors).all()
        track = front.faces(media)
    for sample in np.flatnonzero(whole.valid):
        box = tuple(int(v) for v in track.boxes[5 * sample])
        assert (front.descriptor(frames[5 * sample], box, track.landmarks[5 * sample]) == whole.vectors[sample]).all()


def test_chips_are_taken_a_few_at_a_time_and_equal_samples_once() -> None:
    made: list[int] = []
    seen: list[int] = []

    def stream() -> Iterator[Any]:
        for number, chip in enumerate(some_chips()):
            made.append(number)
            yield chip

    class Watched(dlib_resnet_net.DlibResnet):
        def forward(self, chips: Any) -> Any:
            seen.append(len(made))
            return torch.zeros(len(chips), 128)

    Watched().embed(stream())
    assert seen == [4, 8, 9]


def test_equal_samples_are_described_once(monkeypatch: pytest.MonkeyPatch) -> None:
    cut: list[Any] = []

    def counted(*args: Any) -> Any:
        cut.append(args)
        return face_chip(*args)

    face_chip = front.face_chip
    monkeypatch.setattr(front, "face_chip", counted)
    frames = np.repeat(clip(2), 11, axis=0)  # samples 0, 5, 10 are equal, and 15, 20
    found = front.descriptors(ArrayMedia(frames))
    assert len(cut) == 2
    assert (found.vectors[1:3] == found.vectors[0]).all()
    assert (found.vectors[4] == found.vectors[3]).all()
    assert (found.vectors[3] != found.vectors[0]).any()


def test_loading_draws_no_random_numbers_and_leaves_nothing_to_train() -> None:
    before = torch.get_rng_state()
    loaded = dlib_resnet_net.load_resnet(Path(front._checked(DLIB_RESNET)))
    assert (torch.get_rng_state() == before).all()
    assert not loaded.training
    assert not any(parameter.requires_grad for parameter in loaded.parameters())
    assert sum(isinstance(module, torch.nn.Conv2d) for module in loaded.modules()) == 29


def test_the_arrays_have_their_names_and_sizes() -> None:
    arrays = dlib_dat.read_network(Path(front._checked(DLIB_RESNET)))
    assert np.allclose(arrays["input.means"], (122.782, 117.001, 104.298))
    assert len(arrays) == 1 + 29 * 4 + 1
    assert arrays["con0.weight"].shape == (32, 3, 7, 7)
    assert arrays["con28.weight"].shape == (256, 256, 3, 3)
    assert arrays["affine7.gamma"].shape == arrays["con7.bias"].shape == (64,)
    assert arrays["fc.weight"].shape == (256, 128)
    assert {array.dtype for array in arrays.values()} == {np.dtype(np.float32)}


def replaced(at: int, by: bytes) -> Callable[[bytes], bytes]:
    return lambda data: data[:at] + by + data[at + len(by) :]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: data[:-1], "it ends after 22466065 bytes"),
        (lambda data: data[:1000], "it ends after 1000 bytes"),
        (lambda data: b"", "it ends after 0 bytes"),
        (lambda data: data + b"\0", "its length is 22466067, expected 22466066"),
        (lambda data: b"PK\3\4" + data[4:], "a number begins with the byte 0x50"),
        (replaced(4, b"loss_other"), "the loss is 'loss_otherc_2', expected 'loss_metric_2'"),
        (replaced(2, b"\1\x7f"), "a name has 127 bytes"),
        (replaced(2, b"\x81"), "a name has -13 bytes"),
        (replaced(30, b"\1\1"), "the nesting of layers"),
        (replaced(332, b"\1\x95"), "the size of the input is"),
        (replaced(336, b"con_5"), "a layer is 'con_5', expected 'con_4'"),
        (replaced(342, b"\3"), "the version of a tensor is 3, expected 2"),
        (replaced(345, b"\x13"), "the shape of a tensor is"),
        (replaced(352, b"\0\0\xc0\x7f"), "not finite"),
        (replaced(19720, b"2"), "a flag is neither 0 nor 1"),
        (replaced(19764, b"\4"), "the settings of max_pool_2"),
    ],
)
def test_another_or_a_broken_file_is_refused(change: Callable[[bytes], bytes], message: str, tmp_path: Path) -> None:
    data = Path(front._checked(DLIB_RESNET)).read_bytes()
    path = tmp_path / "net.dat"
    path.write_bytes(change(data))
    with pytest.raises(UsageError, match=r"net\.dat is not dlib's face recognition network") as caught:
        dlib_dat.read_network(path)
    assert message in str(caught.value)
    assert "pip install --force-reinstall" in caught.value.hint


def test_a_number_too_large_is_refused() -> None:
    with pytest.raises(UsageError, match=r"a number is 1 \* 2\*\*32000"):
        dlib_dat._File("net.dat", b"\1\1\2\0\x7d").real()
    assert dlib_dat._File("net.dat", b"\1\x0a\x81\4").real() == 10 / 16
