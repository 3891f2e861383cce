"""Golden operations of Wav2Lip and of the shared-latent face model's formulas (:mod:`bench.conformance`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from bench.conformance import Fill

Config = dict[str, Any]
Arrays = Mapping[str, NDArray[Any]]

_NAMES = (
    "mel",
    "mel_windows",
    "mel_window_batch",
    "generator",
    "syncnet_forward",
    "syncloss_generator",
    "disc_forward",
    "boxes",
    "pipeline_crop_paste",
    "stabsync",
    "adatriplet",
    "window_indices",
    "s3fd_net",
    "s3fd_decode",
)
OPS: dict[str, str] = {name: f"bench.systems.wav2lip.adapters_wav2lip:{name}" for name in _NAMES}


def mel(config: Config, inputs: Arrays, fill: Fill) -> dict[str, Any]:
    """The normalised mel spectrogram of a waveform."""
    from bench.systems.wav2lip.mel import mel_spectrogram

    return {"mel": mel_spectrogram(inputs["wav"])}


def mel_windows(config: Config, inputs: Arrays, fill: Fill) -> dict[str, Any]:
    """First columns per number of columns and frame rate, and how many there are without the tail."""
    from bench.systems.wav2lip.mel import window_starts

    step, rate = int(config["step"]), int(config["columns_per_second"])
    pairs = list(zip(inputs["n_columns"].tolist(), inputs["fps"].tolist(), strict=True))
    starts = [window_starts(n, fps, step=step, rate=rate) for n, fps in pairs]
    short = [len(window_starts(n, fps, step=step, rate=rate, tail=False)) for n, fps in pairs]
    named: dict[str, Any] = {f"starts_{index}": found for index, found in enumerate(starts)}
    counts = np.array([len(found) for found in starts])
    return {**named, "count": counts, "count_benchmark_variant": np.array(short)}


def mel_window_batch(config: Config, inputs: Arrays, fill: Fill) -> dict[str, Any]:
    """The windows of some frames: the first two, the middle, the last."""
    from bench.systems.wav2lip.mel import window_starts, windows

    spectrogram = inputs["mel"]
    batch = windows(spectrogram, window_starts(spectrogram.shape[1], float(config["fps"])))
    count = len(batch)
    return {"frames": count, "first": batch[:2], "middle": batch[count // 2], "last": batch[-1]}


def generator(config: Config, inputs: Arrays, fill: Fill) -> dict[str, Any]:
    """A face, every ``output_stride``-th row and column of it; the audio embedding and the face maps' moments."""
    import torch

    from bench.systems.wav2lip.generator import Wav2LipGenerator

    network = fill.apply(Wav2LipGenerator()).eval()
    audio, face = _tensors(inputs, "mel", "face")
    stride = int(config["output_stride"])
    with torch.inference_mode():
        outputs: dict[str, Any] = {"image": network(audio, face)[..., ::stride, ::stride].numpy()}
        if face.dim() == 4:
            maps = network.encode_face(face)
            outputs["audio_embedding"] = network.encode_audio(audio).flatten(1).numpy()
            outputs["face_stats"] = np.array([[m.mean(), m.std(), m.abs().max()] for m in maps])
    return outputs


def syncnet_forward(config: Config, inputs: Arrays, fill: Fill) -> dict[str, Any]:
    """Both embeddings, their cosine and its cross entropy with the labels."""
    import torch

    from bench.systems.wav2lip.expert import SyncNetColor
    from bench.systems.wav2lip.losses import cosine, cross_entropy

    expert = fill.apply(SyncNetColor()).eval()
    speech, face, label = _tensors(inputs, "mel", "face", "label")
    with torch.inference_mode():
        audio_embedding, face_embedding = expert(speech, face)
        alike = cosine(audio_embedding, face_embedding)
        loss = cross_entropy(alike, label.reshape(-1))
    return {
        "audio_embedding": audio_embedding.numpy(),
        "face_embedding": face_embedding.numpy(),
        "cosine": alike.numpy(),
        "bce": float(loss),
    }


def syncloss_generator(config: Config, inputs: Arrays, fill: Fill) -> dict[str, Any]:
    """The generator's loss with the expert, and the cosines behind it."""
    import torch

    from bench.systems.wav2lip.expert import SyncNetColor
    from bench.systems.wav2lip.losses import cosine, lower_halves, sync_loss

    expert = fill.apply(SyncNetColor()).eval()
    speech, faces = _tensors(inputs, "mel", "img")
    with torch.inference_mode():
        loss = float(sync_loss(expert, speech, faces))
        return {"loss": loss, "cosine": cosine(*expert(speech, lower_halves(faces))).numpy()}


def disc_forward(config: Config, inputs: Arrays, fill: Fill) -> dict[str, Any]:
    """Probabilities, and the generator's loss."""
    import torch

    from bench.systems.wav2lip.discriminator import QualityDiscriminator
    from bench.systems.wav2lip.losses import deceived

    network = fill.apply(QualityDiscriminator()).eval()
    (faces,) = _tensors(inputs, "img")
    with torch.inference_mode():
        probability = network(faces)
        return {"prob": probability.numpy(), "generator_loss": float(deceived(probability))}


def boxes(config: Config, inputs: Arrays, fill: Fill) -> dict[str, Any]:
    """Padded, and then smoothed boxes."""
    from bench.faces.boxes import Pads, padded, smoothed

    size = (int(config["height"]), int(config["width"]))
    grown = padded(inputs["detections"], Pads(*config["pads_top_bottom_left_right"]), size)
    return {"padded": grown, "smoothed": smoothed(grown, int(config["T"]))}


def pipeline_crop_paste(config: Config, inputs: Arrays, fill: Fill) -> dict[str, Any]:
    """What the network sees of a frame, and the frame with a face pasted in."""
    from bench.faces.paste import crop, network_input, paste, to_levels

    box = config["box_x1y1x2y2"]
    size = inputs["pred"].shape[-1]
    seen = network_input(crop(inputs["frame"], box, size)[None])[0]
    frame = inputs["frame"].copy()
    paste(frame, to_levels(inputs["pred"][None])[0], box)
    return {"input_u8": seen, "pasted": frame}


def stabsync(config: Config, inputs: Arrays, fill: Fill) -> dict[str, Any]:
    """Losses and slopes from cosines, or from the embeddings that they are cosines of."""
    import torch

    from bench.systems.hierspeech.face.losses import stabilized_sync
    from bench.systems.wav2lip.losses import cosine

    if "audio" in inputs:
        audio, *others = _tensors(inputs, "audio", "generated", "ground_truth", "reference")
        x, y, d = (cosine(audio, other) for other in others)
    else:
        x, y, d = _tensors(inputs, "x", "y", "d")
    x = x.clone().requires_grad_()
    loss = stabilized_sync(x, y, d, float(config["eps"]))
    (slope,) = torch.autograd.grad(loss.sum(), x)
    named = {"x": x, "y": y, "d": d, "loss": loss, "mean": loss.mean(), "grad_x": slope}
    return {name: value.detach().numpy() for name, value in named.items()}


def adatriplet(config: Config, inputs: Arrays, fill: Fill) -> dict[str, Any]:
    """The adaptive triplet loss of feature vectors, and its mean."""
    from bench.systems.hierspeech.face.losses import adaptive_triplet

    made, true, reference = _tensors(inputs, "generated", "ground_truth", "reference")
    loss = adaptive_triplet(made, true, reference, float(config["alpha"]), float(config.get("floor", 0.0)))
    return {"loss": loss.numpy(), "mean": loss.mean().numpy()}


def window_indices(config: Config, inputs: Arrays, fill: Fill) -> dict[str, Any]:
    """Which speech vectors belong to each frame, per length and window."""
    from bench.systems.hierspeech.face import windows

    pairs = zip(inputs["T_s"].tolist(), inputs["W"].tolist(), strict=True)
    return {f"index_{place}": windows.window_indices(length, width) for place, (length, width) in enumerate(pairs)}


def s3fd_net(config: Config, inputs: Arrays, fill: Fill) -> dict[str, Any]:
    """Raw scores and offsets of six maps."""
    import torch

    from bench.faces.s3fd import S3FD, raw_maps

    network = fill.apply(S3FD()).eval()
    with torch.inference_mode():
        maps = raw_maps(network, inputs["image_rgb"], torch.device("cpu"))
    scores = {f"cls_{tap}": found.numpy() for tap, found in enumerate(maps.scores)}
    return scores | {f"loc_{tap}": found.numpy() for tap, found in enumerate(maps.offsets)}


def s3fd_decode(config: Config, inputs: Arrays, fill: Fill) -> dict[str, Any]:
    """Faces of each picture, the first one in whole pixels, and how many places the source would look at."""
    from bench.faces.boxes import whole
    from bench.faces.s3fd import LEAST_CANDIDATE, Maps, faces_of

    taps = range(sum(name.startswith("cls_") for name in inputs))
    maps = Maps(_tensors(inputs, *(f"cls_{k}" for k in taps)), _tensors(inputs, *(f"loc_{k}" for k in taps)))
    candidates = sum(int((tap.softmax(dim=1)[:, 1] > LEAST_CANDIDATE).sum()) for tap in maps.scores)
    outputs: dict[str, Any] = {"candidates": candidates}
    for index, faces in enumerate(faces_of(maps)):
        outputs[f"boxes_{index}"] = faces
        if len(faces):
            outputs[f"first_int_{index}"] = whole(faces[:1, :4])[0]
    return outputs


def _tensors(inputs: Arrays, *names: str) -> list[Any]:
    import torch

    return [torch.from_numpy(inputs[name]) for name in names]
