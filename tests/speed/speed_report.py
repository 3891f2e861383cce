"""The report of 1,321 clips x 10 systems x 9 metrics: how large it is, how long it takes to make, to open, to filter.

Times in the browser are medians of several visits after one that does not count, pages opened from the file system.
Wall time is the browser's own; ``BENCH_CHROMIUM`` names it, else it is the system's Chromium.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

from speed_kit import Line, Options, fresh, peak_mb

PART = "report"
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
CLIPS, SYSTEMS = 1_321, 10
INDEX_MB, PAINT_S, FILTER_S = 3.0, 1.0, 0.1

PAINT = """new Promise((done) => new PerformanceObserver((list) => {
  for (const one of list.getEntries()) if (one.name === 'first-contentful-paint') done(one.startTime);
}).observe({type: 'paint', buffered: true}))"""
LOAD = "performance.getEntriesByType('navigation')[0].loadEventEnd"
#: Change a field or press a button as a reader does, until the rows stand and a frame is drawn.
ACT = """async ([place, value]) => {
  const node = document.querySelector(place);
  const status = document.getElementById('status');
  const said = new Promise((done) => new MutationObserver(done).observe(status, {childList: true}));
  const start = performance.now();
  if (value === null) node.click();
  else { node.value = value; node.dispatchEvent(new Event(node.type === 'search' ? 'input' : 'change')); }
  await said;
  document.body.getBoundingClientRect();
  return performance.now() - start;
}"""


def run(options: Options) -> list[Line]:
    """Sizes and times; without a browser one line that says so."""
    path = os.environ.get("BENCH_CHROMIUM") or next((p for name in BROWSERS if (p := shutil.which(name))), None)
    if path is None:
        return [Line(PART, "skipped", 0.0, "", note="no browser: install Chromium or set BENCH_CHROMIUM")]
    clips = options.size(CLIPS, 400, 60)
    with tempfile.TemporaryDirectory(prefix="speed-report-") as name:
        folder = Path(name)
        made = fresh("speed_report.py", "--build", folder, clips)
        lines = [*_sizes(folder / "report", clips), *_building(made, clips)]
        return lines + _browsing(folder / "report", path, options.rounds, clips)


def _target(text: str, met: bool, clips: int) -> dict[str, Any]:
    return {"target": text, "met": met} if clips == CLIPS else {}


def _sizes(report: Path, clips: int) -> list[Line]:
    size = {path: path.stat().st_size / 1e6 for path in sorted(report.rglob("*")) if path.is_file()}
    index = size[report / "index.html"]
    opened = index + sum(size[report / "assets" / name] for name in ("report.js", "report.css"))
    pages = sum(mb for path, mb in size.items() if path.parent.name not in {"download", "media"})
    rows = f"{clips:,} clips x {SYSTEMS}"
    return [
        Line(PART, f"index.html, {rows}", index, "MB", **_target(f"< {INDEX_MB:g} MB", index < INDEX_MB, clips)),
        Line(PART, "what the first page loads", opened, "MB"),
        Line(PART, "all but media and downloads", pages, "MB"),
    ]


def _building(made: dict[str, Any], clips: int) -> list[Line]:
    note = f"peak {made['peak_mb']:.0f} MB"
    what, seconds = f"bench report, {clips:,} clips, no media", made["seconds"]
    return [Line(PART, what, seconds, "s", wall=seconds, cpu=made["cpu"], note=note)]


def _browsing(report: Path, path: str, rounds: int, clips: int) -> list[Line]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path)
        taken = [_visit(browser, report) for _ in range(rounds + 1)][1:]
        browser.close()
    found = {name: median(one[name] for one in taken) for name in taken[0]}
    nodes = found.pop("nodes")
    lines = [_timed(name, milliseconds, clips) for name, milliseconds in found.items()]
    return [*lines, Line(PART, "elements of the long table's page", nodes, "")]


def _timed(name: str, milliseconds: float, clips: int) -> Line:
    seconds = milliseconds / 1000
    limit = PAINT_S if "paint" in name else FILTER_S if "filter" in name else None
    goal = _target(f"< {limit:g} s", seconds < limit, clips) if limit else {}
    return Line(PART, name, seconds, "s", wall=seconds, **goal)


def _visit(browser: Any, report: Path) -> dict[str, float]:
    """One visit of both pages, in milliseconds."""
    page = browser.new_context(viewport={"width": 1280, "height": 900}).new_page()
    page.goto((report / "index.html").as_uri())
    found = {"leaderboard: first paint": page.evaluate(PAINT), "leaderboard: load event": page.evaluate(LOAD)}

    def act(place: str, value: str | None = None) -> float:
        return float(page.evaluate(ACT, [place, value]))

    found["leaderboard: filter by tier"] = act("#filters .field:last-child select", "embedded")
    found["leaderboard: sort"] = act("th[data-column='0'] button")
    start = time.perf_counter()
    page.goto((report / "clips.html").as_uri())
    page.locator("table.clips tbody tr").first.wait_for()
    found["clips: ready"] = (time.perf_counter() - start) * 1000
    status = page.get_by_label("Status", exact=True).get_attribute("id")
    found["clips: filter by status"] = act(f"#{status}", "failed")
    act(f"#{status}", "")
    found["clips: filter by range"] = act("fieldset.span input", "3")
    act("#search", "first words load what was heard")
    found["clips: filter by text"] = act("#search", "seven")
    act("#search", "")
    found["clips: sort"] = act("button.sort[data-key='0']")
    page.get_by_role("button", name="One long table").click()
    found["clips: sort the long table"] = act("button.sort[data-key='1']")
    found["nodes"] = page.evaluate("document.getElementsByTagName('*').length")
    page.context.close()
    return found


def build(folder: Path, clips: int) -> None:
    """Fill a store and make its report; prints seconds, processor seconds and peak memory of the second as JSON."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "report"))
    from synthetic import Shape, fill

    from bench.progress import Progress
    from bench.results.report.build import Options as Chosen
    from bench.results.report.build import build as make
    from bench.store import Store

    fill(folder / "store", Shape(clips=clips, systems=SYSTEMS))
    start, busy = time.perf_counter(), time.process_time()
    with Store.open(folder / "store", write=False) as store:
        make(store, store.runs(), folder / "report", Chosen(media="none"), Progress(quiet=True))
    print(json.dumps({"seconds": time.perf_counter() - start, "cpu": time.process_time() - busy, "peak_mb": peak_mb()}))


if __name__ == "__main__":
    build(Path(sys.argv[2]), int(sys.argv[3]))
