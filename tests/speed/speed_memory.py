"""The memory of a scoring worker over few and over many clips, in a process of its own each."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

from speed_kit import Line, Options, fresh, peak_mb
from speed_media import shots, write_clip

PART = "memory"
GROWTH_MB = 40.0  # allocator noise; one clip of this size decoded is 11 MB


def run(options: Options) -> list[Line]:
    """Peak memory after few clips and after many, and their difference."""
    few, many = (options.size(a, b, c) for a, b, c in ((10, 6, 1), (60, 20, 2)))
    peaks = {n: float(fresh("speed_memory.py", n)["peak_mb"]) for n in (few, many)}
    growth = peaks[many] - peaks[few]
    note = f"{peaks[few]:.0f} MB after {few} clips, {peaks[many]:.0f} MB after {many}"
    met = None if options.tiny else growth < GROWTH_MB
    return [Line(PART, "growth of a scoring worker", growth, "MB", f"< {GROWTH_MB:g} MB", met, note=note)]


def score(n: int) -> None:
    """Score ``n`` clips with SSIM and PSNR and print the peak memory as JSON."""
    from bench.records import Reference
    from bench.score_worker import ScorePayload, ScoreSetup, worker

    setup = ScoreSetup({"ssim": ["ssim/skimage-gaussian@1"], "psnr": ["psnr/rgb@1"]}, "cpu")
    handler = worker(setup)
    with tempfile.TemporaryDirectory(prefix="speed-") as name:
        folder = Path(name)
        shot = shots(1, [])[0]
        for number in range(n):
            clip = write_clip(folder, f"clip{number}", shot)
            truth = Reference(clip.id, f"{number:064d}", clip.video, clip.audio, None, task="a2v", own_length=True)
            payload = ScorePayload(
                truth=truth,
                video_key=f"{number:064d}",
                audio_key=f"{number:064d}",
                output_sha256="",
                video=write_clip(folder, f"output{number}", shot).video,
                audio=clip.audio,
                cost={},
                protocols=["ssim/skimage-gaussian@1", "psnr/rgb@1"],
                store=str(folder / "store"),
                verify=False,
            )
            handler([payload])
    print(json.dumps({"peak_mb": peak_mb()}))


if __name__ == "__main__":
    score(int(sys.argv[1]))
