"""Other languages: each says all that the pages say in English, and nothing that they do not say."""

import json
import re
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest

from ..conftest import ROOT

PAGES = ("index.html", "how.html", "mine.html", "trust.html")
SAME = {"pyenhance", "B", "np", "-", "34", "3 dB", "100 %"}
"""Names and numbers."""
HERE = ROOT / "site" / "page"
TABLES = sorted(path.name for path in HERE.glob("strings.*.js"))


class _Said(HTMLParser):
    """What a page's HTML says, white space aside."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.said: set[str] = set()
        self._names: list[str] = []  # tags within one that is not to be translated
        self.feed(path.read_text())

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = dict(attributes)
        if self._names or given.get("translate") == "no":
            self._names.append(tag)
        self._say(given.get("aria-label") or "")
        if tag == "meta" and given.get("name") == "description":
            self._say(given["content"] or "")

    def handle_endtag(self, tag: str) -> None:
        if self._names and self._names[-1] == tag:
            self._names.pop()

    def handle_data(self, data: str) -> None:
        if not self._names:
            self._say(data)

    def _say(self, text: str) -> None:
        if plain := re.sub(r"\s+", " ", text.strip()):
            self.said.add(plain)


@pytest.fixture(scope="module", params=TABLES)
def table(request: pytest.FixtureRequest, node: str) -> dict[str, dict]:
    """A language's tables, functions as their source."""
    code = f"""import * as table from {json.dumps((HERE / request.param).as_uri())};
        import * as first from {json.dumps((HERE / "strings.js").as_uri())};
        import * as others from {json.dumps((HERE / "other_strings.js").as_uri())};
        const shown = (_, value) => (typeof value === "function" ? String(value) : value);
        console.log(JSON.stringify([table, {{ ...first, ...others }}], shown));"""
    done = subprocess.run([node, "--input-type=module", "-e", code], capture_output=True, text=True, check=True)
    own, english = json.loads(done.stdout)
    return {"own": own, "english": english}


def _sentences(table: dict, path: str = "") -> dict[str, str]:
    found = {}
    for name, value in table.items():
        found |= _sentences(value, f"{path}.{name}") if isinstance(value, dict) else {f"{path}.{name}": value}
    return found


def test_translation_complete(table: dict[str, dict]) -> None:
    said = set().union(*(_Said(HERE / page).said for page in PAGES)) - SAME
    page, own = table["own"]["PAGE"], {name: part for name, part in table["own"].items() if name != "PAGE"}
    assert set(page) == said, set(page) ^ said
    assert all(page.values()) and {english for english, text in page.items() if text == english} == {"Start"}
    own, english = _sentences(own), _sentences(table["english"])
    assert set(own) == set(english)
    written_alike = {".TEXT.hz", ".TEXT.db", ".TEXT.start"}
    assert {name for name in own if own[name] == english[name]} == written_alike


def test_the_html_and_the_scripts_say_the_same(table: dict[str, dict]) -> None:
    """A button that the HTML names as a script does keeps its name."""
    english = {name: text for name, text in table["english"]["TEXT"].items() if isinstance(text, str)}
    both = {text: table["own"]["TEXT"][name] for name, text in english.items()}
    page = table["own"]["PAGE"]
    assert {"Start", "Record"} < both.keys() & page.keys()
    assert {text: page[text] for text in both.keys() & page.keys()} == {t: both[t] for t in both.keys() & page.keys()}
