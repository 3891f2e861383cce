"""The gateway: an official repository, run by its own code in its own environment."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.api import TASKS, Failure, Output, Request, System, Task, Tier, Unscorable, UsageError, did_you_mean

if TYPE_CHECKING:
    from pydantic import BaseModel

    from bench.systems.gateway.config import Adapter
    from bench.systems.gateway.runner import Place


class Gateway(System):
    """``--system gateway:NAME`` or ``gateway:FILE.yaml``; the YAML is :mod:`bench.systems.gateway.config`'s.

    The checkout is looked for under ``$BENCH_GATEWAYS`` (else ``bench/gateways`` in the user's data
    folder), in a folder of the adapter's name, and its interpreter in the checkout's ``.venv``.
    ``tasks``, ``uses``, ``portrait`` and ``version`` are the YAML's.
    """

    name = "gateway"
    version = "1"
    tasks: tuple[Task, ...] = TASKS
    tier: Tier = "gateway"
    local_settings = frozenset({"adapter", "checkout", "python", "ckpt", "logs", "timeout_s", "retries"})
    deterministic = False
    summary = "the official code of a system in its own environment, by a YAML"
    licence = "as the official repository's"

    def __init__(self, settings: Mapping[str, Any] | None = None) -> None:
        super().__init__(settings)
        from bench.systems.gateway import config

        name = str(self.settings.get("adapter", ""))
        if not name:
            raise UsageError(
                "system 'gateway' needs an adapter",
                f"write gateway:NAME ({', '.join(config.names())}) or gateway:FILE.yaml.",
            )
        self.path = config.find(name)
        self.adapter = self._overridden(config.load(self.path))
        self._device = "cpu"
        # this adapter's, in place of the class's
        self.request_timeout_s = self.adapter.timeout_s * (2 + self.adapter.retries)  # a list is run again clip by clip
        self.portrait = self.adapter.portrait
        self.version = self.adapter.version
        self.deterministic = self.adapter.deterministic
        self.tasks = self.adapter.tasks or TASKS
        self.uses = frozenset(self.adapter.uses)

    @classmethod
    def options(cls) -> type[BaseModel]:
        """``adapter``, ``checkout``, ``python``, ``ckpt``, ``logs``, ``timeout_s`` and ``retries``."""
        from bench.systems.gateway.options import GatewayOptions

        return GatewayOptions

    def _overridden(self, adapter: Adapter) -> Adapter:
        given = {key: self.settings[key] for key in ("timeout_s", "retries") if self.settings.get(key) is not None}
        return adapter.model_copy(update=given)

    @property
    def checkout(self) -> Path:
        """The folder of the official repository (it may be absent)."""
        given = self.settings.get("checkout")
        if given:
            return Path(str(given)).expanduser().resolve()
        named = self.adapter.checkout
        if named.startswith(("./", "../")) or named in {".", ".."}:
            return (self.path.parent / named).resolve()
        return (_gateways() / Path(named or self.adapter.name).expanduser()).resolve()

    def _python(self) -> str | None:
        """The interpreter, or ``None`` where it is absent: as given, the checkout's own, the adapter's."""
        given = self.settings.get("python")
        own = self.checkout / ".venv" / "bin" / "python"
        if not given and own.exists():
            return str(own)
        name = str(given or self.adapter.python)
        if "/" not in name:
            return shutil.which(name)
        path = self.checkout / Path(name).expanduser()
        return str(path) if path.exists() else None

    def _weights(self) -> dict[str, Path]:
        from bench.systems.gateway.options import split_pairs

        given = split_pairs(str(self.settings.get("ckpt") or ""))
        for name in given:
            if name not in self.adapter.requires:
                hint = did_you_mean(name, self.adapter.requires)
                raise UsageError(f"gateway {self.adapter.name}: ckpt names unknown file {name!r}", hint)
        paths = {name: given.get(name, weight.path) for name, weight in self.adapter.requires.items()}
        return {name: (self.checkout / Path(path).expanduser()).resolve() for name, path in paths.items()}

    def missing(self) -> list[str]:
        """Why nothing can be called; or the checkout, interpreter, files (by official name) and GPU that are absent."""
        adapter = self.adapter
        if adapter.unavailable:
            return [f"gateway {adapter.name}: {adapter.unavailable}"]
        lines = []
        if not self.checkout.is_dir():
            lines.append(
                f"the official code ({adapter.source or adapter.name}) is not at {self.checkout}: "
                f"put a checkout there, or --set checkout=DIR"
            )
        else:
            lines += [
                f"{self.checkout / name} is absent: the checkout is not the one that {self.path.name} describes"
                for name in adapter.link
                if not (self.checkout / name).exists()
            ]
        if self._python() is None and adapter.command[0] == "python":
            lines.append(
                f"no interpreter {self.settings.get('python') or adapter.python!r}: make the official environment "
                f"in {self.checkout / '.venv'}, or --set python=PATH"
            )
        lines += self._missing_weights()
        if adapter.gpu == "required" and shutil.which("nvidia-smi") is None:
            lines.append("needs an NVIDIA GPU (the official code calls CUDA without a switch), and none is here")
        return lines

    def _missing_weights(self) -> list[str]:
        lines = []
        used = " ".join((*self.adapter.command, *self.adapter.env.values(), self.adapter.list_line))
        for name, path in self._weights().items():
            weight = self.adapter.requires[name]
            if not path.is_file():
                or_else = f", or --set ckpt={name}=PATH" if f"{{ckpt.{name}}}" in used else ""
                lines.append(f"{weight.official} is not at {path}: put it there{or_else}")
            elif weight.sha256 is not None and (found := _sha256(path)) != weight.sha256:
                lines.append(f"{path} has SHA-256 {found[:16]}…, not that of {weight.official}: replace it")
        return lines

    def fingerprint(self) -> str:
        """SHA-256 over the YAML, the hashes of the required files, and the checkout's commit where it tells one."""
        import hashlib

        digest = hashlib.sha256(self.path.read_bytes())
        for name, path in sorted(self._weights().items()):
            digest.update(f"\0{name}\0{_sha256(path) if path.is_file() else 'absent'}".encode())
        digest.update(f"\0{commit(self.checkout)}".encode())
        return digest.hexdigest()

    def load(self, device: str, dtype: str) -> None:
        """Remember the device. Raises :class:`bench.api.UsageError` where the code needs another."""
        if self.adapter.gpu == "required" and device.partition(":")[0] == "cpu":
            raise UsageError(f"gateway {self.adapter.name} runs on a GPU alone", "use --device cuda.")
        self._device = device

    def generate(self, requests: Sequence[Request]) -> Sequence[Output | Failure]:
        """One process per request, or one for all of them where the adapter takes lists."""
        from bench.systems.gateway.runner import run_jobs

        results = run_jobs(self.adapter, self._place(), requests)
        return [self._finished(result, request) for result, request in zip(results, requests, strict=True)]

    def _place(self) -> Place:
        from bench.systems.gateway.runner import Place

        python = self._python()
        if python is None:
            raise UsageError(self.missing()[0], "see `bench doctor`.")
        logs = self.settings.get("logs")
        return Place(
            checkout=self.checkout,
            python=python,
            weights=self._weights(),
            logs=Path(str(logs)).expanduser().resolve() if logs else _state() / "gateway-logs",
            device=self._device,
        )

    def _finished(self, result: Any, request: Request) -> Output | Failure:
        from bench.systems.gateway.post import finish

        try:
            if isinstance(result, Unscorable):
                raise result
            return finish(result, request, self.adapter.post)
        except Unscorable as error:
            return Failure(error.kind, error.detail)


def _gateways() -> Path:
    chosen = os.environ.get("BENCH_GATEWAYS")
    data = os.environ.get("XDG_DATA_HOME")
    return Path(chosen) if chosen else (Path(data) if data else Path.home() / ".local" / "share") / "bench" / "gateways"


def _state() -> Path:
    state = os.environ.get("XDG_STATE_HOME")
    return (Path(state) if state else Path.home() / ".local" / "state") / "bench"


def _sha256(path: Path) -> str:
    from bench.weights import sha256

    return sha256(path)


def commit(checkout: Path) -> str:
    """The commit of a git checkout, read from its files; the empty string where there is none."""
    git = checkout / ".git"
    try:
        head = (git / "HEAD").read_text(encoding="utf-8").strip()
        if not head.startswith("ref: "):
            return head
        reference = head.removeprefix("ref: ")
        loose = git / reference
        if loose.is_file():
            return loose.read_text(encoding="utf-8").strip()
        packed = (git / "packed-refs").read_text(encoding="utf-8").splitlines()
        return next((line.split()[0] for line in packed if line.endswith(f" {reference}")), "")
    except (OSError, UnicodeDecodeError):
        return ""
