"""The picture of README: leaderboard and a clip of a report, side by side.

``python tests/report/screenshots.py REPORT [PICTURE]`` photographs the report in the folder REPORT (of the demo:
``bench report --out demo-results/store --folder REPORT``) and writes docs/report.png, or PICTURE. The browser is the
one that ``BENCH_CHROMIUM`` names, or the system's Chromium.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from browser_kit import data, index

from bench.media import read_png, write_png

ROOT = Path(__file__).parents[2]
WIDTH, HEIGHT = 1_100, 820  # of each page


def best_clip(report: Path) -> tuple[str, str]:
    """Section and id of a clip to show: the first of those with most players, videos before sounds."""
    found: list[tuple[int, str, str]] = []
    for section in index(report)["sections"]:
        if not section["detail"]["count"]:
            continue
        shard = data(report, f"detail-{section['id']}-0")
        ids = data(report, section["scores"][0])["clips"]["id"]
        for place, clip in enumerate(shard["clips"]):
            media = [one for one in clip.get("systems", []) if one and (one.get("video") or one.get("audio"))]
            weight = sum(1 + bool(one.get("video")) for one in media)
            found.append((weight, section["id"], ids[place]))
    if not found:
        raise SystemExit(f"{report}: no clip with details; make the report with --media copy")
    _, section, clip = max(found, key=lambda one: one[0])
    return section, clip


def photograph(page: Any, address: str, target: Path) -> np.ndarray:
    """uint8 (HEIGHT, WIDTH, 3) of a page."""
    page.goto(address)
    page.wait_for_load_state("networkidle")
    page.wait_for_timeout(800)  # posters and charts
    page.screenshot(path=target)
    return read_png(target)


def main(report: Path, picture: Path) -> None:
    """Photograph both pages and write one picture."""
    from urllib.parse import urlencode

    from playwright.sync_api import sync_playwright

    path = os.environ.get("BENCH_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    section, clip = best_clip(report)
    base = report.resolve().as_uri()
    with sync_playwright() as driver, tempfile.TemporaryDirectory() as name:
        browser = driver.chromium.launch(executable_path=path)
        page = browser.new_context(viewport={"width": WIDTH, "height": HEIGHT}, color_scheme="light").new_page()
        shots = [
            photograph(page, address, Path(name) / "page.png")
            for address in (f"{base}/index.html", f"{base}/clip.html#{urlencode({'s': section, 'id': clip})}")
        ]
        browser.close()
    gap = np.full((HEIGHT, 12, 3), 128, np.uint8)
    write_png(picture, np.concatenate([shots[0], gap, shots[1]], axis=1))
    print(f"{picture}: {picture.stat().st_size / 1e3:.0f} kB, clip {clip}")


if __name__ == "__main__":
    if not 2 <= len(sys.argv) <= 3:
        raise SystemExit(__doc__)
    main(Path(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) == 3 else ROOT / "docs" / "report.png")
