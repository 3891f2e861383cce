"""The report's own scripts and styles, and those of others that lie beside them unchanged."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ASSETS = ROOT / "results" / "report" / "assets"
OTHERS = {
    ASSETS / "uPlot.iife.min.js": "19c8d4c6ad88929a79f4ae49d6f7161566dfd0ba3d15cc495e974f787eb78f1f",
    ASSETS / "uPlot.min.css": "df630c6a8d6f8eeaff264b50f73ce5b114f646ffd9a0bb74f049b0a00135fa04",
    Path(__file__).parent
    / "vendored"
    / "axe.min.js": "29348999450cdf2849a8e70b7912fc2da85a849da39c0d0d5394f51d4a9ed95c",
}
OWN = sorted(path for path in ASSETS.glob("*.js") if path not in OTHERS)


@pytest.mark.parametrize("path", OTHERS, ids=lambda path: path.name)
def test_what_others_wrote_is_unchanged(path: Path) -> None:
    assert hashlib.sha256(path.read_bytes()).hexdigest() == OTHERS[path]


def test_licences_name_every_file_of_others() -> None:
    text = (ASSETS / "LICENSES.txt").read_text(encoding="utf-8")
    for path, digest in OTHERS.items():
        if path.parent == ASSETS:
            assert path.name in text and digest in text
    assert "Permission is hereby granted" in text


def test_the_order_names_every_script_once_and_the_core_first() -> None:
    order = (ASSETS / "ORDER.txt").read_text(encoding="utf-8").split()
    assert sorted(order) == [path.name for path in OWN]
    assert order[0] == "core.js"


@pytest.mark.parametrize("path", OWN, ids=lambda path: path.name)
@pytest.mark.parametrize(
    "pattern",
    [
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|DOMParser|createContextualFragment|srcdoc",
        r"\beval\b|new Function|setTimeout\(\s*[\"'`]|setInterval\(\s*[\"'`]",
        r"\bfetch\b|XMLHttpRequest|WebSocket|sendBeacon|EventSource|\bimport\b|\bexport\b",
        r"https?://(?!www\.w3\.org/2000/svg)",
        r"setAttribute\(\s*[\"'](style|on)",
        r"catch\s*(\([^)]*\))?\s*\{\s*\}",
    ],
)
def test_scripts_neither_make_code_of_text_nor_ask_the_network(path: Path, pattern: str) -> None:
    assert re.findall(pattern, path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("path", [*OWN, ASSETS / "report.css"], ids=lambda path: path.name)
def test_files_are_short(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    assert len(lines) < (500 if path.suffix == ".css" else 400)


def test_styles_load_nothing() -> None:
    assert re.findall(r"url\(|@import|@font-face", (ASSETS / "report.css").read_text(encoding="utf-8")) == []
