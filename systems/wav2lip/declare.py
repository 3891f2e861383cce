"""The files of Wav2Lip; nothing heavy is imported here."""

from __future__ import annotations

from collections.abc import Mapping

from bench.api import WeightFile
from bench.embedded import embedded_file

_LICENCE = "personal, research and non-commercial use (their README; trained on LRS2)"
_SOURCE = "Rudrabha/Wav2Lip (README)"


def _file(name: str, manifest: str, licence: str = _LICENCE) -> WeightFile:
    return WeightFile(name, None, None, licence, _SOURCE, manifest=manifest)


WAV2LIP = _file("wav2lip.pth", "wav2lip_generator.json")
WAV2LIP_GAN = _file("wav2lip_gan.pth", "wav2lip_generator.json")
#: Trained with, not needed to generate.
EXPERT = _file("lipsync_expert.pth", "wav2lip_syncnet_color.json")
DISCRIMINATOR = _file("visual_quality_disc.pth", "wav2lip_disc_qual.json")
FACE_DETECTOR = _file("s3fd.pth", "wav2lip_s3fd.json", "not stated by its authors")

#: Small networks that are shipped, of ``bench train wav2lip --config tiny``; the expert is trained with.
SMALL_GENERATOR = embedded_file("wav2lip", "generator", "generator")
SMALL_EXPERT = embedded_file("wav2lip", "expert", "expert")

CHECKPOINTS = {"wav2lip": WAV2LIP, "wav2lip_gan": WAV2LIP_GAN}
ALL = (WAV2LIP, WAV2LIP_GAN, EXPERT, DISCRIMINATOR, FACE_DETECTOR, SMALL_GENERATOR, SMALL_EXPERT)

GENERATOR_PART, DETECTOR_PART = "the generator trained on LRS2", "face detector S3FD"
#: What stands in the place of what in tier embedded.
STAND_INS: Mapping[str, str] = {
    GENERATOR_PART: "a small one of the same layers, trained on the demo's one synthetic face",
    DETECTOR_PART: "dlib's frontal face detector",
}
