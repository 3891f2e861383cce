"""What all tests share."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

# A job in the background of a shell ignores Ctrl-C, and its children would too; the commands that
# tests start are to be interrupted as a user's are.
signal.signal(signal.SIGINT, signal.default_int_handler)


BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def _browser_path() -> str:
    named = os.environ.get("BENCH_CHROMIUM")
    found = named or next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if os.environ.get("BENCH_NO_BROWSER") == "1":
        pytest.skip("BENCH_NO_BROWSER=1: nobody looks at pages in a browser")
    if not found or not Path(found).exists():
        pytest.fail(
            f"no browser{f' at BENCH_CHROMIUM={named}' if named else ''}: install Chromium (Debian: apt-get install "
            "chromium), set BENCH_CHROMIUM to a browser's path, or BENCH_NO_BROWSER=1 to leave these tests out",
            pytrace=False,
        )
    return found


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """One browser for all tests of a worker (two drivers in one thread are refused by Playwright).

    It is the one that ``BENCH_CHROMIUM`` names, or the system's Chromium. Where there is none the tests fail and say
    what to install; ``BENCH_NO_BROWSER=1`` skips them on purpose.
    """
    path = _browser_path()
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        pytest.fail("playwright is missing: pip install playwright (no browser download is needed)", pytrace=False)
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path)
        yield browser
        browser.close()
