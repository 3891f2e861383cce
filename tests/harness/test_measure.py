"""The clock of generating: wall seconds, and those that requests are charged while it runs."""

from __future__ import annotations

import math
import threading
import time

import pytest

from bench.api import charge
from bench.measure import Meter


def test_what_is_charged_while_it_runs_is_part_of_the_time() -> None:
    charge(1000.0)  # before: not this meter's
    meter = Meter("cpu")
    time.sleep(0.02)
    charge(30.0)
    charge(0.0)
    seconds, peak_mib = meter.read()
    assert 30.02 <= seconds < 50.0 and peak_mib > 0.0
    charge(7.0)
    assert meter.read()[0] >= 37.0
    assert Meter("cpu").read()[0] < 5.0


def test_threads_may_charge() -> None:
    meter = Meter("cpu")
    threads = [threading.Thread(target=lambda: [charge(1.0) for _ in range(500)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 2000.0 <= meter.read()[0] < 2020.0


@pytest.mark.parametrize("seconds", [-1e-9, math.nan, math.inf])
def test_only_seconds_can_be_charged(seconds: float) -> None:
    meter = Meter("cpu")
    with pytest.raises(ValueError, match="cannot be charged"):
        charge(seconds)
    assert meter.read()[0] < 5.0
