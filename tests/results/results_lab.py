"""A laboratory: a real store filled with invented scores."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors.numpy import save

from bench.store import Store
from bench.store_records import OutputRecord, RunClip, RunRecord, ScoreRecord, cost_reference

TOY = Path(__file__).parent / "toy_metrics.py"
ALL = ("wer/toy@1", "sim/toy@1", "offset/toy@1", "set/toy@1", "cost/toy@1")


def sha(*parts: object) -> str:
    return hashlib.sha256("/".join(map(str, parts)).encode()).hexdigest()


@dataclass
class Lab:
    """Fills a real store with invented results. ``quality`` shifts every number, 0 is the truth."""

    store: Store

    def run(self, system: str, n: int = 20, **fields: object) -> RunRecord:
        """A run over clips ``clip000``…, of three speakers, without results."""
        defaults = {
            "version": "1", "tier": "embedded", "dataset": "demo", "split": "test", "task": "vts",
            "pairing": "", "audio": "", "reference": "other", "n_split": n,
        }  # fmt: skip
        named = {**defaults, **fields}
        run = RunRecord(id=sha(system, sorted(named.items(), key=str))[:16], system=system, **named)
        self.store.add_run(run)
        self.store.add_run_clips(run.id, [self.clip(i) for i in range(n)])
        return run

    def clip(self, i: int) -> RunClip:
        return RunClip(f"clip{i:03}", f"s{i % 3}", sha("reference", i), 3.0)

    def fill(
        self, run: RunRecord, quality: float = 0.0, protocols: Sequence[str] = ALL, failing: Mapping[int, str] = {},
        missing: Sequence[int] = (), pending: Sequence[int] = (), seed: int = 0,
    ) -> RunRecord:  # fmt: skip
        """Outputs and scores. ``failing``: clip -> kind, for every protocol; ``missing``: no output."""
        rng = np.random.default_rng(seed)
        clips = self.store.run_clips(run.id)
        scores: list[ScoreRecord] = []
        for i, clip in enumerate(clips):
            numbers = self.numbers(rng, i, quality)
            if i in missing:
                failed = OutputRecord(run.id, clip.clip_id, "failed", kind="model_error", detail="boom")
                self.store.add_output(failed)
                continue
            output = OutputRecord(run.id, clip.clip_id, "ok", sha(run.id, i), seconds=1.5, media_seconds=3.0)
            self.store.add_output(output, {})
            for pid in protocols if i not in pending else ():
                reference = cost_reference(run.id, clip.clip_id) if pid.startswith("cost/") else clip.reference_sha256
                common = (output.sha256, reference, pid, "")
                if i in failing:
                    scores.append(ScoreRecord(*common, "failed", kind=failing[i], detail="invented"))
                    continue
                values, parts, arrays = numbers[pid]
                scores.append(ScoreRecord(*common, "ok", values, parts, arrays=arrays, seconds=0.25))
        self.store.add_run_protocols(run.id, protocols)
        self.store.add_scores(scores)
        return run

    @staticmethod
    def numbers(rng: np.random.Generator, i: int, quality: float) -> dict:
        words = 4 + i % 3
        edits = min(words, int(rng.integers(0, 2) + quality * 4))
        noise = float(rng.normal())
        sim = float(np.clip(0.9 - 0.3 * quality + 0.05 * noise, -1, 1))
        return {
            "wer/toy@1": ({"macro": edits / words, "wer": edits / words}, {"edits": edits, "ref_words": words}, None),
            "sim/toy@1": ({"sim": sim}, {"fps_converted": float(i % 4 == 0)}, None),
            "sim/toy-other@1": ({"sim": sim / 2}, {}, None),
            "offset/toy@1": ({"offset": quality * 3 * (-1) ** i + quality}, {}, None),
            "set/toy@1": ({}, {}, save({"x": np.array([noise * (1 + quality)])})),
            "cost/toy@1": ({"rtf": 0.5}, {}, None),
        }
