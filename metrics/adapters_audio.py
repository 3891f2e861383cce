"""Conformance adapters of the audio metrics: operation -> ``module:function`` in :data:`OPS`.

Each function takes ``(config, inputs, fill)`` of a recorded case and returns the outputs; the same
functions that score clips are run. Nothing heavy is imported at the top.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from bench.api import DataError

if TYPE_CHECKING:
    from bench.conformance import Fill
    from bench.metrics.speaker import Embedded
    from bench.metrics.speaker_net import VoiceEncoder
    from bench.records import Array, Samples

_HERE = "bench.metrics.adapters_audio"
OPS: dict[str, str] = {op: f"{_HERE}:{op}" for op in ("text_norm", "wer_pairs", "pocketsphinx", "secs", "dnsmos")}


def text_norm(config: Mapping[str, Any], inputs: Mapping[str, Any], fill: Fill) -> dict[str, Any]:
    """The normaliser's own answer, outer blanks kept."""
    from bench.metrics.text_norm import normalise

    return {"pairs": [{"norm": normalise(pair["text"])} for pair in inputs["pairs"]]}


def wer_pairs(config: Mapping[str, Any], inputs: Mapping[str, Any], fill: Fill) -> dict[str, Any]:
    """Error counts of each pair, and corpus rates over those that have a reference."""
    pairs = [_pair(pair["ref"], pair["hyp"]) for pair in inputs["pairs"]]
    scored = [pair for pair in pairs if pair["status"] == "scored"]
    failures = Counter(pair["status"] for pair in pairs if pair["status"] != "scored")
    edits, words = sum(p["edits"] for p in scored), sum(p["N"] for p in scored)
    corpus = {
        "n_total": len(pairs),
        "n_scored": len(scored),
        "n_failed": len(pairs) - len(scored),
        "failures": dict(failures),
        "edits": edits,
        "N": words,
        "wer": edits / words if words else None,
        "macro_wer": sum(p["wer"] for p in scored) / len(scored) if scored else None,
        "cer": sum(p["char_edits"] for p in scored) / sum(p["char_N"] for p in scored) if scored else None,
    }
    return {"pairs": pairs, "corpus": corpus}


def _pair(reference: str, hypothesis: str) -> dict[str, Any]:
    from bench.metrics.edits import char_edits, word_edits
    from bench.metrics.text_norm import normalise_stripped

    ref, hyp = normalise_stripped(reference), normalise_stripped(hypothesis)
    pair: dict[str, Any] = {"norm_ref": ref, "norm_hyp": hyp, "status": "scored" if ref else "empty_reference"}
    if not ref:
        return pair
    words, chars = word_edits(ref, hyp), char_edits(ref, hyp)
    pair |= {"S": words.substitutions, "D": words.deletions, "I": words.insertions, "hits": words.hits}
    pair |= {"edits": words.total, "N": words.reference, "wer": words.rate}
    return pair | {"char_edits": chars.total, "char_N": chars.reference, "cer": chars.rate}


def pocketsphinx(config: Mapping[str, Any], inputs: Mapping[str, Any], fill: Fill) -> dict[str, Any]:
    """Hypotheses with the language model and with the case's grammar; and what digital silence decodes to."""
    import numpy as np

    from bench.metrics.recognise import RATE, recognise

    grammar = str(inputs["jsgf"])
    cases = [
        {"hyp_lm": recognise(case["audio"], None), "hyp_jsgf": recognise(case["audio"], grammar)}
        for case in inputs["cases"]
    ]
    return {"cases": cases, "silence_1s_jsgf": recognise(np.zeros(RATE, np.int16), grammar)}


def secs(config: Mapping[str, Any], inputs: Mapping[str, Array], fill: Fill) -> dict[str, Any]:
    """Recordings ``wav0``, ``wav1`` … through all steps; or one prepared ``wav`` without voice detection."""
    from bench.metrics.secs import load_encoder

    encoder = load_encoder("cpu")
    outputs: dict[str, Any] = {}
    _check_starts(config.get("partial_starts_in_mel_frames", {}))
    if "wav" in inputs:
        outputs |= _prepared(inputs["wav"], encoder)
    if "wav0" in inputs:
        outputs |= _recordings(config, inputs, encoder)
    return outputs


def _prepared(wave: Array, encoder: VoiceEncoder) -> dict[str, Any]:
    import numpy as np

    from bench.metrics.speaker import Recipe, embed, raise_volume

    recipe = _recipe()
    wave = wave.astype(np.float32)
    result = embed(wave, encoder, Recipe.of(recipe))
    quiet = raise_volume(wave * np.float32(0.01), recipe["volume_dbfs"])
    loud = raise_volume(wave, recipe["volume_dbfs"])
    return {"mel": result.mel[::4], "embedding": result.embedding, "norm_wav": quiet[::8], "norm_loud": loud[::8]}


def _recordings(config: Mapping[str, Any], inputs: Mapping[str, Array], encoder: VoiceEncoder) -> dict[str, Any]:
    import numpy as np

    from bench.metrics.secs import cosine

    outputs: dict[str, Any] = {}
    embeddings = []
    clips = config.get("clips", [])
    for i in range(sum(f"wav{k}" in inputs for k in range(len(inputs)))):
        settings = clips[i] if i < len(clips) else {}
        wave, result = _recording(inputs[f"wav{i}"], int(settings.get("sample_rate", 16000)), encoder)
        starts = [start * _recipe()["mel"]["hop"] for start in result.starts]
        if starts != settings.get("starts", starts):
            raise DataError(f"clip {i}: windows start at {starts}, expected {settings['starts']}")
        outputs |= {f"wav{i}": wave[::4], f"wav{i}.len": len(wave), f"mel{i}": result.mel[::8]}
        outputs |= {f"mel{i}.frames": len(result.mel), f"partials{i}": result.partials}
        outputs[f"embedding{i}"] = result.embedding
        embeddings.append(result.embedding)
    outputs["secs"] = np.array([[cosine(a, b) for b in embeddings] for a in embeddings])
    return outputs


def _recording(wave: Array, rate: int, encoder: VoiceEncoder) -> tuple[Samples, Embedded]:
    import numpy as np

    from bench.media.resample import resample
    from bench.metrics.speaker import Recipe, embed, prepare

    recipe = Recipe.of(_recipe())
    scaled = wave.astype(np.float32) / np.float32(32768) if wave.dtype == np.int16 else wave.astype(np.float32)
    prepared = prepare(resample(scaled, rate, recipe.rate, "soxr_hq"), recipe)
    return prepared, embed(prepared, encoder, recipe)


def _check_starts(expected: Mapping[str, list[int]]) -> None:
    """The window starts that a case lists by number of samples are part of what it expects."""
    from bench.metrics.speaker import Recipe, partial_starts

    recipe = Recipe.of(_recipe())
    for samples, starts in expected.items():
        ours = list(partial_starts(int(samples), recipe))
        if ours != list(starts):
            raise DataError(f"{samples} samples: windows start at {ours}, expected {starts}")


def _recipe() -> dict[str, Any]:
    from bench.metrics.secs import PARAMETERS

    return PARAMETERS


def dnsmos(config: Mapping[str, Any], inputs: Mapping[str, Array], fill: Fill) -> dict[str, Any]:
    """The columns that the case names, for each recording ``wav0``, ``wav1`` …"""
    import numpy as np

    from bench.metrics.dnsmos import PARAMETERS, load_nets

    nets = load_nets()
    columns = config.get("columns", ["ovrl", "sig", "bak", "p808"])
    outputs: dict[str, Any] = {}
    for name, wave in inputs.items():
        scaled = wave.astype(np.float32) / np.float32(32768) if wave.dtype == np.int16 else wave.astype(np.float32)
        values, _ = nets.rate(np.clip(scaled, -1.0, 1.0), PARAMETERS)
        outputs[name.removeprefix("wav")] = np.array([values[column] for column in columns])
    return outputs
