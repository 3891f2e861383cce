"""Speech, and the face that speaks it, in chunks as they are made: for text of any length in memory that stays flat.

Sentence by sentence, as :mod:`.long_text` cuts and joins them; within a sentence the generator works piece by
piece. The chunks one after the other are what :meth:`bench.systems.hierspeech.system.HierSpeech.generate` gives, up to
rounding, but for two things that only the end of a text could tell:

* the level. The whole is divided by its greatest sample; a stream has the networks' own level times ``gain``, and
  what goes beyond full scale is cut off. One factor lies between the two.
* the identity video. A stream looks for faces in all of it, the whole in as many frames as the text will need: where
  the text is shorter than the video, another track may be the largest, and the last boxes are smoothed otherwise.

What is kept: the text's symbols, the identity video, and one sentence (at most ``longest_sentence`` characters).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from bench.api import FPS, Failure, Unscorable
from bench.systems.hierspeech.face.windows import VECTORS_PER_FRAME, frame_count
from bench.systems.hierspeech.generator import HOP
from bench.systems.hierspeech.long_text import FADE_S, pieces_of, rise, shortened
from bench.systems.hierspeech.pitch import clip_pitch
from bench.systems.hierspeech.sequence import generator_noise
from bench.systems.hierspeech.ttv import TTVSettings

if TYPE_CHECKING:
    from bench.api import Request
    from bench.records import Frames
    from bench.systems.hierspeech.face.talk import Shown, TalkingFace
    from bench.systems.hierspeech.options import HierSpeechOptions
    from bench.systems.hierspeech.parts import Networks
    from bench.systems.hierspeech.text import Tokens
    from bench.systems.hierspeech.voices import Voice, Voices

RATE = 16_000
#: Feature frames whose samples the generator makes at once: 2 s.
CHUNK_VECTORS = 100


@dataclass(frozen=True, slots=True)
class Chunk:
    """``samples`` float32 (N,) at ``rate`` Hz, and the ``frames`` uint8 RGB (n, H, W, 3) of the same time, 25 a second.

    ``frames`` is ``None`` where no face was asked for; with one, N = n · rate / 25.
    """

    samples: NDArray[np.float32]
    rate: int
    frames: Frames | None


def stream(
    request: Request,
    networks: Networks,
    voices: Voices,
    options: HierSpeechOptions,
    face: TalkingFace | None = None,
    gain: float = 1.0,
) -> Iterator[Chunk]:
    """What ``request`` (task ``tts``, or ``t2av`` with a ``face``) says, chunk by chunk; see the module.

    Raises:
        Unscorable: ``empty_reference`` for a text without anything to speak; ``missing_reference``; kinds of
            :meth:`bench.systems.hierspeech.voices.Voices.of` and of :meth:`.face.talk.TalkingFace.opened`.
        DataError: while it runs: the networks' weights give no durations.
    """
    pieces = pieces_of([request.text], options.longest_sentence, official_list_repr=options.official_list_repr)[0]
    if isinstance(pieces, Failure):
        raise Unscorable(pieces.kind, pieces.detail)
    if request.voice is None:
        raise Unscorable("missing_reference", "no voice reference")
    if face is not None and request.identity is None:
        raise Unscorable("missing_reference", "no video to redraw")
    seeds = [int(seed) for seed in request.generator().integers(0, 2**63 - 1, len(pieces))]
    spoken = _spoken(pieces, seeds, voices.of(request.voice, request.voice_key), networks, options)
    rate = options.output_rate
    if face is None or request.identity is None:
        return (Chunk(_levelled(part.wave, gain), rate, None) for part in spoken)
    shown = face.opened(request.identity, request.identity_key, request.workdir)
    return _shown(spoken, face, shown, rate, gain)


@dataclass(frozen=True, slots=True)
class _Part:
    """The next ``wave`` (N,), joints faded, the ``vectors`` (n, D) that came to be known, and whether it is the end."""

    wave: torch.Tensor
    vectors: torch.Tensor
    last: bool


def _spoken(
    pieces: Sequence[Tokens], seeds: Sequence[int], voice: Voice, networks: Networks, options: HierSpeechOptions
) -> Iterator[_Part]:
    """All pieces in their order; a piece's vectors come with its first samples."""
    for number, (piece, seed) in enumerate(zip(pieces, seeds, strict=True)):
        features, waves = _piece(piece, seed, voice, networks, options)
        length = features.shape[0] * options.output_rate * HOP // RATE
        fade = min(round(FADE_S * options.output_rate), length // 2)
        begins, ends = number > 0, number < len(pieces) - 1
        done = 0
        for wave in waves:
            faded = _faded(wave, done, length, fade, begins, ends)
            vectors = features if done == 0 else features[:0]
            done += len(wave)
            yield _Part(faded, vectors, not ends and done == length)


def _piece(
    piece: Tokens, seed: int, voice: Voice, networks: Networks, options: HierSpeechOptions
) -> tuple[torch.Tensor, Iterator[torch.Tensor]]:
    """A piece's vectors (T, D), and its samples as they are made."""
    noise = generator_noise(torch.Generator().manual_seed(seed), networks.device)
    o, style = options, voice.style
    settings = TTVSettings(o.noise_scale_ttv, o.noise_scale_w, o.length_scale, o.max_token_frames)
    ids = torch.tensor([piece.tokens], device=networks.device)
    counts = torch.full((1,), ids.shape[1], device=networks.device)
    made = networks.ttv.infer(ids, counts, style.ttv, [noise], settings)
    pitch = clip_pitch(made.pitch)
    waves = networks.synthesizer.stream(made.w2v, pitch, style.synthesizer, noise, o.noise_scale, CHUNK_VECTORS)
    if o.output_rate != RATE:  # SpeechSR's positions depend on the length of what it is given
        whole = torch.cat(list(waves))[None, None]
        fine = networks.finer(o.output_rate).enhance(whole).flatten()
        step = CHUNK_VECTORS * HOP * o.output_rate // RATE
        waves = (fine[begin : begin + step] for begin in range(0, len(fine), step))
    return made.w2v[0].T.cpu(), (wave.cpu() for wave in waves)


def _faded(wave: torch.Tensor, done: int, length: int, fade: int, begins: bool, ends: bool) -> torch.Tensor:
    """Samples from ``done`` on of a piece of ``length``, as :func:`.long_text.joined` fades the piece."""
    out, ramp = wave.clone(), rise(fade)
    if begins and done < fade:
        stop = min(fade, done + len(wave))
        out[: stop - done] *= ramp[done:stop]
    start = length - fade
    if ends and done + len(wave) > start:
        first = max(start, done)
        out[first - done :] *= ramp.flip(0)[first - start : done + len(wave) - start]
    return out


def _shown(spoken: Iterator[_Part], face: TalkingFace, shown: Shown, rate: int, gain: float) -> Iterator[Chunk]:
    """Samples wait for their frames, and these until all that they depend on has been said."""
    per_frame = rate // FPS
    ahead = face.window // VECTORS_PER_FRAME  # frames: a window ends so many behind its own
    wave, vectors = torch.zeros(0), None
    first = heard = 0  # frames that have left; vectors in all
    begin = 0  # the first vector that is kept
    for part in spoken:
        wave = torch.cat([wave, part.wave])
        vectors = part.vectors if vectors is None else torch.cat([vectors, part.vectors])
        heard += len(part.vectors)
        known = frame_count(heard) if part.last else max(first, frame_count(heard) - ahead)
        count = min(known - first, len(wave) // per_frame)
        if part.last:  # an odd last vector has no frame
            wave = shortened(wave, (known - first) * per_frame, round(FADE_S * rate))
            count = known - first
        if count <= 0:
            continue
        windows = vectors[_windows(first, count, face.window, heard) - begin]
        yield Chunk(_levelled(wave[: count * per_frame], gain), rate, face.frames(shown, first, windows))
        wave, first = wave[count * per_frame :], first + count
        kept = max(begin, VECTORS_PER_FRAME * first - face.window)
        vectors, begin = vectors[kept - begin :], kept


def _windows(first: int, count: int, window: int, vectors: int) -> torch.Tensor:
    """:func:`.face.windows.window_indices` (count, window) of the frames from ``first`` on."""
    starts = VECTORS_PER_FRAME * torch.arange(first, first + count) - (window // VECTORS_PER_FRAME - 1)
    return (starts[:, None] + torch.arange(window)).clamp(0, vectors - 1)


def _levelled(wave: torch.Tensor, gain: float) -> NDArray[np.float32]:
    return np.asarray((wave * gain).clamp(-1, 1).numpy(), np.float32)
