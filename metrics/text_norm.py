"""English text normalisation before word and character error rates.

The normaliser is Whisper's (``openai/whisper: whisper/normalizers/english.py``), taken from the
installed package ``openai-whisper``. Only its folder ``normalizers`` is loaded: importing ``whisper``
itself loads PyTorch (some seconds and 250 MB) of which no line is needed here.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from types import ModuleType

from bench.api import BenchError

_ALIAS = "_bench_whisper_normalizers"


def normalise(text: str) -> str:
    """The normaliser's own answer: lower case, numbers as digits; outer blanks may remain."""
    return _normaliser()(text)


def normalise_stripped(text: str) -> str:
    """What error rates are counted on: :func:`normalise` without outer blanks."""
    return normalise(text).strip()


@lru_cache(maxsize=1)
def _normaliser() -> Callable[[str], str]:
    make: Callable[[], Callable[[str], str]] = _package().EnglishTextNormalizer
    return make()


def _package() -> ModuleType:
    """The package ``whisper.normalizers``, under a private name unless ``whisper`` is loaded already."""
    if "whisper.normalizers" in sys.modules:
        return sys.modules["whisper.normalizers"]
    if _ALIAS in sys.modules:
        return sys.modules[_ALIAS]
    spec = importlib.util.find_spec("whisper")
    if spec is None or not spec.submodule_search_locations:
        raise BenchError("the package openai-whisper is not installed", "install it: pip install openai-whisper")
    folder = Path(next(iter(spec.submodule_search_locations))) / "normalizers"
    start = folder / "__init__.py"
    own = importlib.util.spec_from_file_location(_ALIAS, start, submodule_search_locations=[str(folder)])
    if not start.is_file() or own is None or own.loader is None:  # another layout than in 2025: the slow way
        return importlib.import_module("whisper.normalizers")
    module = importlib.util.module_from_spec(own)
    sys.modules[_ALIAS] = module  # the package imports its own parts relatively
    try:
        own.loader.exec_module(module)
    except BaseException:
        del sys.modules[_ALIAS]
        raise
    return module
