"""What the harness itself serves to ``bench conformance``: component ``tfg``, operation ``derangement``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bench.pairs import derange

if TYPE_CHECKING:
    from bench.conformance import Fill
    from bench.records import Array

ADAPTERS: dict[str, str] = {"derangement": "bench.golden_adapters:derangement"}


def derangement(config: dict[str, Any], inputs: dict[str, Array], fill: Fill) -> dict[str, list[int]]:
    """Index of the audio for each id: plain, and with the text before the first slash as group."""
    ids, seed = config["ids"], config["seed"]
    plain = derange(ids, seed=seed)
    grouped = derange(ids, [clip_id.split("/", 1)[0] for clip_id in ids], seed)
    return {"audio_index_plain": list(plain.audio), "audio_index_grouped": list(grouped.audio)}
