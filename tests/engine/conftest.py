"""One folder of Ray's for all tests of a process: its sessions end with the tests."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session")
def ray_here() -> Iterator[None]:
    """Ray's files in a folder of our own (short: Ray puts sockets there), and a token of our own."""
    folder = tempfile.mkdtemp(prefix="r")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_TMPDIR", folder)
        patch.setenv("RAY_AUTH_MODE", "token")
        patch.setenv("RAY_AUTH_TOKEN", "a-token-of-the-tests-and-of-nobody-else")
        yield
        import ray

        ray.shutdown()
    shutil.rmtree(folder, ignore_errors=True)
