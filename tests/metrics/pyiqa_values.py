"""What pyiqa says of pairs of pictures: ``pyiqa_values.py PAIRS.npz`` prints ``{metric: [value, …]}`` as JSON.

A script of its own: pyiqa wants torchvision, of which a CPU build may be without compiled operators, and other
packages that see such a torchvision fail to import. pyiqa's import looks the operators up, and its SSIM and PSNR
never call them: they are declared here, without a body.
"""

from __future__ import annotations

import json
import sys

import numpy as np
import torch

METRICS = ("ssim", "ssimc", "psnr")


def main(path: str) -> None:
    library = torch.library.Library("torchvision", "FRAGMENT")
    if not hasattr(torch.ops.torchvision, "nms"):
        for operator in ("nms", "qnms"):
            library.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    import pyiqa

    pairs = np.load(path)
    count = len(pairs.files) // 2
    values = {}
    for name in METRICS:
        metric = pyiqa.create_metric(name, device=torch.device("cpu"))
        values[name] = [float(metric(_picture(pairs[f"gen{k}"]), _picture(pairs[f"ref{k}"]))) for k in range(count)]
    print("\n" + json.dumps(values))


def _picture(pixels: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 255


if __name__ == "__main__":
    main(sys.argv[1])
