"""Word error rate: the package's own ``transcribe`` clip by clip, its normaliser, jiwer (metrics.md 1)."""

from __future__ import annotations

from pathlib import Path

import jiwer
import torch
from plain import answer, job, pcm_of
from whisper.model import ModelDimensions, Whisper
from whisper.normalizers import EnglishTextNormalizer
from whisper.transcribe import transcribe


def main() -> None:
    given = job()
    checkpoint = torch.load(Path(given["weights"]) / "large-v3.pt", map_location="cpu", weights_only=True)
    model = Whisper(ModelDimensions(**checkpoint["dims"]))
    model.load_state_dict(checkpoint["model_state_dict"])
    model.eval()
    normalise = EnglishTextNormalizer()
    options = {"language": "en", "task": "transcribe", "temperature": 0.0, "condition_on_previous_text": False}
    rates, edits, words = [], 0, 0
    for clip in given["clips"]:
        heard = transcribe(model, (pcm_of(clip["audio"]) / 32768.0).astype("float32"), fp16=False, **options)
        found = jiwer.process_words(normalise(clip["transcript"]).strip(), normalise(str(heard["text"])).strip())
        wrong = found.substitutions + found.deletions + found.insertions
        edits, words = edits + wrong, words + found.hits + found.substitutions + found.deletions
        rates.append(found.wer)
    answer(value=edits / words, values=rates)


main()
