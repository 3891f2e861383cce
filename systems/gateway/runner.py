"""Runs an adapter's command on jobs: a folder per job, no shell, time limit, retries, log."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bench.api import MADE, Request, Unscorable
from bench.systems.gateway.config import INPUTS, Adapter, fill, placeholders

_PLAIN = re.compile(r"[A-Za-z0-9_/-]+")  # official scripts split paths at dots and pass them to shells
_STARTED_ELSEWHERE = ("PYTHON", "BENCH_", "VIRTUAL_ENV", "CONDA_PREFIX", "COVERAGE_")
_HEAD = "# attempt"
_LOG_TAIL = 400  # characters of the log in a failure's detail


@dataclass(frozen=True)
class Place:
    """Where the official repository and its parts are: resolved, absolute paths."""

    checkout: Path
    python: str
    weights: Mapping[str, Path]
    logs: Path
    device: str = "cpu"


@dataclass(frozen=True, slots=True)
class Finished:
    """What became of a command. ``returncode`` is ``None`` where it was stopped or never started."""

    returncode: int | None
    timed_out: bool
    seconds: float
    error: str = ""


@dataclass(frozen=True)
class Job:
    """One request in its folder, with the values of its placeholders. ``prefix`` is its part of the job folder."""

    request: Request
    folder: Path
    prefix: str
    values: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Collected:
    """The files that the command made, inside the request's folder."""

    video: Path | None
    audio: Path | None


def run_command(command: Sequence[str], cwd: Path, env: Mapping[str, str], log: Path, timeout_s: float) -> Finished:
    """Run ``command`` without a shell under a supervisor that leaves no process behind; its output goes to ``log``.

    When this process is killed, the command and all that it started are killed too.
    """
    task = {
        "command": list(command),
        "cwd": str(cwd),
        "env": dict(env),
        "log": str(log),
        "timeout_s": timeout_s,
    }
    script = Path(__file__).with_name("supervisor.py")
    with subprocess.Popen(
        [sys.executable, "-I", "-S", str(script)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    ) as supervisor:
        if supervisor.stdin is None or supervisor.stdout is None or supervisor.stderr is None:
            raise RuntimeError("the supervisor has no pipes")
        # stdin stays open until the answer is there: its end tells the supervisor that we are gone
        supervisor.stdin.write(json.dumps(task).encode() + b"\n")
        supervisor.stdin.flush()
        answer = supervisor.stdout.readline()
        if not answer:
            return Finished(None, False, 0.0, f"the supervisor ended: {supervisor.stderr.read().decode()[-_LOG_TAIL:]}")
    return Finished(**json.loads(answer))


def run_jobs(adapter: Adapter, place: Place, requests: Sequence[Request]) -> list[Collected | Unscorable]:
    """One result per request, in order: the files, or why there are none.

    Kinds: ``missing_reference`` (the request lacks an input that the command names),
    ``missing_output`` (all else; ``detail`` begins with ``timeout`` where time was up).
    """
    results: dict[int, Collected | Unscorable] = {}
    for index, request in enumerate(requests):
        lacking = sorted(_inputs(adapter) - _given(request))
        if lacking:
            results[index] = Unscorable("missing_reference", f"the request has no {' and no '.join(lacking)}")
    ready = [index for index in range(len(requests)) if index not in results]
    if adapter.mode == "per_list" and len(ready) > 1:
        listed = _attempts(adapter, place, [requests[index] for index in ready])
        results |= dict(zip(ready, listed, strict=True))
        # a list that fails takes the clips behind the bad one with it: those are run again, each alone
        ready = [index for index in ready if isinstance(results[index], Unscorable)]
    for index in ready:
        results[index] = _attempts(adapter, place, [requests[index]])[0]
    return [results[index] for index in range(len(requests))]


def _inputs(adapter: Adapter) -> set[str]:
    """The inputs that the command or the line of the list names."""
    return placeholders(" ".join((*adapter.command, adapter.list_line))) & INPUTS


def _given(request: Request) -> set[str]:
    """The placeholders of inputs that a request has."""
    given = set(_sources(request))
    return given | {"text", "text_file"} if request.text is not None else given


def _attempts(adapter: Adapter, place: Place, requests: Sequence[Request]) -> list[Collected | Unscorable]:
    """Run until every request has its output, at most ``1 + retries`` times; a time-out is not repeated."""
    log = _log_file(adapter, place, requests)
    results: list[Collected | Unscorable] = []
    for attempt in range(adapter.retries + 1):
        results, stop = _once(adapter, place, requests, log, attempt)
        if stop or not any(isinstance(result, Unscorable) for result in results):
            break
    return results


def _once(
    adapter: Adapter, place: Place, requests: Sequence[Request], log: Path, attempt: int
) -> tuple[list[Collected | Unscorable], bool]:
    with _job_folder(adapter, requests[0]) as root:
        jobs = [_prepare(adapter, place, root, request, index) for index, request in enumerate(requests)]
        command, cwd = _command(adapter, place, root, jobs)
        _write_head(log, command, attempt)
        limit = adapter.timeout_s * len(jobs)
        finished = run_command(command, cwd, environment(adapter, place, root), log, limit)
        problem = _problem(adapter, finished, limit, log)
        if problem:  # what a failed process left behind may be half written
            return [Unscorable("missing_output", problem) for _ in jobs], finished.timed_out
        return [_collect(adapter, job, log) for job in jobs], False


def _problem(adapter: Adapter, finished: Finished, limit: float, log: Path) -> str:
    """What went wrong with the process, or the empty string."""
    if finished.timed_out:
        return f"timeout: {adapter.name} ran longer than {limit:g} s (log: {log})"
    if finished.error:
        return f"{adapter.name} could not be started: {finished.error}"
    if finished.returncode:
        code = finished.returncode
        what = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
        return f"{adapter.name} {what}: {_tail(log)} (log: {log})"
    return ""


def _tail(log: Path) -> str:
    """The last line of a log that is not empty."""
    with log.open("rb") as stream:
        stream.seek(max(0, log.stat().st_size - 8192))
        text = stream.read().decode("utf-8", "replace")
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith(_HEAD)]
    return lines[-1][-_LOG_TAIL:] if lines else "no output"


def _log_file(adapter: Adapter, place: Place, requests: Sequence[Request]) -> Path:
    """An empty log, named after the request; a list's after its first one."""
    folder = place.logs / adapter.name
    folder.mkdir(parents=True, exist_ok=True)
    several = "list-" if len(requests) > 1 else ""
    log = folder / f"{several}{requests[0].key}.log"
    log.write_bytes(b"")
    return log


def _write_head(log: Path, command: Sequence[str], attempt: int) -> None:
    with log.open("a", encoding="utf-8", errors="backslashreplace") as stream:
        stream.write(f"{_HEAD} {attempt + 1}: {json.dumps(list(command))}\n")


@contextmanager
def _job_folder(adapter: Adapter, request: Request) -> Iterator[Path]:
    """A folder for one process: in the request's own, or under the system's temporary one.

    The latter where the command is given absolute paths and the request's has dots or spaces in it.
    """
    parent = request.workdir
    needs_plain = adapter.workdir == "checkout"
    if parent is not None and needs_plain and not _PLAIN.fullmatch(str(parent)):
        parent = None
    root = Path(tempfile.mkdtemp(prefix="gateway-", dir=parent))
    try:
        yield root
    finally:
        shutil.rmtree(root, ignore_errors=True)


def _prepare(adapter: Adapter, place: Place, root: Path, request: Request, index: int) -> Job:
    """Stage inputs under plain names, link parts of the checkout and make the folders that it expects."""
    prefix = f"clip{index:05d}/" if adapter.mode == "per_list" else ""
    folder = root / prefix
    folder.mkdir(exist_ok=True)
    if index == 0 and adapter.workdir == "per_job":
        for name in adapter.link:
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).symlink_to(place.checkout / name)
        for name in adapter.folders:
            (root / name).mkdir(parents=True, exist_ok=True)
    at = prefix if adapter.workdir == "per_job" else f"{folder}/"
    extension = "mp4" if "video" in MADE[request.task] else "wav"
    values = {"out": f"{at}out.{extension}", "stem": f"{at}out", "index": str(index)}
    values |= {"job": "." if adapter.workdir == "per_job" else str(root)}
    values |= {"seed": str(request.seed % 2**31), "checkout": str(place.checkout)}
    values |= {f"ckpt.{name}": str(path) for name, path in place.weights.items()}
    values |= {name: f"{at}{file}" for name, file in _stage(request, folder).items()}
    if request.text is not None:
        values["text"] = " ".join(request.text.split())
    return Job(request, folder, prefix, values)


def _sources(request: Request) -> dict[str, Path]:
    """The media of a request by placeholder."""
    face = request.identity
    portrait = face is not None and face.suffix == ".png"
    sources = {
        "video": request.video or (None if portrait else face),
        "image": face if portrait else None,
        "audio": request.audio,
        "voice": request.voice,
    }
    return {name: source for name, source in sources.items() if source is not None}


def _stage(request: Request, folder: Path) -> dict[str, str]:
    """Copies of the inputs (a script may write over them); their names by placeholder."""
    staged = {}
    for name, source in _sources(request).items():
        staged[name] = f"{name}{source.suffix}"
        shutil.copyfile(source, folder / staged[name])
    if request.text is not None:
        staged["text_file"] = "text.txt"
        (folder / "text.txt").write_text(" ".join(request.text.split()) + "\n", encoding="utf-8")
    return staged


def _command(adapter: Adapter, place: Place, root: Path, jobs: Sequence[Job]) -> tuple[list[str], Path]:
    """The arguments and the working folder."""
    values = dict(jobs[0].values)
    if adapter.mode == "per_list":
        lines = [fill(adapter.list_line, job.values) + "\n" for job in jobs]
        (root / "list.txt").write_text("".join(lines), encoding="utf-8")
        values["list"] = "list.txt" if adapter.workdir == "per_job" else str(root / "list.txt")
    command = [fill(part, values) for part in adapter.command]
    if command[0] == "python":
        command[0] = place.python
    return command, root if adapter.workdir == "per_job" else place.checkout


def environment(adapter: Adapter, place: Place, root: Path) -> dict[str, str]:
    """Ours without what belongs to our Python, then the device, a temporary folder and the adapter's own."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(_STARTED_ELSEWHERE)}
    scratch = root / "tmp"
    scratch.mkdir(exist_ok=True)
    env |= {"TMPDIR": str(scratch), "PYTHONUNBUFFERED": "1"}
    kind, _, number = place.device.partition(":")
    if kind == "cpu":
        env["CUDA_VISIBLE_DEVICES"] = ""
    elif number:
        env["CUDA_VISIBLE_DEVICES"] = number
    values = {"job": str(root), "checkout": str(place.checkout), "seed": "0"}
    values |= {f"ckpt.{name}": str(path) for name, path in place.weights.items()}
    return env | {name: fill(value, values) for name, value in adapter.env.items()}


def _collect(adapter: Adapter, job: Job, log: Path) -> Collected | Unscorable:
    """Find the outputs and move them to the request's folder (the job's is deleted)."""
    made = MADE[job.request.task]
    try:
        main = _one(adapter.collect or job.values["out"], job, adapter)
        sound = _one(adapter.collect_audio, job, adapter) if adapter.collect_audio else None
    except Unscorable as error:
        return Unscorable("missing_output", f"{error.detail}: {_tail(log)} (log: {log})")
    main = _keep(main, job, "made")
    sound = _keep(sound, job, "made-audio") if sound is not None else main
    return Collected(main if "video" in made else None, sound if "audio" in made else None)


def _one(pattern: str, job: Job, adapter: Adapter) -> Path:
    """The one file that a pattern (relative to the folder of the process) means; links out of it do not count."""
    root = job.folder.parent if job.prefix else job.folder
    pattern = fill(pattern, job.values)
    base = Path(pattern)
    if base.is_absolute():
        found = [base] if base.is_file() else []
    else:
        found = sorted(path for path in root.glob(pattern) if path.is_file())
    found = [path for path in found if path.resolve().is_relative_to(root.resolve()) and path.stat().st_size]
    if len(found) != 1:
        seen = f"{len(found)} files" if found else "no file"
        raise Unscorable("missing_output", f"{adapter.name} ended well, but {seen} in its folder match {pattern}")
    return found[0]


def _keep(path: Path, job: Job, name: str) -> Path:
    folder = job.request.workdir or Path(tempfile.mkdtemp(prefix="bench-gateway-"))
    kept = folder / f"{name}{path.suffix.lower()}"
    shutil.move(path.resolve(), kept)
    return kept
