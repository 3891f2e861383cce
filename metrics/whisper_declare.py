"""Declarations of the error rates of speech recognised by Whisper (``wer/whisper-*``, ``cer/whisper-*``).

Published parameters as in the list of protocols, and beside them what else decides the text: the
dimensions of the network, and those defaults of the reference's ``transcribe`` that matter at
temperature 0. ``without fallback`` makes its compression-ratio threshold meaningless; its two other
thresholds still decide whether a window counts as without speech.

Source: ``openai/whisper: whisper/__init__.py`` (files), ``model.py`` (dimensions), ``transcribe.py``,
``decoding.py`` (defaults).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from bench.api import Protocol, WeightFile
from bench.metrics.declare import AUDIO_ONLY, PCM_16K, SHORTEST_AUDIO_S
from bench.metrics.error_rates import rate_values

_SOURCE = "openai/whisper (the addresses are in its whisper/__init__.py)"

LARGE_V3 = WeightFile(
    "large-v3.pt",
    "e5b1a55b89c1367dacf97e3e19bfd829a01529dbfdeefa8caeb59b3f1b81dadb",
    3087371615,
    "MIT",
    _SOURCE,
    manifest="bench.metrics.whisper_manifest:large_v3",
)
MEDIUM = WeightFile(
    "medium.pt",
    "345ae4da62f9b3d59415adc60127b97c714f32e89e936602e85993674d08dcb1",
    1528008539,
    "MIT",
    _SOURCE,
    manifest="bench.metrics.whisper_manifest:medium",
)


def _parameters(n_mels: int, n_vocab: int, width: int, heads: int, layers: int) -> dict[str, Any]:
    """One model's recipe; its encoder and decoder are equally wide and deep."""
    return {
        "asr": {
            "package": "openai-whisper==20250625",
            "language": "en",
            "task": "transcribe",
            "temperature": 0.0,
            "temperature_fallback": False,
            "beam_size": None,
            "best_of": None,
            "condition_on_previous_text": False,
            "without_timestamps": False,
            "initial_prompt": None,
            "word_timestamps": False,
            "fp16": {"cpu": False, "cuda": True},
            "n_mels": n_mels,
        },
        "text": {
            "normalizer": "whisper.normalizers.EnglishTextNormalizer",
            "after": "strip, split on white space",
        },
        "audio": {**PCM_16K, "pcm": "int16/32768"},
        "min_seconds": SHORTEST_AUDIO_S,
        "missing_as_deletion": False,
        "defaults": {
            "no_speech_threshold": 0.6,
            "logprob_threshold": -1.0,
            "suppress_tokens": "-1",
            "max_initial_timestamp": 1.0,
        },
        "dims": {
            "n_audio_ctx": 1500,
            "n_audio_state": width,
            "n_audio_head": heads,
            "n_audio_layer": layers,
            "n_vocab": n_vocab,
            "n_text_ctx": 448,
            "n_text_state": width,
            "n_text_head": heads,
            "n_text_layer": layers,
        },
        "silence_dbfs": -60.0,
    }


WER_LARGE_V3 = Protocol(
    id="wer/whisper-large-v3@1",
    values=rate_values("wer"),
    judges=AUDIO_ONLY,
    needs=frozenset({"audio", "transcript"}),
    status="needs-weights",
    parameters=_parameters(n_mels=128, n_vocab=51866, width=1280, heads=20, layers=32),
    source="openai/whisper: whisper/transcribe.py, whisper/normalizers/english.py",
    default=True,
    weights=(LARGE_V3,),
    used_by=("Shared latent representation for joint text-to-audio-visual synthesis, Table 4",),
    failures=("no_audio_stream", "decode_error", "too_short", "empty_reference", "missing_output", "model_error"),
    cost_hint_s=60.0,
    note="float32 on the CPU, half precision with CUDA, as the reference: the score's text says which",
)
WER_MEDIUM = replace(
    WER_LARGE_V3,
    id="wer/whisper-medium@1",
    parameters=_parameters(n_mels=80, n_vocab=51865, width=1024, heads=16, layers=24),
    default=False,
    weights=(MEDIUM,),
    used_by=("project stand-in where a paper says Whisper without a size",),
    cost_hint_s=25.0,
)


def _characters(words: Protocol) -> Protocol:
    """The same recognition, counted on characters."""
    parameters = {
        "same_as": words.id,
        "unit": "characters of the normalised, stripped text, blanks included",
    }
    cer = words.id.replace("wer/", "cer/", 1)
    return replace(words, id=cer, values=rate_values("cer"), parameters=parameters, default=False, used_by=())


PROTOCOLS = (WER_LARGE_V3, _characters(WER_LARGE_V3), WER_MEDIUM, _characters(WER_MEDIUM))
_BY_ID = {protocol.id: protocol for protocol in PROTOCOLS}


def recipe_of(protocol_id: str) -> Protocol:
    """The declaration that says how a protocol's speech is recognised: its own, or the one it is ``same_as``."""
    protocol = _BY_ID[protocol_id]
    return _BY_ID[protocol.parameters.get("same_as", protocol_id)]


def dims_of(parameters: Mapping[str, Any]) -> dict[str, int]:
    """The fields of Whisper's ``ModelDimensions``."""
    return {"n_mels": parameters["asr"]["n_mels"], **parameters["dims"]}
