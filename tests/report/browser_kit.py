"""What the browser tests share: a visit that notes everything that goes wrong, and the data as Python reads them."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

AXE = Path(__file__).parent / "vendored" / "axe.min.js"
READY = "document.readyState === 'complete'"


def until(page: Any, expression: str, arg: Any = None, seconds: float = 15.0) -> None:
    """Wait until a script's expression holds. Playwright's own waiting evaluates text inside the page, which the
    report's policy forbids."""
    end = time.monotonic() + seconds
    while not page.evaluate(expression, arg):
        assert time.monotonic() < end, f"not within {seconds} s: {expression} (with {arg!r})"
        page.wait_for_timeout(30)


class Visit:
    """Pages of one report in a context of its own. On leaving, nothing may have been said on the console and no request
    may have left the folder."""

    def __init__(self, browser: Any, folder: Path, **context: Any) -> None:
        self.folder = folder
        self.base = folder.as_uri()
        self.said: list[str] = []
        self.asked: list[str] = []
        self.context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **context})
        self.context.route("http://**", lambda route: route.abort())
        self.context.route("https://**", lambda route: route.abort())
        self.page = self.context.new_page()
        self.page.on("console", lambda message: self.said.append(f"{message.type}: {message.text}"))
        self.page.on("pageerror", lambda error: self.said.append(f"error: {error}"))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.set_default_timeout(15_000)

    def __enter__(self) -> Visit:
        return self

    def __exit__(self, kind: Any, *rest: Any) -> None:
        hacked = self.page.evaluate("'bench_hacked' in window")
        problems = self.page.locator("[role=alert]").all_inner_texts()
        self.context.close()
        if kind is None:
            assert self.said == []
            assert problems == []
            assert [url for url in self.asked if not url.startswith((self.base, "blob:null", "data:image/"))] == []
            assert not hacked

    def open(self, name: str, **state: object) -> Any:
        """Open a page with a state in its address and wait until its scripts are through."""
        address = f"{self.base}/{name}" + (f"#{urlencode(state)}" if state else "")
        self.page.goto("about:blank")  # else a change of the hash alone would not load it anew
        self.page.goto(address)
        self.settled()
        return self.page

    def settled(self) -> None:
        """Wait for scripts: a page that they make says so in its status line."""
        until(self.page, READY)
        if self.page.locator("#app").count():
            until(self.page, "document.getElementById('app').childElementCount > 0")
            until(self.page, "document.querySelector('#status:not(:empty), [role=alert]') !== null")

    @property
    def status(self) -> str:
        """The status line."""
        return str(self.page.locator("#status").inner_text())

    def violations(self) -> list[str]:
        """What axe-core finds wrong with the page as it stands."""
        # by the debugger's door, which the page's policy does not concern
        self.page.evaluate(AXE.read_text(encoding="utf-8") + ";0")
        found = self.page.evaluate(
            "axe.run(document, {resultTypes: ['violations'], preload: false}).then((r) => r.violations)"
        )
        return [f"{one['id']}: {node['html'][:160]}" for one in found for node in one["nodes"]]


def index(folder: Path) -> dict[str, Any]:
    """The index inside index.html."""
    text = (folder / "index.html").read_text(encoding="utf-8")
    start = text.index(">", text.index('id="data-index"')) + 1
    return json.loads(text[start : text.index("</script>", start)])


def data(folder: Path, name: str) -> dict[str, Any]:
    """The object of a data script."""
    text = (folder / "data" / f"{name}.js").read_text(encoding="utf-8").strip()
    head = f'bench.load("{name}",'
    assert text.startswith(head), text[:80]
    return json.loads(text[len(head) :].rstrip(";").rstrip(")"))


class Clips:
    """A section's clips as Python reads them, for comparison with what the page shows."""

    def __init__(self, folder: Path, place: int = 0) -> None:
        self.section = index(folder)["sections"][place]
        parts = [data(folder, name) for name in self.section["scores"]]
        self.ids = [one for part in parts for one in part["clips"]["id"]]
        self.speakers = [one for part in parts for one in part["clips"]["speaker"]]
        self.texts = [one for part in parts for one in part["clips"]["text"]]
        self.parts = parts
        self.n = len(self.ids)
        self.states = [self._states(k) for k in range(len(self.section["rows"]))]

    def values(self, k: int, column: int) -> list[float | None]:
        """A system's values of a column, clip by clip."""
        key = self.section["columns"][column]["key"]
        found = [part["systems"][k]["values"].get(key) or [None] * len(part["clips"]["id"]) for part in self.parts]
        return [value for part in found for value in part]

    def _states(self, k: int) -> list[str]:
        """ok, failed, pending or not asked, clip by clip; a protocol without states has values of all clips."""
        codes: list[set[int]] = []
        for part in self.parts:
            system, size = part["systems"][k], len(part["clips"]["id"])
            lists = list(system["status"].values())
            if any(key.split(" ")[0] not in system["status"] for key in system["values"]):
                lists.append([0] * size)
            codes += [{states[i] for states in lists} for i in range(size)]
        return ["failed" if 2 in one else "pending" if 1 in one else "ok" if 0 in one else "not asked" for one in codes]

    def state(self, k: int, i: int) -> str:
        """The state of a clip of a system."""
        return self.states[k][i]

    def asked(self) -> list[tuple[int, int]]:
        """(system, clip) of all rows of the clips page in their first order."""
        pairs = [(k, i) for k in range(len(self.section["rows"])) for i in range(self.n)]
        return [(k, i) for k, i in pairs if self.state(k, i) != "not asked"]

    def row(self, label: str) -> int:
        """Index of a row by its label."""
        return next(k for k, row in enumerate(self.section["rows"]) if row["label"] == label)

    def column(self, label: str) -> int:
        """Index of a column by its label."""
        return next(i for i, column in enumerate(self.section["columns"]) if column["label"] == label)


def ordered(items: list[Any], value: Any, down: bool) -> list[Any]:
    """A stable sort with missing values last, either way."""

    known = [item for item in items if value(item) is not None]
    missing = [item for item in items if value(item) is None]
    # sorted(reverse=True) keeps equal ones in their order, as the page does
    return sorted(known, key=value, reverse=down) + missing
