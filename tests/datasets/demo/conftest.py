"""Fixtures of the demo corpus' tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache

import pytest

from bench.datasets.demo.clip import MadeClip, make_clip
from bench.datasets.demo.sentences import ClipPlan, plan_corpus
from bench.espeak import available


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """As the maker's processes: small systems are solved ten times as fast by one thread."""
    cv2 = pytest.importorskip("cv2")
    threadpoolctl = pytest.importorskip("threadpoolctl")
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    with threadpoolctl.threadpool_limits(1):
        yield
    cv2.setNumThreads(before)


@lru_cache(maxsize=16)
def _made(plan: ClipPlan) -> MadeClip:
    return make_clip(plan)


@pytest.fixture(scope="session")
def made() -> Callable[[str], MadeClip]:
    """A clip of the default corpus by its id, made once per session."""
    if missing := available():
        pytest.skip(missing[0])
    plans = {plan.id: plan for split in plan_corpus().values() for plan in split}
    return lambda clip_id: _made(plans[clip_id])
