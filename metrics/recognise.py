"""Speech recognition with pocketsphinx: sentence grammar, word loop, or language model.

The wheel ships the en-us acoustic model, its dictionary and a language model. Every clip gets a new
decoder, because a used one has adapted its cepstral mean and returns other text.
"""

from __future__ import annotations

import importlib.util
import re
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.api import Unscorable, UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bench.records import Samples

    Pcm = NDArray[np.int16]

RATE = 16000
_RULE_WORD = re.compile(r"<[^>]*>|[^\s|()+*=;\[\]]+")


def to_pcm(samples: Samples) -> Pcm:
    """16-bit samples of float samples (N,): round(x·32768), clipped; exact for what was 16 bits before."""
    scaled = np.rint(np.asarray(samples, np.float64) * 32768.0)
    return np.clip(scaled, -32768, 32767).astype(np.int16)


def is_silent(pcm: Pcm, threshold_db: float = -60.0) -> bool:
    """Peak 0, or a level below ``threshold_db`` relative to full scale."""
    power = float(np.mean((pcm.astype(np.float64) / 32768.0) ** 2)) if pcm.size else 0.0
    return bool(power < 10.0 ** (threshold_db / 10.0))


def sentence_grammar(slots: Mapping[str, Sequence[str]]) -> str:
    """JSGF of one sentence: each slot's sorted words, the slots in order."""
    lines = ["#JSGF V1.0;", "grammar demo;", "public <utt> = " + " ".join(f"<{name}>" for name in slots) + ";"]
    lines += [f"<{name}> = {' | '.join(sorted(set(words)))};" for name, words in slots.items()]
    return "\n".join(lines) + "\n"


def loop_grammar(words: Iterable[str]) -> str:
    """JSGF of one or more of ``words`` in any order."""
    return f"#JSGF V1.0;\ngrammar demo;\npublic <utt> = ( {' | '.join(sorted(set(words)))} )+ ;\n"


def grammar_words(grammar: str) -> frozenset[str]:
    """The words of a JSGF text (without weights, tags and comments)."""
    rules = grammar.split(";", 2)[-1]  # after the header and the grammar's name
    bodies = [rule.partition("=")[2] for rule in rules.split(";")]
    return frozenset(w for body in bodies for w in _RULE_WORD.findall(body) if not w.startswith("<"))


def recognise(pcm: Pcm, grammar: str | None) -> str:
    """The hypothesis (perhaps empty) for a whole clip of 16 kHz mono ``pcm`` (N,).

    ``grammar`` is a JSGF text; ``None`` decodes with the shipped language model. A word that the
    dictionary lacks is a :class:`UsageError`; a decoder that fails raises ``Unscorable("model_error")``.
    """
    if grammar is None:
        return _decode(pcm, {"samprate": float(RATE)})
    dictionary = cut_dictionary(grammar_words(grammar))
    with tempfile.TemporaryDirectory(prefix="bench-jsgf-") as folder:
        rules, words = Path(folder) / "grammar.jsgf", Path(folder) / "words.dict"
        rules.write_text(grammar, encoding="utf-8")
        words.write_text(dictionary, encoding="utf-8")
        return _decode(pcm, {"samprate": float(RATE), "lm": None, "jsgf": str(rules), "dict": str(words)})


def _decode(pcm: Pcm, options: Mapping[str, Any]) -> str:
    import pocketsphinx

    try:
        decoder = pocketsphinx.Decoder(**options)
        decoder.start_utt()
        decoder.process_raw(pcm.tobytes(), no_search=False, full_utt=True)
        decoder.end_utt()
        hypothesis = decoder.hyp()
    except RuntimeError as error:
        raise Unscorable("model_error", f"pocketsphinx: {error}") from error
    return "" if hypothesis is None else str(hypothesis.hypstr)


@lru_cache(maxsize=8)
def cut_dictionary(words: frozenset[str]) -> str:
    """The lines of the shipped dictionary for ``words`` with all their pronunciations.

    The text recognised is the same as with all 130,000 words; loading takes a tenth of the time.
    """
    lines, found = [], set()
    with dictionary_path().open(encoding="utf-8") as file:
        for line in file:
            word = line.split(maxsplit=1)[0].split("(", 1)[0] if line.strip() else ""
            if word in words:
                lines.append(line)
                found.add(word)
    if lost := sorted(words - found):
        raise UsageError(
            f"the grammar has words that the pronouncing dictionary lacks: {', '.join(lost[:10])}",
            "spell them as the dictionary does: lower case, numbers as words (`two`, not `2`)",
        )
    return "".join(lines)


def dictionary_path() -> Path:
    """The dictionary inside the pocketsphinx package."""
    spec = importlib.util.find_spec("pocketsphinx")
    if spec is None or not spec.submodule_search_locations:
        raise UsageError("pocketsphinx is not installed", "pip install 'bench-avgen[demo]'")
    return Path(next(iter(spec.submodule_search_locations))) / "model" / "en-us" / "cmudict-en-us.dict"
