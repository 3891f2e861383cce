"""The driver's connection to Ray: a cluster of its own on this machine, or one that is there already.

It is made once and lasts as long as the process; a cluster of its own ends with the process, however that ends.
Ray's usage statistics are off, its token authentication is left as it is (on, where Ray makes the cluster).
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from bench.errors import EngineLostError, UsageError

CONNECT_S = 5.0  # for a head that is named, and for the probes of one that was there
_OBJECTS = 256 * 2**20  # bytes of Ray's object store: records are small, media stay in files
# Ray would print the deaths of actors, which are the engine's to tell, on our standard output.
_QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_DEDUP_LOGS_SKIP_REGEX": "."}
_ENDPOINT = tuple[str, int]

_current: Session | None = None


@dataclass
class Session:
    """A connection. ``head`` is the cluster's head process, ``node`` the node manager of this machine.

    ``room_known``: the most workers that it has been seen to have room for, by the GPUs of each.
    """

    address: str | None
    cpus_asked: int  # of a cluster of its own
    head: _ENDPOINT
    node: _ENDPOINT
    room_known: dict[float, int] = field(default_factory=dict)

    def lost(self) -> str:
        """Which of the two processes does not answer any more; empty: both do."""
        for what, endpoint in (("the head of the Ray cluster", self.head), ("this machine's Ray node", self.node)):
            if not _answers(endpoint):
                return f"{what} ({endpoint[0]}:{endpoint[1]}) does not answer"
        return ""

    def room(self, gpus_per_worker: float) -> int:
        """How many workers of one CPU and so many GPUs the nodes have room for."""
        return sum(_room(node["Resources"], gpus_per_worker) for node in _nodes() if node["Alive"])


def _nodes() -> Sequence[Mapping[str, Any]]:
    import ray

    listing: Callable[[], list[Any]] = ray.nodes
    return listing()


def _room(resources: Mapping[str, float], gpus_per_worker: float) -> int:
    cpus = int(resources.get("CPU", 0.0))
    if gpus_per_worker == 0:
        return cpus
    gpus = resources.get("GPU", 0.0)
    per_device = int(1 / gpus_per_worker + 1e-9)  # a share of a device never spans two
    fitting = int(gpus) * per_device if gpus_per_worker <= 1 else int(gpus / gpus_per_worker + 1e-9)
    return min(cpus, fitting)


def require() -> None:
    """Raise ``UsageError`` where the package is not installed."""
    from importlib.util import find_spec

    if find_spec("ray") is None:
        raise UsageError(
            "--engine ray: the package ray is not installed", "install the extra: pip install 'bench-avgen[ray]'."
        )


def connect(address: str | None, workers: int) -> Session:
    """The connection to ``address`` (``auto``: the cluster of this machine; ``None``: a cluster of its own).

    Raises:
        UsageError: no package, nothing at that address, or versions that do not fit.
        EngineLostError: a cluster of its own did not start.
    """
    global _current
    require()
    cpus = max(workers, os.cpu_count() or 1) if address is None else 0
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    with _signals_kept():
        import ray

        if _current is not None and ray.is_initialized():
            if _current.address == address and _current.cpus_asked >= cpus:
                return _current
            ray.shutdown()
        _init(address, cpus)
    context = ray.get_runtime_context()
    own = next(node for node in _nodes() if node["NodeID"] == context.get_node_id())
    node = (str(own["NodeManagerAddress"]), int(own["NodeManagerPort"]))
    _current = Session(address, cpus, _endpoint(context.gcs_address), node)
    return _current


def _init(address: str | None, cpus: int) -> None:
    import ray

    common: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address is None:
        # workers are started for actors alone: those that Ray starts in advance have not our environment
        system = {"prestart_worker_first_driver": False}
        try:
            ray.init(
                address="local",
                num_cpus=cpus,
                include_dashboard=False,
                object_store_memory=_OBJECTS,
                _system_config=system,
                **common,
            )
        except Exception as error:
            raise EngineLostError(f"Ray did not start here: {error}", "see the logs that it names.") from error
        return
    if address != "auto" and not _answers(_endpoint(address)):
        raise UsageError(f"--ray-address {address}: nothing answers there", "give HOST:PORT of the head node, or auto.")
    try:
        ray.init(address=address, **common)
    except Exception as error:
        raise UsageError(
            f"--ray-address {address}: {error}",
            "this command must run on a node of the cluster, with the same versions of Ray and Python and its token.",
        ) from error


def _endpoint(address: str) -> _ENDPOINT:
    host, colon, port = address.rpartition(":")
    if not (colon and host and port.isdigit()) or "/" in host:
        raise UsageError(f"--ray-address {address!r} is neither auto nor HOST:PORT", "for example 10.0.0.1:6379.")
    return host.strip("[]"), int(port)


def _answers(endpoint: _ENDPOINT) -> bool:
    try:
        with socket.create_connection(endpoint, CONNECT_S):
            return True
    except OSError:
        return False


@contextmanager
def _signals_kept() -> Iterator[None]:
    """Ray takes over SIGTERM; the command's own orderly end is put back."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    ours = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, ours)
