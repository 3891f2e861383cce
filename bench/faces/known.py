"""Finding faces once per video: what a detector has found is kept."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bench.faces.kept_faces import KeptFaces

if TYPE_CHECKING:
    from bench.faces.detect import Detect

#: Videos whose faces are kept; a clip of 10 s takes about 20 kB.
_VIDEOS_KEPT = 4096


class KnownFaces:
    """A detector that looks at each frame of a video once, as long as it is asked for under one key.

    What a detector with an ``identity`` (a name for its numbers) has found is kept on disk too.
    """

    def __init__(self, detect: Detect) -> None:
        identity: str | None = getattr(detect, "identity", None)
        self._detect = detect if identity is None else KeptFaces(detect, identity)
        self._known: OrderedDict[str, list[NDArray[Any]]] = OrderedDict()

    def of(self, frames: NDArray[np.uint8], key: str | None) -> list[NDArray[Any]]:
        """The faces of each of ``frames``, the first ones of the video ``key`` (``None``: nothing is kept)."""
        found = [] if key is None else self._known.pop(key, [])
        if len(found) < len(frames):
            found = [*found, *self._detect(frames[len(found) :])]
        if key is not None:
            self._known[key] = found
            while len(self._known) > _VIDEOS_KEPT:
                self._known.popitem(last=False)
        return found[: len(frames)]
