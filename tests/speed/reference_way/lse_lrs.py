"""LSE without a detector: ``Rudrabha/Wav2Lip: evaluation/scores_LSE/calculate_scores_LRS.py`` (metrics.md 4.1).

The network is loaded once; of every clip all frames become JPEG files, are read again and squeezed.
"""

from __future__ import annotations

from pathlib import Path

import av
from plain import answer, filled, frames_of, fresh_folder, job, pcm_of, write_jpegs
from syncnet_evaluate import evaluate

from bench.metrics.lse.syncnet_net import SyncNet


def main() -> None:
    given = job()
    net = filled(given, SyncNet(), "syncnet_v2.model")
    values = []
    for clip in given["clips"]:
        folder = fresh_folder(Path(given["work"]) / "lrs")
        frames = (av.VideoFrame.from_ndarray(frame, format="rgb24") for frame in frames_of(clip["video"]))
        jpegs = write_jpegs(frames, folder, {}, interpolation="BICUBIC")
        values.append(evaluate(net, jpegs, pcm_of(clip["audio"]), resize=True))
    answer(values=values)


main()
