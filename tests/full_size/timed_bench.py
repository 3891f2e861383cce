"""``bench`` in this process, with the seconds of each stage of ``talker`` written to the file that STAGES names."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

from bench.cli import main
from bench.systems.talker import parts
from bench.systems.talker.flow_matching import CFM
from bench.systems.talker.front_full import FullFront
from bench.systems.talker.pipeline import Pipeline
from bench.systems.talker.render import Renderer

_SECONDS: dict[str, float] = {}


def _timed(owner: Any, name: str, label: str) -> None:
    inner: Callable[..., Any] = getattr(owner, name)

    @wraps(inner)
    def outer(*given: Any, **named: Any) -> Any:
        begin = time.perf_counter()
        try:
            return inner(*given, **named)
        finally:
            _SECONDS[label] = _SECONDS.get(label, 0.0) + time.perf_counter() - begin
            _SECONDS[f"{label}: times"] = _SECONDS.get(f"{label}: times", 0.0) + 1
            Path(os.environ["STAGES"]).write_text(json.dumps(_SECONDS))

    setattr(owner, name, outer)


def _all() -> None:
    _timed(parts, "full_llm", "backbone and heads, loaded")
    _timed(parts, "_official", "all networks, mapped")
    _timed(FullFront, "speech", "reference speech to latents (Whisper, codec)")
    _timed(FullFront, "voice", "reference voice (WavLM, ECAPA-TDNN)")
    _timed(FullFront, "sound", "latents to sound")
    _timed(Renderer, "identity", "face encoded")
    _timed(Renderer, "motion_of", "video encoded")
    _timed(Renderer, "video", "pictures drawn")
    _timed(CFM, "sample", "heads")
    _timed(Pipeline, "answer", "everything but loading backbone and heads")


if __name__ == "__main__":
    _all()
    sys.exit(main())
