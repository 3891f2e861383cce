"""The official files of all networks but the face; nothing heavy is imported here."""

from __future__ import annotations

from bench.records import WeightFile

_LICENCE = "MIT"
_REPOSITORY = "sh-lee-prml/HierSpeechpp"


def _speech_sr(rate: int, official: str) -> WeightFile:
    # both files have one layout, so nothing but the user can say which one is given
    name = f"hierspeechpp_speechsr{rate}k.pth"
    source = f"{_REPOSITORY}: {official} (`--as {name}`)"
    return WeightFile(name, None, None, _LICENCE, source, manifest=f"hier_speechsr{rate}k.json")


#: The whole of text-to-vec, training parts included.
TTV = WeightFile(
    "ttv_lt960_ckpt.pth",
    None,
    None,
    _LICENCE,
    f"{_REPOSITORY} (README: ttv_libritts_v1/ttv_lt960_ckpt.pth)",
    manifest="hier_ttv_v1.json",
)
#: The whole synthesizer, training parts included; bare names and tensors.
SYNTHESIZER = WeightFile(
    "hierspeechpp_v1.1_ckpt.pth",
    None,
    None,
    _LICENCE,
    f"{_REPOSITORY} (README: hierspeechpp_eng_kor/hierspeechpp_v1.1_ckpt.pth)",
    manifest="hier_synthesizer.json",
)
SPEECHSR_24K = _speech_sr(24, "speechsr24k/G_340000.pth")
SPEECHSR_48K = _speech_sr(48, "speechsr48k/G_100000.pth")
#: By output rate in Hz.
SPEECHSR = {24000: SPEECHSR_24K, 48000: SPEECHSR_48K}

DENOISER = WeightFile(
    "hierspeechpp_denoiser.pth",
    None,
    8350488,
    _LICENCE,
    f"{_REPOSITORY}: denoiser/g_best",
    manifest="hier_denoiser.json",
)
#: Kept as it is published: no manifest lists its many names of old and new weight norm.
MMS = WeightFile(
    "mms-300m.bin",
    None,
    None,
    "CC-BY-NC 4.0 (non-commercial)",
    "huggingface.co/facebook/mms-300m: pytorch_model.bin or model.safetensors (`--as mms-300m.bin`)",
)
