"""The gateway on a small real script: processes, folders, time limits, logs, lists."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from system_helpers import Made, a2v

from bench import media
from bench.api import Failure, Output, Request, Source, UsageError
from bench.systems.gateway.system import Gateway, commit

SCRIPT = Path(__file__).with_name("official_script.py")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout in a folder with a space and a dot, as users have."""
    folder = tmp_path / "official code v1.0"
    (folder / "weights").mkdir(parents=True)
    shutil.copyfile(SCRIPT, folder / "inference.py")
    (folder / "weights" / "net.pth").write_bytes(b"weights")
    return folder


def adapter(tmp_path: Path, **changes: Any) -> Path:
    fields: dict[str, Any] = {
        "name": "toy",
        "kind": "gateway",
        "tasks": ["a2v"],
        "uses": ["identity"],
        "link": ["inference.py"],
        "folders": ["temp", "results"],
        "command": ["python", "inference.py", "--face", "{video}", "--audio", "{audio}", "--out", "{out}"],
        "requires": {"net": {"path": "weights/net.pth", "official": "net.pth (README)"}},
        "timeout_s": 60,
        "collect": "out.mp4",
    }
    fields |= changes
    path = tmp_path / "toy.yaml"
    path.write_text(yaml.safe_dump({key: value for key, value in fields.items() if value is not None}))
    return path


def gateway(path: Path, checkout: Path, **settings: Any) -> Gateway:
    settings = {"logs": str(checkout.parent / "logs"), "python": sys.executable} | settings
    system = Gateway({"adapter": str(path), "checkout": str(checkout)} | settings)
    assert system.missing() == []
    system.load("cpu", "float32")
    return system


def with_mode(mode: str, *more: str) -> list[str]:
    return [
        "python",
        "inference.py",
        "--face",
        "{video}",
        "--audio",
        "{audio}",
        "--out",
        "{out}",
        "--mode",
        mode,
        *more,
    ]


def frames_of(result: object) -> np.ndarray:
    assert isinstance(result, Output), result
    assert result.video is not None
    return media.decode_video(Source(result.video)).frames if isinstance(result.video, Path) else result.video


def log_of(checkout: Path, request: Request) -> str:
    return (checkout.parent / "logs" / "toy" / f"{request.key}.log").read_text()


def test_a_clip_goes_through_the_script(clips: list[Made], checkout: Path, tmp_path: Path) -> None:
    request = a2v(clips[0], tmp_path / "work dir.v2" / "r1")
    (result,) = gateway(adapter(tmp_path), checkout).generate([request])
    frames = frames_of(result)
    expected = np.clip(clips[0].frames.astype(int) + 40, 0, 255)
    assert frames.shape == (13, 48, 64, 3)  # the script's own length: nothing is trimmed unasked
    assert np.abs(frames[:10].astype(int) - expected).mean() < 3
    assert isinstance(result, Output) and result.video == tmp_path / "work dir.v2" / "r1" / "made.mp4"
    assert [path.name for path in (tmp_path / "work dir.v2" / "r1").iterdir()] == [
        "made.mp4"
    ]  # the job's folder is gone
    assert sorted(path.name for path in checkout.iterdir()) == ["inference.py", "weights"]  # and the checkout untouched


def test_post_steps_crop_trim_and_resize(clips: list[Made], checkout: Path, tmp_path: Path) -> None:
    post = ["crop_right_half", "fps25", "resize_to_input", "trim_to_audio", "mux_audio"]
    path = adapter(tmp_path, command=with_mode("double"), post=post)
    (result,) = gateway(path, checkout).generate([a2v(clips[0], tmp_path / "w")])
    frames = frames_of(result)
    assert frames.shape == (10, 48, 64, 3)
    assert frames.min() > 60  # the black sketch on the left is gone


def test_pictures_of_another_size_are_brought_to_the_given_ones(
    clips: list[Made], checkout: Path, tmp_path: Path
) -> None:
    path = adapter(tmp_path, command=with_mode("double"), post=["resize_to_input"])
    (result,) = gateway(path, checkout).generate([a2v(clips[0], tmp_path / "w")])
    assert frames_of(result).shape == (13, 48, 64, 3)
    portrait = tmp_path / "face.png"
    media.write_png(portrait, np.zeros((80, 100, 3), np.uint8))
    code = "import shutil,sys;assert sys.argv[1]=='image.png';shutil.copy(sys.argv[2],'out.mp4')"
    path = adapter(
        tmp_path,
        portrait=True,
        command=["python", "-c", code, "{image}", str(clips[0].clip.video.path)],  # type: ignore[union-attr]
        collect="out.mp4",
        post=["resize_to_input", "trim_to_audio"],
    )
    system = gateway(path, checkout)
    assert system.portrait
    (result,) = system.generate([a2v(clips[0], tmp_path / "w", identity=portrait, n_frames=None)])
    assert frames_of(result).shape == (10, 80, 100, 3)


def test_speech_and_face_come_from_two_files(clips: list[Made], checkout: Path, tmp_path: Path) -> None:
    made = clips[0]
    code = "import shutil,sys;shutil.copy(sys.argv[1],'out.mp4');shutil.copy(sys.argv[2],'out.wav');print(sys.argv)"
    command = ["python", "-c", code, "{video}", "{voice}", "--text={text}", "--seed={seed}"]
    path = adapter(tmp_path, tasks=["t2av"], uses=["voice", "identity"], command=command, collect_audio="out.wav")
    request = a2v(made, tmp_path / "w", task="t2av", audio=None, text="place red", n_frames=None, seed=2**40 + 5)
    request = replace(request, voice=made.clip.audio.path if made.clip.audio else None)
    (result,) = gateway(path, checkout).generate([request])
    assert frames_of(result).shape == made.frames.shape
    assert isinstance(result, Output) and isinstance(result.audio, Path)
    assert np.abs(media.decode_audio(Source(result.audio)).samples - made.samples).max() < 1e-4
    assert "--text=place red" in log_of(checkout, request) and "--seed=5" in log_of(checkout, request)


def test_a_failing_script_is_missing_output_with_code_and_last_line(
    clips: list[Made], checkout: Path, tmp_path: Path
) -> None:
    request = a2v(clips[0], tmp_path / "w")
    (result,) = gateway(adapter(tmp_path, command=with_mode("exit")), checkout).generate([request])
    assert isinstance(result, Failure) and result.kind == "missing_output"
    assert "exit code 3" in result.detail and "RuntimeError: face not detected" in result.detail
    assert "script says" in log_of(checkout, request) and "# attempt 1: [" in log_of(checkout, request)


def test_no_output_and_an_output_elsewhere_are_failures(clips: list[Made], checkout: Path, tmp_path: Path) -> None:
    for changes, message in (
        ({"command": with_mode("nothing")}, "no file"),
        ({"collect": "*.mp4"}, "2 files"),  # video.mp4 is the input
        ({"collect": "../*.mp4"}, "no file"),
    ):
        (result,) = gateway(adapter(tmp_path, **changes), checkout).generate([a2v(clips[0], tmp_path / "w")])
        assert isinstance(result, Failure) and result.kind == "missing_output"
        assert message in result.detail


def test_retries_run_the_command_again(clips: list[Made], checkout: Path, tmp_path: Path) -> None:
    command = with_mode("flaky", "--mark", str(tmp_path / "mark"))
    request = a2v(clips[0], tmp_path / "w")
    (result,) = gateway(adapter(tmp_path, command=command), checkout).generate([request])
    assert isinstance(result, Failure)
    (tmp_path / "mark").unlink()
    (result,) = gateway(adapter(tmp_path, command=command), checkout, retries=1).generate([request])
    assert isinstance(result, Output)
    assert "# attempt 2" in log_of(checkout, request)


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2][:3]
    except (ProcessLookupError, FileNotFoundError):  # it may end between the two
        return False


def all_end(pids: list[int], within_s: float = 10.0) -> bool:
    end = time.monotonic() + within_s
    while time.monotonic() < end:
        if not any(alive(pid) for pid in pids):
            return True
        time.sleep(0.05)
    return False


@pytest.mark.skipif(sys.platform != "linux", reason="descendants in sessions of their own are found on Linux alone")
@pytest.mark.parametrize("mode", ["hang", "leave"])
def test_nothing_that_the_script_started_outlives_it(
    clips: list[Made], checkout: Path, tmp_path: Path, mode: str
) -> None:
    mark = tmp_path / "pids"
    path = adapter(tmp_path, command=with_mode(mode, "--mark", str(mark)), retries=2)
    request = a2v(clips[0], tmp_path / "w")
    (result,) = gateway(path, checkout, timeout_s=60 if mode == "leave" else 2).generate([request])
    pids = [int(pid) for pid in mark.read_text().split()]
    assert len(pids) == 2 and not any(alive(pid) for pid in pids)
    if mode == "hang":
        assert isinstance(result, Failure) and result.kind == "missing_output"
        assert result.detail.startswith("timeout: toy ran longer than 2 s")
        assert "# attempt 2" not in log_of(checkout, request)  # a time-out is not repeated
    else:
        assert isinstance(result, Output)


@pytest.mark.skipif(sys.platform != "linux", reason="descendants in sessions of their own are found on Linux alone")
def test_a_killed_worker_takes_the_script_with_it(clips: list[Made], checkout: Path, tmp_path: Path) -> None:
    mark = tmp_path / "pids"
    path = adapter(tmp_path, command=with_mode("hang", "--mark", str(mark)))
    request = a2v(clips[0], tmp_path / "w")
    code = (
        "from pathlib import Path; from bench.api import Request; from bench.systems.gateway.system import Gateway;"
        f"g=Gateway({{'adapter':{str(path)!r},'checkout':{str(checkout)!r},'python':{sys.executable!r},"
        f"'logs':{str(tmp_path / 'logs')!r}}});"
        f"g.generate([Request(key='k',task='a2v',seed=0,audio=Path({str(request.audio)!r}),"
        f"identity=Path({str(request.identity)!r}),workdir=Path({str(request.workdir)!r}))])"
    )
    worker = subprocess.Popen([sys.executable, "-c", code])
    while not mark.exists() or len(mark.read_text().split()) < 2:
        assert worker.poll() is None
        time.sleep(0.05)
    worker.send_signal(signal.SIGKILL)
    worker.wait()
    assert all_end([int(pid) for pid in mark.read_text().split()])


def test_the_environment_is_the_adapters_and_not_ours(
    clips: list[Made], checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", "/ours")
    monkeypatch.setenv("BENCH_SEED", "1")
    print_env = "import os,json;print(json.dumps(dict(os.environ)));open('temp/x','w');open('out.mp4','w').write('x')"
    env = {"MODEL_HOME": "{checkout}/weights", "NET": "{ckpt.net}", "JOB": "{job}", "BRACES": "{{x}}"}
    path = adapter(tmp_path, command=["python", "-c", print_env.replace("{", "{{").replace("}", "}}")], env=env)
    request = a2v(clips[0], tmp_path / "w")
    gateway(path, checkout).generate([request])
    seen = yaml.safe_load(log_of(checkout, request).splitlines()[1])
    assert seen["MODEL_HOME"] == str(checkout / "weights") and seen["NET"] == str(checkout / "weights" / "net.pth")
    assert seen["BRACES"] == "{x}" and seen["CUDA_VISIBLE_DEVICES"] == ""
    assert "PYTHONPATH" not in seen and "BENCH_SEED" not in seen
    assert seen["TMPDIR"].startswith(seen["JOB"])


def test_arguments_are_never_split_or_expanded(clips: list[Made], checkout: Path, tmp_path: Path) -> None:
    nasty = "a b; touch {job}/pwned $(touch pwned) `x` 'q' \"d\" *".replace("{job}", "")
    path = adapter(tmp_path, command=with_mode("work", "--say", nasty))
    request = a2v(clips[0], tmp_path / "w")
    (result,) = gateway(path, checkout).generate([request])
    assert isinstance(result, Output)
    assert f"script says {nasty}" in log_of(checkout, request)


def test_text_with_a_placeholder_or_a_nul_is_only_text(clips: list[Made], checkout: Path, tmp_path: Path) -> None:
    code = "import sys;print(sys.argv[1:]);open('out.wav','w').write('x')"
    path = adapter(tmp_path, tasks=["tts"], uses=[], command=["python", "-c", code, "--text={text}"], collect="out.wav")
    requests = [
        Request(key=f"t{i}", task="tts", seed=0, text=text, workdir=tmp_path)
        for i, text in enumerate(["say {seed} {{now}}\n -- please", "a\0b"])
    ]
    results = gateway(path, checkout).generate(requests)
    assert isinstance(results[0], Output) and "--text=say {seed} {{now}} -- please" in log_of(checkout, requests[0])
    assert isinstance(results[1], Failure) and "could not be started" in results[1].detail


def test_a_request_without_an_input_is_a_missing_reference(clips: list[Made], checkout: Path, tmp_path: Path) -> None:
    requests = [a2v(clips[0], tmp_path / "1", identity=None), a2v(clips[1], tmp_path / "2")]
    results = gateway(adapter(tmp_path), checkout).generate(requests)
    assert isinstance(results[0], Failure) and results[0].kind == "missing_reference" and "video" in results[0].detail
    assert isinstance(results[1], Output)


def test_an_unreadable_output_is_a_typed_failure_where_it_is_processed(
    clips: list[Made], checkout: Path, tmp_path: Path
) -> None:
    code = "open('out.mp4','w').write('no video')"
    path = adapter(tmp_path, command=["python", "-c", code], post=["trim_to_audio"])
    (result,) = gateway(path, checkout).generate([a2v(clips[0], tmp_path / "w")])
    assert isinstance(result, Failure) and result.kind == "decode_error"


LIST = {
    "mode": "per_list",
    "list_line": "{video} {audio}",
    "collect": "results/{index}.mp4",
}


def test_a_list_is_one_process_for_all_clips(clips: list[Made], checkout: Path, tmp_path: Path) -> None:
    path = adapter(tmp_path, command=["python", "inference.py", "--list", "{list}"], **LIST)
    requests = [a2v(made, tmp_path / str(i), key=f"r{i}") for i, made in enumerate(clips)]
    results = gateway(path, checkout).generate(requests)
    for made, result in zip(clips, results, strict=True):
        assert frames_of(result).shape[1:] == made.frames.shape[1:]
        expected = np.clip(made.frames.astype(int) + 40, 0, 255)
        assert np.abs(frames_of(result)[: len(expected)].astype(int) - expected).mean() < 3
    assert [log.name for log in (checkout.parent / "logs" / "toy").iterdir()] == ["list-r0.log"]


def test_a_clip_that_fails_in_a_list_fails_alone(clips: list[Made], checkout: Path, tmp_path: Path) -> None:
    path = adapter(tmp_path, command=["python", "inference.py", "--list", "{list}", "--mode", "list-trips"], **LIST)
    requests = [a2v(made, tmp_path / str(i), key=f"r{i}") for i, made in enumerate(clips[:3])]
    results = gateway(path, checkout).generate(requests)
    assert all(isinstance(result, Output) for result in results)  # alone, none is the second of its list
    assert "tripped" in (checkout.parent / "logs" / "toy" / "list-r0.log").read_text()


def test_gateways_work_side_by_side(clips: list[Made], checkout: Path, tmp_path: Path) -> None:
    """As with ``--workers``: one instance each, one checkout."""
    path = adapter(tmp_path)
    requests = [a2v(made, tmp_path / str(i), key=f"r{i}") for i, made in enumerate(clips)]
    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(lambda request: gateway(path, checkout).generate([request])[0], requests))
    for made, result in zip(clips, results, strict=True):
        expected = np.clip(made.frames.astype(int) + 40, 0, 255)
        assert np.abs(frames_of(result)[: len(expected)].astype(int) - expected).mean() < 3


def test_work_in_the_checkout_gets_plain_absolute_paths(clips: list[Made], checkout: Path, tmp_path: Path) -> None:
    code = (
        "import sys,os,shutil;print(os.getcwd());video,out=sys.argv[1:3];"
        "assert video.startswith('/') and ' ' not in video and '.' not in video[:-4], video;shutil.copy(video,out)"
    )
    path = adapter(tmp_path, workdir="checkout", command=["python", "-c", code, "{video}", "{out}"], collect=None)
    request = a2v(clips[0], tmp_path / "work dir.v2")
    (result,) = gateway(path, checkout).generate([request])
    assert frames_of(result).shape == clips[0].frames.shape
    assert str(checkout) in log_of(checkout, request)


def test_what_is_missing_is_named_before_anything_starts(
    checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = adapter(
        tmp_path,
        link=["inference.py", "models"],
        gpu="required",
        requires={
            "net": {"path": "weights/net.pth", "official": "net.pth (README)", "sha256": "0" * 64},
            "gan": {"path": "weights/gan.pth", "official": "gan_v2.pth (model page)"},
        },
        command=["python", "x", "--face", "{video}", "{ckpt.gan}"],
    )
    monkeypatch.setenv("PATH", "")
    system = Gateway({"adapter": str(path), "checkout": str(checkout), "python": "nothing-like-it"})
    text = "\n".join(system.missing())
    for part in ("models is absent", "no interpreter 'nothing-like-it'", "gan_v2.pth (model page) is not at", "GPU"):
        assert part in text
    assert "--set ckpt=gan=PATH" in text and "not that of net.pth" in text
    absent = Gateway({"adapter": str(path), "checkout": str(tmp_path / "none")})
    assert "--set checkout=DIR" in absent.missing()[0]


def test_a_gpu_is_not_asked_of_a_cpu(checkout: Path, tmp_path: Path) -> None:
    system = Gateway({"adapter": str(adapter(tmp_path, gpu="required")), "checkout": str(checkout)})
    with pytest.raises(UsageError, match="GPU"):
        system.load("cpu", "float32")


def test_checkpoints_can_lie_elsewhere(clips: list[Made], checkout: Path, tmp_path: Path) -> None:
    other = tmp_path / "net with space.pth"
    other.write_bytes(b"other")
    path = adapter(tmp_path, command=with_mode("work", "--say", "{ckpt.net}"))
    system = gateway(path, checkout, ckpt=f"net={other}")
    request = a2v(clips[0], tmp_path / "w")
    system.generate([request])
    assert f"script says {other}" in log_of(checkout, request)
    assert system.fingerprint() != gateway(path, checkout).fingerprint()
    with pytest.raises(UsageError, match="unknown file 'nett'"):
        Gateway({"adapter": str(path), "checkout": str(checkout), "ckpt": "nett=x"}).missing()


def test_the_fingerprint_follows_yaml_weights_and_commit(checkout: Path, tmp_path: Path) -> None:
    def now() -> str:
        return Gateway({"adapter": str(path), "checkout": str(checkout)}).fingerprint()

    path = adapter(tmp_path)
    seen = [now()]
    assert now() == seen[0]
    (checkout / "weights" / "net.pth").write_bytes(b"finer weights")
    seen.append(now())
    path = adapter(tmp_path, env={"A": "1"})
    seen.append(now())
    (checkout / ".git" / "refs" / "heads").mkdir(parents=True)
    (checkout / ".git" / "HEAD").write_text("ref: refs/heads/main\n")
    (checkout / ".git" / "packed-refs").write_text("# pack-refs\n" + "1" * 40 + " refs/heads/main\n")
    seen.append(now())
    assert commit(checkout) == "1" * 40
    (checkout / ".git" / "refs" / "heads" / "main").write_text("2" * 40 + "\n")
    seen.append(now())
    assert len(set(seen)) == len(seen)
