"""The documentation: it holds every public name, and no link of the site leads nowhere."""

import importlib
import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import urldefrag, urlsplit

import pytest

from ..conftest import ROOT

sys.path.insert(0, str(ROOT / "wasm"))
from make_docs import PACKAGES, Part, render


class _Page(HTMLParser):
    def __init__(self, path: Path) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.headings: set[str] = set()
        self._heading: list[str] | None = None
        self.feed(path.read_text())

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = dict(attributes)
        if name := given.get("id"):
            assert name not in self.ids, f"two of {name}"
            self.ids.add(name)
        self.links += [link for name in ("href", "src") if (link := given.get(name)) is not None]
        if re.fullmatch("h[1-6]", tag):
            self._heading = []

    def handle_data(self, data: str) -> None:
        if self._heading is not None:
            self._heading.append(data)

    def handle_endtag(self, tag: str) -> None:
        if self._heading is not None and re.fullmatch("h[1-6]", tag):
            self.headings.add("".join(self._heading))
            self._heading = None


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, _Page]:
    return {path: _Page(path) for path in site.rglob("*.html")}


def test_no_link_leads_nowhere(site: Path, pages: dict[Path, _Page]) -> None:
    assert site / "docs.html" in pages and len(pages) > 4
    for path, page in pages.items():
        for link in page.links:
            if urlsplit(link).scheme:
                assert urlsplit(link).scheme in ("https", "data"), link
                continue
            place, anchor = urldefrag(link)
            target = (path.parent / place).resolve() if place else path
            target = target / "index.html" if target.is_dir() else target
            assert target.exists(), f"{path.name}: {link}"
            assert not anchor or anchor in pages[target].ids, f"{path.name}: {link}"


def test_every_public_name_is_there(site: Path, pages: dict[Path, _Page]) -> None:
    headings = pages[site / "docs.html"].headings
    for name in PACKAGES:
        module = importlib.import_module(name)
        documented = {thing for thing in module.__all__ if callable(getattr(module, thing))}
        assert documented and documented <= headings, documented - headings
    types = (ROOT / "site" / "engine" / "pyenhance.d.ts").read_text()
    exported = re.findall(r"^export (?:declare )?(?:class|interface|function|const|type) (\w+)", types, re.MULTILINE)
    shown = {heading.removesuffix("()") for heading in headings}
    assert len(exported) > 15 and set(exported) <= shown, set(exported) - shown


@pytest.mark.parametrize(
    ("text", "message"),
    [("[a](nowhere.md)", "docs/nowhere.md, which is not on the site"), ("[a](#b)", "#b, which is no heading there")],
)
def test_a_dead_link_ends_the_build(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        render(Part("A", "a", "docs/a.md", text), {})
    assert 'href="#a-b"' in render(Part("A", "a", "docs/a.md", "# B\n[a](#b)"), {}).html
