"""Single pictures: their type, grey levels, and the regions that protocols look at."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]  # (H, W, 3) RGB, or (H, W) grey
Region = Literal["full", "face"]


def to_grey(picture: Picture) -> Picture:
    """OpenCV's grey levels of an RGB picture: 0.299, 0.587, 0.114, rounded to uint8."""
    return np.asarray(cv2.cvtColor(np.ascontiguousarray(picture), cv2.COLOR_RGB2GRAY), dtype=np.uint8)


def region_of(parameters: Mapping[str, Any]) -> Region:
    """The region that a protocol's parameters name: the full frame or the reference's face box."""
    return "full" if parameters["region"] == "full" else "face"
