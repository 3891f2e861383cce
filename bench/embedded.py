"""Checkpoints that are shipped: small, trained here, one safetensors file per network, its curve beside it.

``bench train`` ends with all networks of a stage in 32-bit floats; :func:`ship` takes one of them, rounded to
16 bits, into ``systems/<system>/embedded/``. The header says how it came about: command, seed, data, versions.
``make embedded`` trains and ships all of them (``python -m bench.embedded TRAINING NETWORK TARGET`` ships one).
"""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from bench.errors import DataError
from bench.records import WeightFile
from bench.weights import OWN_PACKAGE
from bench.weights_shipped import DIGEST, facts, read

if TYPE_CHECKING:
    import torch

__all__ = ["EMBEDDED", "Embedded", "embedded_file", "facts", "read", "ship", "without_place"]

_Module = TypeVar("_Module", bound="torch.nn.Module")

_FOLDER = "embedded"
_NETWORK = "network"


def embedded_file(system: str, name: str, stage: str, licence: str = "Apache-2.0") -> WeightFile:
    """The shipped file ``name`` of a system, trained by its ``stage``."""
    return WeightFile(
        f"systems/{system}/{_FOLDER}/{name}.safetensors",
        None,
        None,
        licence,
        f"trained on the demo corpus: bench train {system} --stage {stage} --config tiny --dataset demo",
        package=OWN_PACKAGE,
    )


class Embedded:
    """A :class:`bench.networks.WeightSource` of shipped files; strict: every name, every shape, nothing besides."""

    def fill(self, module: _Module, weight: WeightFile) -> _Module:
        """See :meth:`bench.networks.WeightSource.fill`.

        Raises:
            DataError: the file is not here, is damaged, or does not fit the module.
        """
        from bench.weights import tensors

        found = tensors(weight)
        try:
            module.load_state_dict(found, strict=True)
        except RuntimeError as error:
            raise DataError(
                f"weights {weight.name} do not fit the network: {error}", "train and ship it anew: `make embedded`."
            ) from error
        module.eval()
        for parameter in module.parameters():
            parameter.requires_grad_(False)
        return module

    def identity(self, weight: WeightFile) -> str:
        """See :meth:`bench.networks.WeightSource.identity`: the beginning of the file's SHA-256."""
        from bench.weights import source_sha256

        return source_sha256(weight)[:12]


EMBEDDED = Embedded()


def ship(trained: Path, network: str, target: Path) -> Path:
    """Write ``network`` of a training to ``target``, and the training's curve beside it as ``.jsonl``.

    ``trained`` is the training's folder, or the ``weights.safetensors`` in it.

    Raises:
        DataError: no such training or network, or a number that 16 bits cannot hold.
    """
    import torch

    from bench.train import WEIGHTS
    from bench.train_files import CURVE, write_weights
    from bench.weights_file import copy, digest, load_any

    path = trained / WEIGHTS if trained.is_dir() else trained
    known = dict(facts(path))
    known["command"] = without_place(known.get("command", ""))
    tensors = load_any(path)
    chosen = {name.removeprefix(f"{network}."): t for name, t in tensors.items() if name.startswith(f"{network}.")}
    if not chosen:
        there = ", ".join(sorted({name.partition(".")[0] for name in tensors}))
        raise DataError(f"{path} has no network {network!r}", f"it has {there}.")
    rounded = {name: t.to(torch.float16) if t.is_floating_point() else t for name, t in chosen.items()}
    beyond = [name for name, t in rounded.items() if t.is_floating_point() and not bool(torch.isfinite(t).all())]
    if beyond:
        raise DataError(f"{path}: 16 bits cannot hold {', '.join(beyond[:3])}", "the training has diverged.")
    target.parent.mkdir(parents=True, exist_ok=True)
    write_weights(target, rounded, known | {_NETWORK: network, DIGEST: digest(rounded)})
    target.chmod(0o644)  # safetensors makes files that their owner alone can read
    if (path.parent / CURVE).is_file():
        copy(target.with_suffix(".jsonl"), path.parent / CURVE)
    return target


def without_place(command: str) -> str:
    """A training's command without ``--out``: where it lay says nothing, and names somebody's folders."""
    words, kept = iter(shlex.split(command)), []
    for word in words:
        if word in {"--out", "-o"}:
            next(words, None)
        elif not word.startswith("--out="):
            kept.append(word)
    return shlex.join(kept)


if __name__ == "__main__":
    ship(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]))
