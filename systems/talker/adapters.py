"""The table of ``bench conformance`` for component ``talker``: operation -> ``module:function``."""

from __future__ import annotations

from bench.systems.talker.adapters_audio import OPS as AUDIO
from bench.systems.talker.adapters_heads import OPS as HEADS
from bench.systems.talker.adapters_lia import OPS as LIA
from bench.systems.talker.adapters_llm import OPS as LLM
from bench.systems.talker.adapters_voice import OPS as VOICE

ADAPTERS: dict[str, str] = {**HEADS, **LLM, **AUDIO, **LIA, **VOICE}
