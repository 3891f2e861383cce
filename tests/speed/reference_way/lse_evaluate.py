"""Second process of a clip: SyncNet on every cropped face (metrics.md 4.2, step 6).

``Rudrabha/Wav2Lip: evaluation/scores_LSE/calculate_scores_real_videos.py``: the network is loaded anew, the
crop's frames become JPEG files once more.
"""

from __future__ import annotations

from pathlib import Path

from plain import answer, avi_frames, filled, fresh_folder, job, pcm_of, write_jpegs
from syncnet_evaluate import evaluate

from bench.metrics.lse.syncnet_net import SyncNet


def main() -> None:
    given = job()
    net = filled(given, SyncNet(), "syncnet_v2.model")
    work = Path(given["work"])
    values = []
    for avi in sorted((work / "pycrop").glob("*.avi")):
        jpegs = write_jpegs(avi_frames(avi), fresh_folder(work / "pytmp"), {})
        values.append(evaluate(net, jpegs, pcm_of(str(avi.with_suffix(".wav"))), resize=False))
    answer(values=values)


main()
