"""``corpus.json`` and the manifest: what a demo corpus on disk consists of."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.datasets.demo.clip_files import Record, clip_path
from bench.datasets.demo.sentences import ClipPlan, plan_corpus
from bench.datasets.files import atomic_path
from bench.datasets.manifest import ClipRow, make_header, write_manifest
from bench.errors import DataError
from bench.records import FPS

SCHEMA = "bench-demo-1"
#: Version of the recipe: raised with every change of a frame or a sample.
RECIPE = 2
_REMAKE = "`bench data make demo` makes it anew; delete the folder first if it is damaged."


@dataclass(frozen=True)
class Corpus:
    """The content of corpus.json.

    ``splits``: clip ids by split. ``clips``: their records. ``spare``: clips on disk that no split
    has now, kept for a larger ``train``. ``environments``: library versions by the name that
    records use.
    """

    recipe: int
    seed: int
    splits: Mapping[str, Sequence[str]] = field(default_factory=dict)
    clips: Mapping[str, Record] = field(default_factory=dict)
    spare: Mapping[str, Record] = field(default_factory=dict)
    environments: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    def plans(self, split: str) -> list[ClipPlan]:
        """The plans of the clips of a split, sorted by id."""
        ids = set(self.splits[split])
        # only train's size is free, and other splits do not depend on it
        size = len(ids) if split == "train" else "default"
        return [plan for plan in plan_corpus(size, self.seed)[split] if plan.id in ids]

    def frames(self) -> dict[str, int]:
        """Frames by split."""
        return {split: sum(plan.n_frames for plan in self.plans(split)) for split in self.splits}

    def golden_sha256(self, split: str | None = None) -> str:
        """Hash of all frames and samples before encoding: over ``id TAB hash LF`` in order of ids."""
        ids = self.clips if split is None else self.splits[split]
        lines = [f"{clip_id}\t{self.clips[clip_id].golden}\n" for clip_id in sorted(ids)]
        return hashlib.sha256("".join(lines).encode()).hexdigest()


def recipe_key(seed: int = 0) -> str:
    """The name of the folder of a corpus in the cache: a hash of recipe and seed."""
    return hashlib.sha256(f"{SCHEMA} recipe {RECIPE} seed {seed}".encode()).hexdigest()[:12]


def write_corpus(root: Path, corpus: Corpus, rows: Sequence[ClipRow]) -> None:
    """Write the manifest, then corpus.json, each file in one step.

    Raises:
        DataError: the folder cannot be written.
    """
    header = make_header("demo", "demo", rows, recipe=corpus.recipe, seed=corpus.seed)
    write_manifest(root, rows, header)
    frames = corpus.frames()
    splits = {
        split: {
            "clips": len(ids),
            "frames": frames[split],
            "seconds": frames[split] / FPS,
            "golden_sha256": corpus.golden_sha256(split),
            "ids": list(ids),
        }
        for split, ids in corpus.splits.items()
    }
    content = {
        "schema": SCHEMA,
        "recipe": corpus.recipe,
        "seed": corpus.seed,
        "counts": {"clips": len(corpus.clips), "frames": sum(frames.values())},
        "golden_sha256": corpus.golden_sha256(),
        "environments": corpus.environments,
        "splits": splits,
        "clips": {clip_id: record.to_json() for clip_id, record in corpus.clips.items()},
        "spare": {clip_id: record.to_json() for clip_id, record in corpus.spare.items()},
    }
    try:
        with atomic_path(root / "corpus.json") as path:
            path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise DataError(f"{root / 'corpus.json'} cannot be written: {error}", "make room, then try again.") from error


def read_corpus(root: Path) -> Corpus:
    """Read corpus.json.

    Raises:
        DataError: it is missing, damaged or of another schema.
    """
    path = root / "corpus.json"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["schema"] != SCHEMA:
            raise DataError(f"{path} has schema {content['schema']!r}, expected {SCHEMA!r}", _REMAKE)
        return Corpus(
            recipe=int(content["recipe"]),
            seed=int(content["seed"]),
            splits={str(split): [str(i) for i in entry["ids"]] for split, entry in content["splits"].items()},
            clips=_records(content["clips"]),
            spare=_records(content["spare"]),
            environments=content["environments"],
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path} cannot be read: {error}", _REMAKE) from error


def _records(entries: Mapping[str, Mapping[str, Any]]) -> dict[str, Record]:
    """Records by clip id; a wrong one raises TypeError or ValueError."""
    for clip_id, entry in entries.items():
        if not all(re.fullmatch("[0-9a-f]{64}", str(entry[k])) for k in ("golden", "mp4", "wav", "txt", "npz")):
            raise ValueError(f"clip {clip_id} has no valid hashes")
    return {str(clip_id): Record(**entry) for clip_id, entry in entries.items()}


def manifest_rows(corpus: Corpus) -> list[ClipRow]:
    """The rows of all splits."""
    return [row(plan, corpus.clips[plan.id]) for split in corpus.splits for plan in corpus.plans(split)]


def row(plan: ClipPlan, record: Record) -> ClipRow:
    """The manifest's row of a clip; paths are relative to the corpus."""
    from bench.datasets.demo.geometry import SIZE
    from bench.datasets.demo.speech import RATE

    here = Path()
    return ClipRow(
        clip_id=plan.id,
        dataset="demo",
        split=plan.split,
        video_path=clip_path(here, plan, "mp4").as_posix(),
        text_path=clip_path(here, plan, "txt").as_posix(),
        audio_path=clip_path(here, plan, "wav").as_posix(),
        group=plan.speaker,
        speaker=plan.speaker,
        text_raw=plan.transcript,
        text_norm=plan.transcript,
        n_words=len(plan.transcript.split()),
        n_frames=plan.n_frames,
        n_grid=plan.n_frames,
        fps=float(FPS),
        width=SIZE,
        height=SIZE,
        n_samples=plan.n_frames * RATE // FPS,
        sample_rate=RATE,
        channels=1,
        dur_s=plan.duration_s,
        bytes=record.size,
        sha256=record.mp4,
        audio_sha256=record.wav,
        text_sha256=record.txt,
    )
