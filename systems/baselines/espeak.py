"""Text to speech by espeak-ng: a formant synthesiser with one fixed voice, no training, no reference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bench.api import Failure, Output, Request, System

if TYPE_CHECKING:
    from pydantic import BaseModel

    from bench.espeak import Synthesiser


class Espeak(System):
    """espeak-ng, American English. The default voice is none of the demo corpus's."""

    name = "espeak"
    version = "1"
    tasks = ("tts",)
    summary = "espeak-ng formant synthesis, one fixed voice"
    licence = "GPL-3.0 (loaded at run time from espeakng-loader, not shipped)"
    source = "espeak-ng"

    @classmethod
    def options(cls) -> type[BaseModel]:
        """``voice``, ``pitch`` and ``rate``."""
        from bench.systems.baselines.options import EspeakOptions

        return EspeakOptions

    def __init__(self, settings: Mapping[str, Any] | None = None) -> None:
        super().__init__(settings)
        self._voice: Synthesiser | None = None

    def missing(self) -> list[str]:
        """espeakng-loader where it is not installed."""
        from bench import espeak

        return espeak.available()

    def load(self, device: str, dtype: str) -> None:
        """Check the voice. Raises :class:`bench.api.UsageError` for an unknown one."""
        from bench.espeak import Synthesiser
        from bench.systems.baselines.options import EspeakOptions

        chosen = EspeakOptions(**self.settings)
        self._voice = Synthesiser(chosen.voice, chosen.pitch, chosen.rate)

    def generate(self, requests: Sequence[Request]) -> Sequence[Output | Failure]:
        """Each text spoken, 22.05 kHz."""
        if self._voice is None:
            self.load("cpu", "float32")
        return [self._spoken(request) for request in requests]

    def _spoken(self, request: Request) -> Output | Failure:
        from bench.espeak import SpeechError

        if self._voice is None or request.text is None:
            return Failure("empty_reference", "no text to speak")
        try:
            return Output(audio=self._voice.speak(request.text).audio)
        except SpeechError as error:
            return Failure("model_error", error.message)
