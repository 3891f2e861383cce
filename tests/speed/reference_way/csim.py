"""CSIM with ArcFace, frame by frame (metrics.md 8): detection, landmarks, alignment, one face through the network."""

from __future__ import annotations

from typing import Any

import cv2
import naive
import numpy as np
import torch
from plain import answer, filled, frames_of, job
from skimage.transform import SimilarityTransform

from bench.metrics.csim.arcface import ARCFACE
from bench.metrics.csim.arcface_net import IResNet

SIDE = 112


def embedding(net: Any, picture: Any) -> Any:
    """The 512 numbers of the largest face; ``None`` without a face."""
    shape = naive._marked(picture, naive._largest)
    if shape is None:
        return None
    points = naive._points(shape)
    five = [points[36:42].mean(0), points[42:48].mean(0), points[30], points[48], points[54]]
    transform = SimilarityTransform()
    transform.estimate(np.array(five, np.float32), np.array(ARCFACE.parameters["template"], np.float32))
    aligned = cv2.warpAffine(picture, transform.params[:2], (SIDE, SIDE), borderValue=0.0)
    x = torch.from_numpy(aligned.transpose(2, 0, 1)[None].copy()).float().div_(255).sub_(0.5).div_(0.5)
    with torch.no_grad():
        return net(x)[0].numpy().astype(np.float64)


def main() -> None:
    given = job()
    settings: Any = ARCFACE.parameters["network"]
    net = filled(given, IResNet(settings["layers"], settings["num_features"]), "backbone.pth")
    values = []
    for clip in given["clips"]:
        cosines = []
        for generated, expected in zip(frames_of(clip["video"]), frames_of(clip["ref_video"]), strict=False):
            one, other = embedding(net, generated), embedding(net, expected)
            if one is not None and other is not None:
                cosines.append(one @ other / np.linalg.norm(one) / np.linalg.norm(other))
        values.append(float(np.mean(cosines)))
    answer(values=values)


main()
