"""Word and character error rate of recognised speech (``wer/pocketsphinx-*``, ``cer/pocketsphinx-grid``).

The recogniser is pocketsphinx, with a closed vocabulary unless the protocol says otherwise: these
numbers are never comparable with those of Whisper. Definition and rules: specification of metrics,
section 1. ``WER = sum(S + D + I) / sum(N)`` over clips, as fractions; ``macro`` is the mean of the
clips' own rates.

* Silent audio (peak 0 or below -60 dBFS) is an empty hypothesis, N deletions, scored; part ``silent_audio``.
* A closed vocabulary says nothing about words that it lacks: where the transcript has such a word, the
  clip fails as ``model_error``, and :meth:`Wer.unsuited` tells so for a whole corpus beforehand. Only words
  are looked at, not their order: the demo corpus' long clips hold two sentences, of which the sentence
  grammar can hear one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from bench.api import Failure, Metric, Protocol, Reference, Score, Unscorable
from bench.metrics.declare import AUDIO_ONLY, PCM_16K, SHORTEST_AUDIO_S, need_modules
from bench.metrics.error_rates import expected_text, rate_score, rate_values, spoken_pcm

if TYPE_CHECKING:
    from bench.media import Media

#: The sentences of the demo corpus (GRID), spelled as in the pronouncing dictionary.
SLOTS: Mapping[str, tuple[str, ...]] = {
    "command": ("bin", "lay", "place", "set"),
    "colour": ("blue", "green", "red", "white"),
    "preposition": ("at", "by", "in", "with"),
    "letter": tuple("abcdefghijklmnopqrstuvxyz"),  # all but w, the only one of several syllables
    "digit": ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"),
    "adverb": ("again", "now", "please", "soon"),
}
VOCABULARY = frozenset(word for words in SLOTS.values() for word in words)

_SILENCE_DB = -60.0
_COMMON: dict[str, Any] = {
    "audio": PCM_16K,
    "silence": f"RMS < {_SILENCE_DB:.0f} dBFS gives an empty hypothesis without decoding",
    "text": {"normalizer": "whisper.normalizers.EnglishTextNormalizer", "after": "strip, split on white space"},
}
_GRID: dict[str, Any] = {
    "grammar": "#JSGF V1.0; grammar demo; public <utt> = " + " ".join(f"<{slot}>" for slot in SLOTS) + ";",
    "vocabulary": "per slot, the sorted lower-case words of the demo corpus before the normaliser (two, not 2)",
    "decode": "new Decoder per clip; one utterance, full_utt=True",
    "dictionary": "cmudict-en-us cut to the grammar's words (same text as with the whole file)",
    **_COMMON,
}
_LOOP: dict[str, Any] = {
    "grammar": "#JSGF V1.0; grammar demo; public <utt> = ( w1 | w2 | ... )+ ;",
    "vocabulary": "sorted unique lower-case words of the demo corpus before the normaliser (two, not 2)",
    "decode": "new Decoder per clip; one utterance, full_utt=True",
    **_COMMON,
}
_MODEL: dict[str, Any] = {
    "decoder": "new Decoder per clip, default options, samprate 16000",
    "decode": "one utterance, full_utt=True",
    **_COMMON,
}


_WER_GRID = Protocol(
    id="wer/pocketsphinx-grid@1",
    values=rate_values("wer"),
    judges=AUDIO_ONLY,
    needs=frozenset({"audio", "transcript"}),
    status="offline-real",
    parameters=_GRID,
    source="pocketsphinx 5.1.1, acoustic model en-us and cmudict of its wheel; normaliser of openai-whisper",
    default=True,
    failures=("no_audio_stream", "decode_error", "too_short", "empty_reference", "missing_output", "model_error"),
    cost_hint_s=0.06,
    note="closed vocabulary of the demo corpus' sentences: chance is about 0.81; not comparable with Whisper's WER",
)


class Wer(Metric):
    """Error rates of what pocketsphinx hears in the output's audio."""

    name = "wer"
    summary = "word and character error rate of speech recognised by pocketsphinx (offline, closed vocabulary)"
    licence = "Apache-2.0; pocketsphinx and its models: BSD-2-Clause; openai-whisper: MIT"
    protocols = (
        _WER_GRID,
        replace(_WER_GRID, id="cer/pocketsphinx-grid@1", values=rate_values("cer")),
        replace(
            _WER_GRID,
            id="wer/pocketsphinx-jsgf@1",
            parameters=_LOOP,
            default=False,
            cost_hint_s=8.0,
            note="any of the demo corpus' words in any order: slow, and weak on synthetic speech (about 0.75)",
        ),
        replace(
            _WER_GRID,
            id="wer/pocketsphinx-lm@1",
            parameters=_MODEL,
            default=False,
            cost_hint_s=0.8,
            note="open vocabulary with the wheel's language model: weak; for corpora without a grammar",
        ),
    )

    def missing(self, protocol_id: str) -> list[str]:
        return need_modules("pocketsphinx", extra="demo") + need_modules("whisper", "jiwer")

    def unsuited(self, protocol_id: str, transcripts: Sequence[str]) -> str:
        """Why a corpus cannot be judged by the protocol at all (no transcript fits); empty: it can."""
        if _is_open(protocol_id):
            return ""
        reason = "no transcript has words alone that the closed vocabulary holds"
        return "" if any(t and not words_outside(t) for t in transcripts) else reason

    def score(
        self, protocol_ids: Sequence[str], output: Media, reference: Media, truth: Reference
    ) -> Mapping[str, Score | Failure]:
        from bench.metrics.recognise import is_silent

        expected, transcript = expected_text(truth), str(truth.transcript)
        pcm = spoken_pcm(output, PCM_16K, SHORTEST_AUDIO_S)
        silent = is_silent(pcm, _SILENCE_DB)
        heard: dict[str, str | Failure] = {}
        results: dict[str, Score | Failure] = {}
        for protocol_id in protocol_ids:
            grammar = protocol_id.split("/", 1)[1]
            if grammar not in heard:
                heard[grammar] = "" if silent else _hear(grammar, pcm)
            results[protocol_id] = _result(protocol_id, transcript, expected, heard[grammar], silent)
        return results


def words_outside(transcript: str) -> list[str]:
    """The sorted words of a transcript that the closed vocabulary lacks."""
    return sorted(set(transcript.lower().split()) - VOCABULARY)


def grammar_of(recipe: str) -> str | None:
    """JSGF of ``pocketsphinx-grid@1`` or ``pocketsphinx-jsgf@1``; ``None`` for the language model."""
    from bench.metrics.recognise import loop_grammar, sentence_grammar

    if recipe.startswith("pocketsphinx-grid@"):
        return sentence_grammar(SLOTS)
    return loop_grammar(VOCABULARY) if recipe.startswith("pocketsphinx-jsgf@") else None


def _is_open(protocol_id: str) -> bool:
    return protocol_id.startswith("wer/pocketsphinx-lm@")


def _hear(recipe: str, pcm: Any) -> str | Failure:
    from bench.metrics.recognise import recognise

    try:
        return recognise(pcm, grammar_of(recipe))
    except Unscorable as error:
        return Failure(error.kind, error.detail)


def _result(protocol_id: str, transcript: str, expected: str, heard: str | Failure, silent: bool) -> Score | Failure:
    if not _is_open(protocol_id) and (outside := words_outside(transcript)):
        shown = ", ".join(repr(word[:20]) for word in outside[:3])
        return Failure("model_error", f"{len(outside)} words of the transcript lie outside the vocabulary: {shown}")
    if isinstance(heard, Failure):
        return heard
    return rate_score(protocol_id.split("/", 1)[0], transcript, expected, heard, silent)
