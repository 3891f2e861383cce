"""The folder as a whole: what is in it, that it is the same each time, and that it tells nothing of its machine."""

from __future__ import annotations

import csv
import hashlib
import json
import re
import shutil
import socket
from html.parser import HTMLParser
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from synthetic import HOSTILE_IDS, Shape, fill, run_record, sha

from bench.api import UsageError
from bench.progress import Progress
from bench.results.leaderboard import build as build_table
from bench.results.published import load
from bench.results.report import private
from bench.results.report.build import Options, build
from bench.results.table import format_interval, format_value
from bench.store import Store
from bench.store_records import OutputRecord, RunClip, RunRecord

QUIET = Progress(quiet=True)
PAGES = ("index", "distributions", "clips", "clip", "compare", "failures", "about")


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def report_of(store: Path, folder: Path, **options: object) -> Path:
    with Store.open(store, write=False) as opened:
        build(opened, opened.runs(), folder, Options(**options), QUIET)  # type: ignore[arg-type]
    return folder


class Elements(HTMLParser):
    """All elements of a page: names with attributes, and the text of each table cell by its data-column."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.cells: list[tuple[dict[str, str | None], str]] = []
        self._open = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag == "td":
            self.cells.append((dict(attrs), ""))
            self._open = True

    def handle_endtag(self, tag: str) -> None:
        self._open = self._open and tag != "td"

    def handle_data(self, data: str) -> None:
        if self._open:
            attributes, text = self.cells[-1]
            self.cells[-1] = (attributes, text + data)


def test_manifest_lists_every_file_with_its_hash(report: Path) -> None:
    listed = json.loads((report / "manifest.json").read_text())["files"]
    there = {name: data for name, data in bytes_of(report).items() if name != "manifest.json"}
    assert set(listed) == set(there)
    assert {f"{page}.html" for page in PAGES} < set(there)
    for name, data in there.items():
        assert listed[name] == {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}, name


def test_same_store_same_bytes_and_leftovers_go(tmp_path: Path) -> None:
    store = fill(tmp_path / "store", Shape(clips=24, systems=3))
    first = bytes_of(report_of(store, tmp_path / "one", media="none"))
    assert bytes_of(report_of(store, tmp_path / "two", media="none")) == first
    with Store.open(store, write=False) as opened:  # a report of less over one of more
        build(opened, opened.runs()[:2], tmp_path / "one", Options(media="none"), QUIET)
    less = bytes_of(tmp_path / "one")
    assert {name for name in first if name.startswith("data/compare")} == {
        name for name in less if name.startswith("data/compare")
    }
    assert sum(name.startswith("data/text") for name in less) < len([n for n in first if n.startswith("data/text")]) + 1
    report_of(store, tmp_path / "one", media="none")
    assert bytes_of(tmp_path / "one") == first


def test_files_of_runs_that_left_are_removed(tmp_path: Path) -> None:
    store = fill(tmp_path / "store", Shape(clips=12, systems=2, hostile=False))
    fill(store, Shape(clips=12, systems=2, dataset="second", hostile=False))
    folder = report_of(store, tmp_path / "report", media="none")
    assert len(list((folder / "data").glob("scores-*"))) == 2
    (folder / "mine.txt").write_text("a file of the user's")
    with Store.open(store, write=False) as opened:
        build(opened, opened.runs(dataset="second"), folder, Options(media="none"), QUIET)
    assert len(list((folder / "data").glob("scores-*"))) == 1
    assert (folder / "mine.txt").exists()


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    store = fill(tmp_path / "store", Shape(clips=12, systems=2, hostile=False))
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").write_text("x")
    with pytest.raises(UsageError, match="not a report of bench"):
        report_of(store, tmp_path / "full")
    (tmp_path / "full" / "manifest.json").write_text('{"kind": "bench report", "files": {"../store/store.sqlite": {}}}')
    report_of(store, tmp_path / "full", media="none")
    assert (store / "store.sqlite").exists(), "a manifest reached out of its folder"
    with pytest.raises(UsageError, match="is a file"):
        report_of(store, tmp_path / "full" / "thesis.tex")


def test_an_interrupted_report_is_made_whole_by_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = fill(tmp_path / "store", Shape(clips=12, systems=3, hostile=False))
    whole = bytes_of(report_of(store, tmp_path / "whole", media="none"))

    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("bench.results.report.comparisons.compare", killed)
        with pytest.raises(KeyboardInterrupt):
            report_of(store, tmp_path / "report", media="none")
    assert not (tmp_path / "report" / "index.html").exists()
    assert bytes_of(report_of(store, tmp_path / "report", media="none")) == whole


def test_mistakes_leave_no_folder(tmp_path: Path) -> None:
    store = fill(tmp_path / "store", Shape(clips=12, systems=2, hostile=False))
    with pytest.raises(UsageError):
        report_of(store, tmp_path / "report", metrics=["werr"])
    assert not (tmp_path / "report").exists()


def test_every_cell_equals_csv_markdown_and_parquet(report: Path, invented: Path) -> None:
    elements = Elements((report / "index.html").read_text())
    index = json.loads(
        (report / "data" / "index.js").read_text().removeprefix('bench.load("index",').removesuffix(");\n")
    )
    shown = [cell for cell in elements.cells if "data-column" in cell[0]]
    rows = list(csv.DictReader((report / "download" / "leaderboard.csv").open(encoding="utf-8")))
    tidy = {(row["run_id"], row["protocol"], row["metric"]): row for row in rows}
    parquet = {
        (row["run_id"], row["protocol"], row["metric"]): row
        for row in pq.read_table(report / "download" / "leaderboard.parquet").to_pylist()
    }
    markdown = (report / "download" / "leaderboard.md").read_text()
    expected = []
    with Store.open(invented, write=False) as store:
        table = build_table(store)
    for section in table.sections:
        for row in section.rows:
            for column in section.headline():
                cell = row.cells.get(column.key)
                text = format_value(None if cell is None else cell.value, column.value)
                interval = "" if cell is None else format_interval(cell.interval, column.value)
                expected.append((text, interval))
                if cell is not None:
                    key = (row.run.id, column.protocol.id, column.value.label)
                    said = tidy[key]["value"]
                    assert (float(said) if said else None) == parquet[key]["value"] == cell.value
                    assert f" {text}" in markdown or f"**{text}**" in markdown
    assert len(shown) == len(expected) > 50
    for (_, text), (value, interval) in zip(shown, expected, strict=True):
        assert text.startswith(value)
        assert interval in text
    cells = [
        c
        for s in index["sections"]
        for r in s["rows"]
        for c, k in zip(r["cells"], s["columns"], strict=True)
        if k["headline"]
    ]
    assert [("–" if c is None else c["text"]) for c in cells] == [value for value, _ in expected]


def test_papers_numbers_stand_beside_ours(tmp_path: Path) -> None:
    shape = Shape(
        clips=12,
        systems=4,
        dataset="lrs3",
        task="vts",
        hostile=False,
        protocols=("wer/pocketsphinx-grid@1", "mcd/dtw-13@1"),
    )
    page = (report_of(fill(tmp_path / "store", shape), tmp_path / "report", media="none") / "index.html").read_text()
    ours, papers = page.split('<tbody class="published">')
    papers = papers.split("</table>")[0]
    assert "HiCoDiT" in papers
    assert "by paper" in papers
    assert "by paper" not in ours
    assert "mcd/unspecified@0" in papers, "the recipe of a paper must be told"
    wanted = ("2604.15923", "Table 1", "HiCoDiT", "MCD")
    found = [row for row in load() if (row.place.source, row.place.table, row.system, row.metric) == wanted]
    assert found
    for row in found:
        assert f'<span class="value">{row.printed}</span>' in papers
    printed = Elements(papers)
    assert not [cell for cell, _ in printed.cells if cell.get("data-column")], "papers' cells must not sort with ours"
    assert "PUBLISHED, not measured here: LRS3, vts" in page


def test_raw_values_of_cells_sort_as_the_numbers(report: Path) -> None:
    elements = Elements((report / "index.html").read_text())
    for attributes, text in elements.cells:
        if attributes.get("data-column") and attributes["data-value"]:
            shown = float(re.match(r"-?[\d.]+", text).group())  # type: ignore[union-attr]
            raw = float(attributes["data-value"])
            assert min(abs(shown - raw), abs(shown - 100 * raw)) <= 0.006 * max(1.0, abs(shown))


def test_nothing_of_this_machine_is_inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home, name = str(Path.home()), "gpu-box-17"
    monkeypatch.setattr(socket, "gethostname", lambda: name)
    private._host.cache_clear()
    store = fill(tmp_path / "store", Shape(clips=12, systems=2))
    secret = f"{home}/experiments/secret/checkpoint.pt"
    with Store.open(store) as opened:
        for seed in (1, 2):  # told apart by their settings: paths come into labels
            fields = {
                "settings": {"checkpoint": secret.replace("secret", f"secret{seed}")},
                "note": f"made in {secret}",
            }
            config = {
                "data_root": {"value": home + "/data", "from": "command line"},
                "set": {"value": {"a": secret}, "from": "file"},
            }
            run = RunRecord(
                sha(seed)[:16], "own", "1", "embedded", "invented", "test", "dub", "", "", "other", n_split=12,
                config=config, environment={"python": "3.11", "host": name}, **fields,
            )  # fmt: skip
            opened.add_run(run)
            opened.add_run_clips(run.id, [RunClip(HOSTILE_IDS[0], "s", sha("reference", 0), 1.0)])
            trace = f'Traceback\n  File "{home}/code/own.py", line 3, in run on {name}\nValueError: {secret}'
            opened.add_output(OutputRecord(run.id, HOSTILE_IDS[0], "failed", kind="model_error", detail=trace))
    folder = report_of(store, tmp_path / "report")
    for file, data in bytes_of(folder).items():
        for secret in (home + "/", str(tmp_path), name):
            assert secret.encode() not in data, f"{secret} in {file}"
    private._host.cache_clear()
    index = (folder / "data" / "index.js").read_text()
    labels = [row["label"] for row in json.loads(index[index.index("{") : -3])["sections"][0]["rows"]]
    assert len(set(labels)) == len(labels) == 4, "only their folders told two runs apart, and those are cut"
    about = (folder / "about.html").read_text()
    assert "…/checkpoint.pt" in about
    assert "…/own.py" in (next((folder / "data").glob("failures-*"))).read_text()


def test_pages_have_no_inline_code_and_no_address_of_another_host(report: Path) -> None:
    for page in PAGES:
        elements = Elements((report / f"{page}.html").read_text())
        policies = [
            a for tag, a in elements.found if tag == "meta" and a.get("http-equiv") == "Content-Security-Policy"
        ]
        assert len(policies) == 1
        assert "default-src 'none'" in str(policies[0]["content"])
        for tag, attributes in elements.found:
            assert tag not in {"style", "iframe", "object", "embed", "base", "form"}, page
            assert not {a for a in attributes if a.startswith("on") or a == "style"}, (page, tag, attributes)
            if tag == "script":
                assert attributes.get("src") or attributes.get("type") == "application/json"
            for name in ("src", "href"):
                address = attributes.get(name) or ""
                assert not re.match(r"[a-z]+:|//|/", address) or address == "data:,", (page, tag, address)
    for name, data in bytes_of(report).items():
        if name.startswith(("data/", "index", "clip", "compare", "failures", "distributions")):
            assert not re.search(rb"https?://", data), name


def test_hostile_texts_stay_texts(report: Path) -> None:
    for page in PAGES:
        elements = Elements((report / f"{page}.html").read_text())
        assert not [tag for tag, attributes in elements.found if tag == "img" or "onerror" in attributes], page
    for path in (report / "data").iterdir():
        text = path.read_text(encoding="utf-8")
        assert not re.search("[<>&\u2028\u2029]", text), path.name
        name, value = json.loads("[" + text.removeprefix("bench.load(").removesuffix(");\n") + "]")
        assert (name, value["schema"]) == (path.stem, 1)
    scores = "".join(path.read_text() for path in (report / "data").glob("scores-*"))
    ids = {name for part in re.findall(r'"id":(\[.*?\]),"speaker"', scores) for name in json.loads(part)}
    assert set(HOSTILE_IDS) < ids


def test_templates_never_switch_escaping_off() -> None:
    from bench.results.report import pages

    assert pages.environment().autoescape is True
    for path in (Path(pages.__file__).parent / "templates").iterdir():
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"\|\s*safe\b|autoescape|Markup", text), path.name
        assert not re.search(r"\sstyle=|\son[a-z]+=|<style|javascript:", text), path.name


def test_a_store_without_results_still_makes_pages(tmp_path: Path) -> None:
    with Store.open(tmp_path / "store") as store:
        run = run_record(Shape(clips=2), "talker")
        store.add_run(run)
        store.add_run_clips(run.id, [RunClip("a", None, sha("a"), 1.0)])
    folder = report_of(tmp_path / "store", tmp_path / "report")
    assert "Nothing has been scored here yet." in (folder / "index.html").read_text()
    assert "No clip has a value yet." in (folder / "distributions.html").read_text()


def test_the_leaderboards_files_are_small(tmp_path: Path, report: Path) -> None:
    names = ("index.html", "assets/report.js", "assets/report.css")
    assert sum((report / name).stat().st_size for name in names) < 300_000
    assert all(path.stat().st_size < 2_000_000 for path in (report / "data").iterdir())
    shutil.rmtree(tmp_path)
