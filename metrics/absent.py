"""Protocols that nobody can compute here, each with the reason.

Papers print numbers under recipes that they do not state, or that need models outside of this project. Such a
recipe still has an id, so that its numbers never stand in a column with others, and ``bench info ID`` says
why it has no value. Ids of this list end in ``@0``. Printed numbers: ``bench leaderboard --published``.
"""

from __future__ import annotations

from dataclasses import dataclass

PUBLISHED = "published-only"

_HICODIT = "HiCoDiT Tables 1, 2, 6, 7"
_LATENT = "Shared latent representation, Tables 1-3"
_TALKER = "Talker-T2AV Tables 1, 2, 4"


@dataclass(frozen=True, slots=True)
class Absent:
    """A protocol without an implementation: why, where its numbers are printed, what to use in its place."""

    id: str
    labels: tuple[str, ...]
    reason: str
    remedy: str
    printed_in: tuple[str, ...] = ()
    status: str = PUBLISHED

    @property
    def family(self) -> str:
        """``wer`` of ``wer/qwen3-asr@0``."""
        return self.id.split("/", 1)[0]

    @property
    def line(self) -> str:
        """Reason and remedy in one line."""
        return f"{self.reason}: {self.remedy}"


def _shown(*others: str) -> str:
    use = f"measure {' or '.join(others)} instead; " if others else ""
    return f"{use}printed numbers: `bench leaderboard --published`"


ABSENT: tuple[Absent, ...] = (
    Absent(
        "wer/hicodit-paper@0",
        ("WER",),
        "the paper says Whisper without the model's size or its decoding options",
        _shown("wer/whisper-medium@1"),
        (_HICODIT,),
    ),
    Absent(
        "wer/qwen3-asr@0",
        ("WER",),
        "recognised by Qwen3-ASR, a model that is not part of this project",
        _shown("wer/whisper-large-v3@1"),
        ("Talker-T2AV Tables 1, 3, 4",),
    ),
    Absent(
        "cer/qwen3-asr@0",
        ("CER",),
        "Chinese, recognised by Qwen3-ASR, a model that is not part of this project",
        _shown(),
        ("Talker-T2AV Table 1 (Chinese)",),
    ),
    Absent(
        "spksim/ecapa-tdnn-speechbrain@0",
        ("SpkSim",),
        "speaker embeddings of ECAPA-TDNN, a network that is not built here",
        _shown("secs/resemblyzer@1"),
        (_HICODIT,),
    ),
    Absent(
        "spksim/wavlm-large-sv@0",
        ("SpkSim",),
        "its network (WavLM-Large with an ECAPA-TDNN head, fine-tuned for verification) is not built here as a metric",
        "measure secs/resemblyzer@1 instead",
    ),
    Absent(
        "lse/unspecified@0",
        ("LSE-C", "LSE-D"),
        "the papers name SyncNet and not which of its two evaluation procedures, nor how faces were cut",
        _shown("lse/syncnet-v2-wav2lip@1", "lse/syncnet-v2-pipeline@1"),
        (_LATENT, _HICODIT, f"{_TALKER} (Sync-C, Sync-D)"),
    ),
    Absent(
        "fid/unspecified@0",
        ("FID",),
        "the papers state neither the network's port nor the number of frames nor the picture's region",
        _shown("fid/inception-pt@1"),
        (_LATENT, _TALKER),
    ),
    Absent(
        "fid/clean@0",
        ("FID",),
        "clean-fid resizes and scales pictures otherwise and reads a TorchScript program, which is not loaded here",
        "measure fid/inception-pt@1 instead; the two differ by their resizing",
    ),
    Absent(
        "fid/inception-random@0",
        ("FID",),
        "Inception with weights by rule is a test of the code and no quality",
        "its recorded numbers are held by `bench conformance metrics`",
        status="regression-test-only",
    ),
    Absent(
        "fvd/i3d-kinetics400@0",
        ("FVD",),
        "features of I3D (Kinetics-400), a network that is not built here; papers differ in the length of its clips",
        _shown(),
        (_TALKER,),
    ),
    Absent(
        "ssim/unspecified@0",
        ("SSIM",),
        "the paper states neither window nor colour nor region",
        _shown("ssim/skimage-gaussian@1"),
        (_LATENT,),
    ),
    Absent(
        "psnr/unspecified@0",
        ("PSNR",),
        "the paper states neither colour nor region, nor what an identical frame counts",
        _shown("psnr/rgb@1"),
        (_LATENT,),
    ),
    Absent(
        "csim/unspecified@0",
        ("CSIM",),
        "the paper states neither the face network nor its weights nor the alignment",
        _shown("csim/arcface-r100@1"),
        (_LATENT,),
    ),
    Absent(
        "mcd/unspecified@0",
        ("MCD",),
        "the paper states neither the number of cepstra nor the alignment",
        _shown("mcd/dtw-13@1"),
        (_HICODIT,),
    ),
    Absent(
        "emoacc/emotion2vec@0",
        ("EmoAcc",),
        "agreement of emotions as emotion2vec predicts them, a model that is not part of this project",
        _shown(),
        (_HICODIT,),
    ),
    Absent(
        "emosim/emotion2vec@0",
        ("EMO-SIM",),
        "similarity of emotion2vec embeddings, a model that is not part of this project",
        _shown(),
        ("Talker-T2AV Table 3",),
    ),
    Absent(
        "dd/phone-duration@0",
        ("DD",),
        "a distance of durations whose computation the table does not give",
        _shown("duration/abs@1"),
        ("Talker-T2AV Table 3",),
    ),
)
