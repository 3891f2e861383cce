"""The 25 fps grid: recorded cases, and the streaming clock against the whole-list function."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.media import fps_grid
from bench.media.grid import GridClock


def test_constant_25_fps_is_the_identity():
    for n in (1, 2, 75, 1000):
        assert fps_grid([k / 25 for k in range(n)], n / 25).tolist() == list(range(n))


def test_a_frame_exactly_on_the_half_step_is_left_to_the_next_grid_frame():
    assert fps_grid([0.0, 0.02, 0.06], 0.1).tolist() == [0, 1, 2]


def test_a_first_frame_that_comes_late_is_shown_from_the_start():
    assert fps_grid([0.1, 0.14], 0.18)[0] == 0


def test_no_frames_give_an_empty_grid():
    assert fps_grid([], 0.0).shape == (0,)
    assert fps_grid([0.0], 0.0).shape == (0,)


def test_recorded_cases():
    path = Path(__file__).resolve().parents[1] / "golden" / "metrics" / "fps_grid.json"
    if not path.exists():
        pytest.skip(f"{path} is not there")
    for name, case in json.loads(path.read_text()).items():
        assert fps_grid(case["pts"], case["duration"]).tolist() == case["index"], name


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.sampled_from([0.0, 0.001, 0.02, 1 / 30, 0.04, 0.0417, 0.06, 0.2, 0.333]), max_size=40),
    st.sampled_from([1e-4, 1 / 60, 1 / 25, 0.31]),
)
def test_the_streaming_clock_gives_the_same_frames(steps, last_duration):
    times = np.concatenate([[0.0], np.cumsum(steps)])
    clock, shown = GridClock(), []
    for index, upcoming in enumerate(times[1:]):
        shown += [index] * clock.before(float(upcoming))
    shown += [len(times) - 1] * clock.at_end(float(times[-1]) + last_duration)
    assert shown == fps_grid(times.tolist(), float(times[-1]) + last_duration).tolist()
    assert clock.count == len(shown)
