"""Word and character error rate of speech recognised by Whisper (``wer/whisper-*``, ``cer/whisper-*``).

``WER = sum(S + D + I) / sum(N)`` over clips, as fractions; ``macro`` is the mean of the clips' own rates.
Definition and rules: specification of metrics, section 1; the recipes: :mod:`bench.metrics.whisper_declare`.

What was heard is a feature of the audio: it is kept, and both rates of a model read it. Silence is
decoded like anything else (Whisper then invents words, which are scored) and marked by the part
``silent_audio``; an empty hypothesis is N deletions. A medium shorter than 0.1 s is ``too_short``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from bench.api import DataError, Failure, Metric, Protocol, Reference, Score, Unscorable
from bench.metrics.declare import need_modules, need_weights
from bench.metrics.error_rates import expected_text, rate_score, spoken_pcm
from bench.metrics.whisper_declare import PROTOCOLS, dims_of, recipe_of
from bench.networks import OFFICIAL, WeightSource

if TYPE_CHECKING:
    from bench.media import Media
    from bench.metrics.whisper_decode import Pcm, Transcriber
    from bench.records import Array


class WhisperWer(Metric):
    """Error rates of what Whisper hears in the output's audio.

    ``dims``: fields of ``ModelDimensions`` in place of the declared ones, for networks that are not official.
    """

    name = "whisper"
    summary = "word and character error rate of speech recognised by Whisper (large-v3, medium)"
    licence = "Apache-2.0; openai-whisper and its weights: MIT"
    protocols = PROTOCOLS

    def __init__(self, weights: WeightSource = OFFICIAL, dims: Mapping[str, int] | None = None) -> None:
        self._weights = weights
        self._dims = dict(dims or {})
        self._device = "cpu"
        self._transcribers: dict[str, Transcriber] = {}

    def missing(self, protocol_id: str) -> list[str]:
        return need_modules("torch", "whisper", "jiwer") + need_weights(*recipe_of(protocol_id).weights)

    def load(self, device: str) -> None:
        """Says where networks go. Each is filled when first asked for: a run that asks for one loads no other."""
        self._device = device
        self._transcribers.clear()

    def score(
        self, protocol_ids: Sequence[str], output: Media, reference: Media, truth: Reference
    ) -> Mapping[str, Score | Failure]:
        from bench.metrics.recognise import is_silent

        expected, transcript = expected_text(truth), str(truth.transcript)
        heard: dict[str, str | Failure] = {}
        results: dict[str, Score | Failure] = {}
        for protocol_id in protocol_ids:
            recipe = recipe_of(protocol_id)
            pcm = _pcm(recipe, output)
            if recipe.id not in heard:
                heard[recipe.id] = self._heard(recipe, output, pcm)
            text = heard[recipe.id]
            if isinstance(text, Failure):
                results[protocol_id] = text
                continue
            silent = is_silent(pcm, recipe.parameters["silence_dbfs"])
            result = rate_score(protocol_id.split("/", 1)[0], transcript, expected, text, silent)
            half = {"half_precision": float(self._is_half(recipe))}
            results[protocol_id] = replace(result, parts={**result.parts, **half})
        return results

    def prepare(self, protocol_ids: Sequence[str], media: Sequence[Media]) -> None:
        """Hears several media at once, for :meth:`score` to find; what cannot be heard is left to it."""
        for protocol_id in dict.fromkeys(recipe_of(protocol_id).id for protocol_id in protocol_ids):
            recipe = recipe_of(protocol_id)
            key = self._key(recipe)
            wanted = [(medium, pcm) for medium in media if (pcm := _unheard(recipe, medium, key)) is not None]
            if not wanted:
                continue
            texts = self._transcriber(recipe).transcribe_many([pcm for _, pcm in wanted])
            for (medium, _), text in zip(wanted, texts, strict=True):
                if isinstance(text, str):
                    medium.feature(key, partial(_packed, text))

    def _heard(self, recipe: Protocol, medium: Media, pcm: Pcm) -> str | Failure:
        """The hypothesis of one model, or why there is none."""

        def hear() -> Mapping[str, Array]:
            text = self._transcriber(recipe).transcribe(pcm)
            if isinstance(text, Failure):
                raise Unscorable(text.kind, text.detail)
            return _packed(text)

        try:
            return bytes(medium.feature(self._key(recipe), hear)["text"]).decode()
        except Unscorable as error:
            return Failure(error.kind, error.detail)
        except DataError as error:  # the other model's file may well be here
            return Failure("model_error", str(error))

    def _transcriber(self, recipe: Protocol) -> Transcriber:
        from bench.metrics.whisper_decode import transcriber
        from bench.metrics.whisper_net import Network

        if recipe.id not in self._transcribers:
            network = Network({**dims_of(recipe.parameters), **self._dims}).on_cpu()
            filled = self._weights.fill(network, recipe.weights[0])
            self._transcribers[recipe.id] = transcriber(filled, recipe.parameters, self._device)
        return self._transcribers[recipe.id]

    def _key(self, recipe: Protocol) -> str:
        """Of the feature that holds the text: model, weights, dimensions where not declared, and precision."""
        weight = recipe.weights[0]
        dims = "".join(f"-{name}{self._dims[name]}" for name in sorted(self._dims))
        kind = "float16" if self._is_half(recipe) else "float32"
        return f"audio:whisper-{weight.name.removesuffix('.pt')}-{self._weights.identity(weight)}{dims}-{kind}@1"

    def _is_half(self, recipe: Protocol) -> bool:
        return bool(recipe.parameters["asr"]["fp16"].get(self._device.partition(":")[0], False))


class _Absent(Exception):
    """A feature has to be computed."""


def _unheard(recipe: Protocol, medium: Media, key: str) -> Pcm | None:
    """The samples of a medium whose text is not known yet; ``None`` also where they cannot be had."""

    def absent() -> Mapping[str, Array]:
        raise _Absent

    try:
        medium.feature(key, absent)
    except _Absent:
        with suppress(Unscorable):  # the score of the medium says so
            return _pcm(recipe, medium)
    except Unscorable:
        return None
    return None


def _pcm(recipe: Protocol, medium: Media) -> Pcm:
    return spoken_pcm(medium, recipe.parameters["audio"], recipe.parameters["min_seconds"])


def _packed(text: str) -> Mapping[str, Array]:
    """A text as a feature: its UTF-8 bytes."""
    import numpy as np

    return {"text": np.frombuffer(text.encode(), np.uint8)}
