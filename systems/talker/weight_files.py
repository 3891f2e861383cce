"""The official files of Talker-T2AV; nothing heavy is imported here."""

from __future__ import annotations

from bench.api import WeightFile
from bench.embedded import embedded_file

_REPOSITORY = "huggingface.co/HKUSTAudio/Talker-T2AV"


def _file(name: str, licence: str, source: str, manifest: str | None) -> WeightFile:
    return WeightFile(name, None, None, licence, source, manifest=manifest)


#: Backbone, patch encoders, heads and stop predictor.
SPEECH_LLM = _file(
    "talker-t2av.safetensors",
    "Apache-2.0",
    f"{_REPOSITORY}: talker-t2av/model.safetensors",
    "talker_speech_llm.json",
)
#: Kept as it is published.
TOKENIZER = _file(
    "talker-t2av-tokenizer.json",
    "Apache-2.0",
    f"{_REPOSITORY}: talker-t2av/tokenizer.json",
    None,
)
#: Encoder and decoder of speech, Whisper large-v3 included (its decoder is never read).
VAE = _file(
    "whisperx-vae.ckpt",
    "Apache-2.0",
    f"{_REPOSITORY}: whisperx-vae/model.ckpt",
    "talker_whisperx_vae.json",
)
LIA_X = _file(
    "lia-x.pt",
    "CC-BY-NC 4.0 (non-commercial)",
    "huggingface.co/YaohuiW/LIA-X: lia-x.pt",
    "talker_lia_x_generator.json",
)
SPEAKER = _file(
    "wavlm_large_finetune.pth",
    "CC BY-SA 3.0",
    "microsoft/UniSpeech (downstreams/speaker_verification): wavlm_large_finetune.pth",
    "talker_speaker_encoder.json",
)

CANONICAL = (SPEECH_LLM, TOKENIZER, VAE, LIA_X, SPEAKER)

#: Shipped, of ``bench train talker --config tiny``.
TINY_VAE = embedded_file("talker", "vae", "vae")
TINY_MOTION = embedded_file("talker", "motion", "motion")
TINY_LLM = embedded_file("talker", "joint", "joint")

EMBEDDED = (TINY_LLM, TINY_VAE, TINY_MOTION)
#: Everything that the system can use.
ALL = (*CANONICAL, *EMBEDDED)
