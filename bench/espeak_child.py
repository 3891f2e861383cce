"""The process in which espeak-ng speaks one text, or writes phonemes: a script of the standard library alone.

espeak-ng keeps oscillator phases and noise in global variables that no call resets, so a second
utterance of one process differs from the first. A fresh process per utterance is deterministic,
whatever was spoken before, and a crash of the library takes nothing with it.

Standard input: a JSON object (``library``, ``data``, ``voice``, ``pitch``, ``rate``, ``text``,
``max_samples``). Standard output: one line of JSON (``error``, or ``rate`` and ``events``), then the
samples as native 16-bit integers. An event is ``[type, text position, text length, sample, name]``.

With ``phonemes`` (a list of texts) in place of ``text`` nothing is spoken: the answer has ``phonemes``, for each
text the list of espeak's clauses in IPA with ``_`` between phonemes, and ``version``. Nothing is carried from one text
to the next there, so with the argument ``--stay`` the process answers such requests, one a line, until its input ends.
"""

from __future__ import annotations

import ctypes
import json
import sys
from typing import Any

SYNCHRONOUS = 2  # espeak_AUDIO_OUTPUT: the callback is called within espeak_Synth
PHONEME_EVENTS = 1  # option of espeak_Initialize
UTF8 = 1  # flag of espeak_Synth; SSML and [[phoneme]] input stay off
RATE_PARAMETER, PITCH_PARAMETER = 1, 3  # espeak_PARAMETER
WORD, PHONEME = 1, 7  # espeak_EVENT_TYPE; 0 ends the list
IPA_PARTED = ord("_") << 8 | 0x02  # phoneme mode of espeak_TextToPhonemes: IPA, "_" between phonemes
NOISE_SEED = 1  # any constant


class _Id(ctypes.Union):
    _fields_ = [("number", ctypes.c_int), ("name", ctypes.c_char_p), ("string", ctypes.c_char * 8)]


class _Event(ctypes.Structure):
    _fields_ = [
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", _Id),
    ]


_Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event))


def _set_up(lib: ctypes.CDLL, task: dict[str, Any]) -> int:
    """Start the library with voice, rate and pitch; returns the sample rate."""
    rate: int = lib.espeak_Initialize(SYNCHRONOUS, 0, task["data"].encode(), PHONEME_EVENTS)
    if rate <= 0:
        raise ValueError(f"espeak_Initialize failed ({rate}) with the data in {task['data']}")
    if hasattr(lib, "espeak_ng_SetRandSeed"):  # since 1.52; before, the breath noise has the libc's fixed seed
        lib.espeak_ng_SetRandSeed(ctypes.c_long(NOISE_SEED))
    if lib.espeak_SetVoiceByName(task["voice"].encode()) != 0:
        raise ValueError(f"espeak-ng has no voice {task['voice']!r}")
    lib.espeak_SetParameter(RATE_PARAMETER, task["rate"], 0)
    lib.espeak_SetParameter(PITCH_PARAMETER, task["pitch"], 0)
    return rate


def _speak(task: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
    lib = ctypes.CDLL(task["library"])
    rate = _set_up(lib, task)
    sound = bytearray()
    events: list[list[Any]] = []
    limit = 2 * task["max_samples"]  # bytes

    def heard(wave: Any, count: int, found: Any) -> int:
        """Collect one block; a return of 1 stops the synthesis."""
        if count > 0 and wave:
            sound.extend(ctypes.string_at(wave, 2 * count))
        index = 0
        while found[index].type != 0:
            event = found[index]
            if event.type in (WORD, PHONEME):
                name = event.id.string.decode("utf-8", "replace") if event.type == PHONEME else ""
                events.append([event.type, event.text_position, event.length, event.sample, name])
            index += 1
        return int(len(sound) > limit)

    callback = _Callback(heard)
    lib.espeak_SetSynthCallback(callback)
    text = task["text"].encode()
    status = lib.espeak_Synth(text, ctypes.c_size_t(len(text) + 1), 0, 1, 0, UTF8, None, None)
    if len(sound) > limit:
        raise ValueError(f"the speech is longer than {task['max_samples'] / rate:.0f} s")
    if status != 0:
        raise ValueError(f"espeak_Synth failed with status {status}")
    return {"rate": rate, "events": events}, bytes(sound)


def phonemise(task: dict[str, Any], ready: dict[str, ctypes.CDLL]) -> tuple[dict[str, Any], bytes]:
    """The answer to a task with ``phonemes``. ``ready`` keeps the library once it is set up.

    Raises:
        OSError, ValueError: the library or its data cannot be loaded, or the voice is unknown.
    """
    if task["library"] not in ready:
        lib = ctypes.CDLL(task["library"])
        if lib.espeak_Initialize(SYNCHRONOUS, 0, task["data"].encode(), 0) <= 0:
            raise ValueError(f"espeak_Initialize failed with the data in {task['data']}")
        lib.espeak_TextToPhonemes.restype = ctypes.c_char_p
        lib.espeak_Info.restype = ctypes.c_char_p
        ready[task["library"]] = lib
    lib = ready[task["library"]]
    if lib.espeak_SetVoiceByName(task["voice"].encode()) != 0:
        raise ValueError(f"espeak-ng has no voice {task['voice']!r}")
    clauses = [_clauses(lib, text) for text in task["phonemes"]]
    return {"phonemes": clauses, "version": lib.espeak_Info(None).decode()}, b""


def _clauses(lib: ctypes.CDLL, text: str) -> list[str]:
    """espeak's answer to ``text``, clause by clause; it moves the pointer on and clears it at the end."""
    rest = ctypes.c_char_p(text.encode())
    found = []
    while rest.value is not None:
        part = lib.espeak_TextToPhonemes(ctypes.byref(rest), UTF8, IPA_PARTED)
        if part:
            found.append(part.decode("utf-8", "replace"))
    return found


def _answer(request: bytes, ready: dict[str, ctypes.CDLL]) -> None:
    task = json.loads(request)
    try:
        head, sound = phonemise(task, ready) if "phonemes" in task else _speak(task)
    except (OSError, ValueError) as error:
        head, sound = {"error": str(error)}, b""
    sys.stdout.buffer.write(json.dumps(head).encode() + b"\n" + sound)
    sys.stdout.buffer.flush()


def main() -> None:
    """Read the request, speak or write phonemes, write the answer."""
    ready: dict[str, ctypes.CDLL] = {}
    if sys.argv[1:] != ["--stay"]:
        _answer(sys.stdin.buffer.read(), ready)
        return
    while line := sys.stdin.buffer.readline():
        _answer(line, ready)


if __name__ == "__main__":
    main()
