"""A stand-in for an official repository's script: reads video and audio, writes a brighter video.

Run in an environment with PyAV and NumPy, but without bench. Odd behaviour by options, as official
scripts have: files beside the output, relative temporary folders, failures, hanging children.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
import wave
from pathlib import Path

import av
import numpy as np


def brighten(video: Path, audio: Path, out: Path, double: bool = False) -> None:
    with wave.open(str(audio)) as sound:
        count = round(sound.getnframes() / sound.getframerate() * 25)
    with av.open(str(video)) as container:
        frames = [np.clip(f.to_ndarray(format="rgb24").astype(int) + 40, 0, 255) for f in container.decode(video=0)]
    frames = [frames[min(i, len(frames) - 1)].astype(np.uint8) for i in range(count + 3)]  # too long, as some do
    if double:  # a sketch on the left, the result on the right
        frames = [np.concatenate([np.zeros_like(f), f], axis=1) for f in frames]
    with av.open(str(out), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        stream.options = {"crf": "5"}
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame)))
        container.mux(stream.encode(None))


def hang(mark: Path) -> None:
    """Start a child in a session of its own that starts another, both of which outlive this process."""
    code = (
        "import subprocess,sys,time,os;"
        "p=subprocess.Popen([sys.executable,'-c','import time;time.sleep(300)'],start_new_session=True);"
        f"open({str(mark)!r},'w').write(f'{{os.getpid()}} {{p.pid}}');time.sleep(300)"
    )
    subprocess.Popen([sys.executable, "-c", code], start_new_session=True)
    while not mark.exists() or not mark.read_text():
        time.sleep(0.02)


def main() -> None:
    parser = argparse.ArgumentParser()
    for name in ("face", "audio", "out", "list", "mark", "say"):
        parser.add_argument(f"--{name}")
    parser.add_argument("--mode", default="work")
    args = parser.parse_args()
    print("script says", args.say, os.environ.get("MODEL_HOME"), os.environ.get("PYTHONPATH"))
    (Path("temp") / "scratch.txt").write_text("relative to the working folder")
    if args.mode == "exit":
        print("RuntimeError: face not detected", file=sys.stderr)
        sys.exit(3)
    if args.mode == "flaky" and not Path(args.mark).exists():
        Path(args.mark).touch()
        sys.exit(1)
    if args.mode in {"hang", "leave"}:
        hang(Path(args.mark))
        if args.mode == "hang":
            time.sleep(300)
    if args.mode == "nothing":
        print("done, in a way")
        return
    if args.list:
        for number, line in enumerate(Path(args.list).read_text().splitlines()):
            video, audio = line.split()
            if args.mode == "list-trips" and number == 1:
                sys.exit("tripped over the second clip")
            brighten(Path(video), Path(audio), Path(f"results/{number}.mp4"))
    else:
        brighten(Path(args.face), Path(args.audio), Path(args.out), args.mode == "double")


if __name__ == "__main__":
    main()
