"""SSIM, PSNR, LMD or SECS by the packages, each a run of its own over all clips: ``packages.py JOB METRIC``."""

from __future__ import annotations

import sys
from pathlib import Path

import naive
from plain import answer, job


def main() -> None:
    given = job()
    measure = getattr(naive, sys.argv[2])
    kind = "audio" if sys.argv[2] == "secs" else "video"
    answer(values=[measure(Path(clip[kind]), Path(clip[f"ref_{kind}"])) for clip in given["clips"]])


main()
