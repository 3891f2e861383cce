"""Checks a built site: every link inside it has its page and anchor, and no page fetches anything from elsewhere.

Run as ``python docs/check_links.py FOLDER``; exit code 1 with one line per fault. Links to other sites are not opened.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

#: Tag -> attributes whose address a browser fetches by itself.
FETCHED = {
    "audio": ("src",),
    "embed": ("src",),
    "iframe": ("src",),
    "img": ("src", "srcset"),
    "link": ("href",),
    "object": ("data",),
    "script": ("src",),
    "source": ("src", "srcset"),
    "track": ("src",),
    "video": ("src", "poster"),
}
#: ``rel`` of a link that nothing is fetched for.
NAMED_ONLY = {"canonical", "alternate", "next", "prev", "license"}
_CSS = re.compile(r"""url\(\s*["']?([^"')]+)|@import\s+["']([^"']+)""")
NOT_FOUND = "404.html"  # served for any missing address, so its links begin at the root


@dataclass
class Page(HTMLParser):
    """Anchors, links and fetched addresses of one page."""

    text: str
    ids: set[str] = field(default_factory=set)
    links: list[str] = field(default_factory=list)
    fetched: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.feed(self.text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what one tag names, links to and fetches."""
        found = {name: value for name, value in attrs if value is not None}
        self.ids |= {found[name] for name in ("id", "name") if name in found and (name == "id" or tag == "a")}
        if tag == "a" and "href" in found:
            self.links.append(found["href"])
        if tag == "link" and set(found.get("rel", "").split()) <= NAMED_ONLY:
            self.links += [found["href"]] if "href" in found else []
            return
        for name in FETCHED.get(tag, ()):
            if name in found:
                parts = found[name].split(",") if name == "srcset" else [found[name]]
                self.fetched += [part.split()[0] for part in parts if part.strip()]
        if "style" in found:
            self.fetched += css_addresses(found["style"])


def css_addresses(text: str) -> list[str]:
    """Addresses that a style sheet fetches."""
    return [first or second for first, second in _CSS.findall(text)]


def check(site: Path) -> list[str]:
    """One line per broken link, missing anchor and address elsewhere, sorted; empty: all is well."""
    pages = {path: Page(path.read_text(encoding="utf-8")) for path in sorted(site.rglob("*.html"))}
    faults = [] if pages else [f"{site}: no page"]
    for path, page in pages.items():
        for address in page.links:
            faults += _broken(site, path, address, pages)
        for address in page.fetched:
            faults += _elsewhere(site, path, address) or _broken(site, path, address, pages)
    for path in sorted(site.rglob("*.css")):
        for address in css_addresses(path.read_text(encoding="utf-8")):
            faults += _elsewhere(site, path, address) or _broken(site, path, address, pages)
    return sorted(set(faults))


def _elsewhere(site: Path, path: Path, address: str) -> list[str]:
    parts = urlsplit(address)
    if parts.netloc or parts.scheme not in {"", "data"}:
        return [f"{path.relative_to(site)}: fetches {address}"]
    return []


def _broken(site: Path, path: Path, address: str, pages: dict[Path, Page]) -> list[str]:
    """A line for an address inside the site that leads nowhere."""
    parts = urlsplit(address)
    if parts.scheme or parts.netloc:
        return []
    where = f"{path.relative_to(site)}: {address}"
    if parts.path.startswith("/") and path.name != NOT_FOUND:
        return [f"{where}: begins at the server's root, where the site need not be"]
    target = _target(site, path, unquote(parts.path))
    if not target.exists():
        return [f"{where}: no such file"]
    anchor = unquote(parts.fragment)
    if anchor and target in pages and anchor not in pages[target].ids and not anchor.startswith("__"):
        return [f"{where}: no such anchor"]
    return []


def _target(site: Path, path: Path, address: str) -> Path:
    if not address:
        return path
    base = site if address.startswith("/") else path.parent
    target = (base / address.lstrip("/")).resolve()
    return target / "index.html" if target.is_dir() else target


def main(arguments: list[str]) -> int:
    """Print the faults of the site in the folder that is named."""
    if len(arguments) != 1:
        sys.stderr.write("usage: python docs/check_links.py FOLDER\n")
        return 2
    site = Path(arguments[0]).resolve()
    faults = check(site)
    sys.stdout.write("".join(f"{fault}\n" for fault in faults))
    sys.stdout.write(f"{site.name}: {len(faults)} faults\n")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
