"""The documentation site: built strictly, every link good, nothing fetched, no protocol, system or verb left out."""

from __future__ import annotations

import html
import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from bench import registry
from bench.protocols import catalogue

ROOT = Path(__file__).parents[2]
PAGE = "<!doctype html><html><head>{head}</head><body>{body}</body></html>"


def script(name: str) -> ModuleType:
    """A module of the folder ``docs``, which is no package."""
    spec = importlib.util.spec_from_file_location(f"docs_{name}", ROOT / "docs" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


links = script("check_links")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site as `make docs` builds it."""
    pytest.importorskip("mkdocs", reason="the extra [docs] is not installed")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_the_site_is_built_strictly_and_all_its_links_are_good(site: Path) -> None:
    assert links.check(site) == []


def text_of(site: Path, name: str) -> str:
    return html.unescape((site / f"{name}.html").read_text(encoding="utf-8"))


def test_every_protocol_has_a_section(site: Path) -> None:
    page = text_of(site, "protocols")
    headings = set(re.findall(r"<h3[^>]*>([^<]*)", page))
    assert headings >= {pid for pid in catalogue().entries if "toy" not in pid}
    for entry in catalogue().absent.values():
        assert f"<code>{entry.id}</code>" in page


def test_every_plugin_has_a_section(site: Path) -> None:
    for group in ("systems", "datasets"):
        headings = set(re.findall(r"<h2[^>]*>([^<]*)", text_of(site, group)))
        assert headings == set(registry._entry_points(group))


def test_every_verb_has_a_section_with_its_options(site: Path) -> None:
    page = text_of(site, "commands")
    headings = set(re.findall(r"<h2[^>]*>([^<]*)", page))
    assert headings >= {
        "bench run",
        "bench import",
        "bench export",
        "bench report",
        "bench study read",
        "bench runs show",
    }
    assert page.count("<code>--out</code>") >= 10


def test_no_path_of_a_machine_is_in_the_site(site: Path) -> None:
    for page in site.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        for place in (str(ROOT), str(Path.home()) + "/", str(site)):
            assert place not in text, page.name


GOOD = {
    "page": '<a href="other.html#there">x</a> <a href="#here">y</a> <p id="here"></p> <a href="https://example.org/">z</a>',
    "folder": '<a href="sub/">x</a>',
    "picture": '<img src="a%20b.png" alt=""> <img src="data:image/png;base64,AA==" alt="">',
    "old anchor": '<a name="old"></a><a href="#old">x</a>',
}
BAD = {
    "no file": ('<a href="gone.html">x</a>', "index.html: gone.html: no such file"),
    "no anchor": ('<a href="other.html#gone">x</a>', "index.html: other.html#gone: no such anchor"),
    "no own anchor": ('<a href="#gone">x</a>', "index.html: #gone: no such anchor"),
    "no picture": ('<img src="gone.png" alt="">', "index.html: gone.png: no such file"),
    "root": ('<a href="/other.html">x</a>', "index.html: /other.html: begins at the server's root"),
    "script elsewhere": (
        '<script src="https://example.org/x.js"></script>',
        "index.html: fetches https://example.org/x.js",
    ),
    "no scheme": ('<img src="//example.org/x.png" alt="">', "index.html: fetches //example.org/x.png"),
    "set of pictures": (
        '<img srcset="a%20b.png 1x, https://example.org/y.png 2x" alt="">',
        "fetches https://example.org/y.png",
    ),
    "style": ('<p style="background: url(https://example.org/z.png)"></p>', "fetches https://example.org/z.png"),
}


def small_site(folder: Path, body: str, head: str = "") -> Path:
    (folder / "sub").mkdir()
    (folder / "index.html").write_text(PAGE.format(head=head, body=body))
    (folder / "other.html").write_text(PAGE.format(head="", body='<p id="there"></p>'))
    (folder / "sub" / "index.html").write_text(PAGE.format(head="", body='<a href="../index.html">x</a>'))
    (folder / "a b.png").write_bytes(b"")
    return folder


@pytest.mark.parametrize("body", GOOD.values(), ids=list(GOOD))
def test_good_links_pass(tmp_path: Path, body: str) -> None:
    assert links.check(small_site(tmp_path, body)) == []
    assert links.main([str(tmp_path)]) == 0


@pytest.mark.parametrize(("body", "message"), BAD.values(), ids=list(BAD))
def test_faults_are_told(tmp_path: Path, body: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    [fault] = links.check(small_site(tmp_path, body))
    assert message in fault
    assert links.main([str(tmp_path)]) == 1
    assert "1 faults" in capsys.readouterr().out


def test_style_sheets_and_heads_are_read(tmp_path: Path) -> None:
    head = '<link rel="stylesheet" href="a.css"><link rel="canonical" href="https://example.org/">'
    site = small_site(tmp_path, "", head)
    (site / "a.css").write_text('@import "https://example.org/b.css"; p { background: url("a b.png"), url(gone.png) }')
    assert links.check(site) == ["a.css: fetches https://example.org/b.css", "a.css: gone.png: no such file"]


def test_an_empty_folder_is_no_site(tmp_path: Path) -> None:
    assert "no page" in links.check(tmp_path)[0]
    assert links.main([]) == 2


def test_a_cell_of_a_table_holds_no_markup() -> None:
    pytest.importorskip("mkdocs", reason="the extra [docs] is not installed")
    generate = script("generate")
    assert generate.cell("<script>a | b\nc & d") == "&lt;script>a &#124; b c &amp; d"
    with pytest.raises(KeyError):
        generate.on_page_markdown("<!-- generated: nothing -->")
