"""Two reports made from invented stores, and visits of them in the browser of ``tests/conftest.py``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.progress import Progress
from bench.results.report.build import Options, build
from bench.store import Store

pytest.register_assert_rewrite("browser_kit")  # its assertions say what they found, as those of tests do

from browser_kit import Visit  # noqa: E402
from synthetic import PICTURES, Shape, fill, fill_media  # noqa: E402


def made(store: Path, folder: Path, **options: Any) -> Path:
    """The report of all runs of a store."""
    with Store.open(store, write=False) as opened:
        build(opened, opened.runs(), folder, Options(**options), Progress(quiet=True))
    return folder


@pytest.fixture(scope="session")
def invented(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of two tables, 70 clips of 10 systems and 30 of 4, with names that attack."""
    store = fill(tmp_path_factory.mktemp("invented") / "store", Shape(clips=70))
    return fill(store, Shape(clips=30, systems=4, dataset="smaller", task="a2v", protocols=PICTURES))


@pytest.fixture(scope="session")
def report(invented: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of :func:`invented`."""
    return made(invented, tmp_path_factory.mktemp("invented-report") / "report")


@pytest.fixture(scope="session")
def played(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report with pictures and sound: 2 clips of 10 systems, 4 s each."""
    store = fill_media(tmp_path_factory.mktemp("media") / "store", clips=2, seconds=4.0, size=96)
    return made(store, tmp_path_factory.mktemp("media-report") / "report")


@pytest.fixture
def visit(browser: Any, report: Path) -> Iterator[Visit]:
    """A visit of the report, which must end without a word on the console and without a request that leaves it."""
    with Visit(browser, report) as visit:
        yield visit


@pytest.fixture
def watch(browser: Any, played: Path) -> Iterator[Visit]:
    """The same for the report with media."""
    with Visit(browser, played) as visit:
        yield visit
