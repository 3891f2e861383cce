"""The demo corpus as a data set."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from bench.api import CheckReport, Clip, DataError, Dataset, Progress, UsageError, did_you_mean

if TYPE_CHECKING:
    from bench.datasets.demo.corpus import Corpus
    from bench.datasets.demo.make import CorpusSummary
    from bench.datasets.manifest import ClipRow

_MAKE = "`bench data make demo` makes it (no download, some minutes on two cores)."


class Demo(Dataset):
    """Four speakers, and a fifth in ``test-unseen``, who say sentences of the GRID grammar.

    Without a root it lies in the cache under a hash of its recipe. A root is the corpus' folder, or
    a folder that has or shall have it as ``demo``.
    """

    name: ClassVar[str] = "demo"
    made_here: ClassVar[bool] = True
    splits: ClassVar[tuple[str, ...]] = ("train", "val", "test", "test-long", "test-unseen")
    summary: ClassVar[str] = "made on this machine: espeak-ng speech and faces warped from one portrait"
    licence: ClassVar[str] = "portrait: NASA, public domain; speech: made with espeak-ng (GPL-3 program, free output)"

    def __init__(self, root: Path | None, cache: Path) -> None:
        super().__init__(_location(root, cache), cache)
        self._rows: dict[str, list[ClipRow]] = {}

    @property
    def folder(self) -> Path:
        """The corpus' folder, whether it exists or not."""
        if self.root is None:
            raise UsageError("the demo corpus has no folder", "give --data-root DIR.")
        return self.root

    def make(
        self,
        size: str | int = "default",
        seed: int = 0,
        splits: list[str] | None = None,
        workers: int = 2,
        progress: Progress | None = None,
    ) -> CorpusSummary:
        """Make the corpus at its place; see :func:`bench.datasets.demo.make.make_corpus`."""
        from bench.datasets.demo.make import make_corpus

        self._rows.clear()
        return make_corpus(self.folder, size, seed, splits, workers, progress)

    def clips(self, split: str, progress: Progress | None = None) -> list[Clip]:
        """See :meth:`Dataset.clips`.

        Raises:
            UsageError: no such split. DataError: it was not made, or files have changed since.
        """
        from bench.datasets.manifest import clip_of

        return [clip_of(row, self.folder) for row in self.rows(split, progress)]

    def rows(self, split: str, progress: Progress | None = None) -> list[ClipRow]:
        """The manifest's rows of a split, after its files were compared with their hashes."""
        if split not in self._rows:
            rows = self._recorded(split)
            changed = self._changed(rows, progress)
            if changed:
                first, what = next(iter(changed.items()))
                raise DataError(
                    f"demo corpus: {len(changed)} clips of {split!r} are not as they were made: {first}: {what}",
                    "`bench data make demo` makes changed and missing clips again.",
                )
            self._rows[split] = rows
        return self._rows[split]

    def content_sha256(self, split: str) -> str:
        """See :meth:`Dataset.content_sha256`."""
        from bench.datasets.manifest import content_sha256

        return content_sha256(self.rows(split))

    def corpus(self) -> Corpus:
        """corpus.json of this corpus."""
        from bench.datasets.demo.corpus import RECIPE, read_corpus

        if not (self.folder / "corpus.json").is_file():
            raise DataError(f"the demo corpus has not been made: {self.folder} has no corpus.json", _MAKE)
        corpus = read_corpus(self.folder)
        if corpus.recipe != RECIPE:
            raise DataError(
                f"{self.folder} holds a demo corpus of recipe {corpus.recipe}; this version has recipe {RECIPE}",
                f"remove it or name another folder; {_MAKE}",
            )
        return corpus

    def _recorded(self, split: str) -> list[ClipRow]:
        """Rows of a split as corpus.json has them, sorted by id."""
        from bench.datasets.demo.corpus import row

        if split not in self.splits:
            raise UsageError(f"demo has no split {split!r}", did_you_mean(split, self.splits))
        corpus = self.corpus()
        if split not in corpus.splits:
            hint = f"`bench data make demo --splits {split}` makes it."
            raise DataError(f"split {split!r} of the demo corpus has not been made in {self.folder}", hint)
        return [row(plan, corpus.clips[plan.id]) for plan in corpus.plans(split)]

    def _changed(self, rows: list[ClipRow], progress: Progress | None = None) -> dict[str, str]:
        """Clip id -> which file is absent or differs from its record; unchanged files are not read twice."""
        from bench.datasets.files import HashCache

        hashes = HashCache(self.cache, self.folder)
        changed: dict[str, str] = {}
        for index, row in enumerate(rows):
            expected = {row.video_path: row.sha256, row.audio_path: row.audio_sha256, row.text_path: row.text_sha256}
            for path, sha in expected.items():
                if path is None or not (self.folder / path).is_file():
                    changed[row.clip_id] = f"{path} is missing"
                elif hashes.sha256(path) != sha:
                    changed[row.clip_id] = f"{path} has another content"
            if progress is not None:
                progress(index + 1, len(rows), "demo corpus: hashes")
        hashes.save()
        return changed

    def check(
        self, split: str | None, pattern: str | None = None, fast: bool = False, progress: Progress | None = None
    ) -> CheckReport:
        """See :meth:`Dataset.check`: existence, hashes, and (unless ``fast``) a full decode."""
        from bench.datasets.demo.check import check_demo

        return check_demo(self, split, pattern, fast, progress)


def _location(root: Path | None, cache: Path) -> Path:
    """The corpus' folder for a given root and cache."""
    if root is None:
        from bench.datasets.demo.corpus import recipe_key

        return cache / "demo" / recipe_key()
    inner = root / "demo"
    if (root / "corpus.json").is_file() or root.name == "demo":
        return root
    occupied = root.is_dir() and any(not entry.name.startswith(".") for entry in root.iterdir())
    return inner if occupied else root
