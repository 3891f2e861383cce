"""Arrays computed once per medium (face boxes, embeddings), kept as safetensors files by content hash.

Workers read them without the database; only the store's writer puts them there. A file that is
damaged counts as missing and is computed again.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import uuid
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bench.records import Array

log = logging.getLogger(__name__)
FEATURES = "features"


class FeatureFolder:
    """``root`` is the store's folder; nothing is read or made before it is needed."""

    def __init__(self, root: Path) -> None:
        self.root = root / FEATURES

    def path(self, media_sha256: str, key: str) -> Path:
        """Where the arrays ``key`` of a medium are kept."""
        plain = re.sub(r"[^A-Za-z0-9.-]+", "_", key)[:80]
        mark = hashlib.sha256(key.encode()).hexdigest()[:8]
        name = re.sub(r"[^A-Za-z0-9-]", "_", media_sha256)
        return self.root / name[:2] / f"{name}.{plain}.{mark}.safetensors"

    def get(self, media_sha256: str, keys: Iterable[str]) -> dict[str, dict[str, Array]]:
        """Those of ``keys`` that are kept for the medium, each with its arrays."""
        from safetensors import SafetensorError
        from safetensors.numpy import load

        found: dict[str, dict[str, Array]] = {}
        for key in keys:
            path = self.path(media_sha256, key)
            try:
                found[key] = load(path.read_bytes())
            except FileNotFoundError:
                continue
            except (SafetensorError, ValueError) as error:
                log.warning("%s is damaged (%s); it is computed again", path, error)
        return found

    def put(self, media_sha256: str, key: str, arrays: Mapping[str, Array]) -> None:
        """Keep ``arrays`` under ``key``; replaces what was there, whole or not at all."""
        import numpy as np
        from safetensors.numpy import save

        path = self.path(media_sha256, key)
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(f".{uuid.uuid4().hex}.part")
        try:
            with part.open("wb") as file:
                file.write(save({name: np.asarray(array, order="C") for name, array in arrays.items()}))
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
