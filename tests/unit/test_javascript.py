"""The JavaScript: types by TypeScript against the library's own declarations, form by prettier; both pinned."""

import re
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest

from ..conftest import PATIENCE_S, ROOT
from ..npm import unpack

SITE = ROOT / "site"
TYPESCRIPT = ("typescript", "6.0.3", "33cd0ee1beaa8c9e9d15a9da836c62ddea4c34a42d7c2d349dbc80d94165d22a")
PRETTIER = ("prettier", "3.10.1", "8625d008f4f0d7d513509ecc269b4b2a551a6f1ea3a57ac880e13e84a434213c")
FORMATTED = ("site/**/*.{js,ts,json}", "tests/**/*.{js,mjs}")


def _run(node: str, package: tuple[str, str, str], folder: Path, program: str, *arguments: str) -> str:
    """What a program of a package says of the project; nothing where all is well."""
    command = [node, unpack(*package, folder) / "package" / program, *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    return "" if done.returncode == 0 else done.stdout + done.stderr


def test_types(node: str, tmp_path: Path) -> None:
    """site/tsconfig.json takes in everything; types/conforms.ts compares pyenhance.d.ts with what there is."""
    said = _run(node, TYPESCRIPT, tmp_path, "bin/tsc", "--project", "site")
    assert not said, said


def test_form(node: str, tmp_path: Path) -> None:
    said = _run(node, PRETTIER, tmp_path, "bin/prettier.cjs", "--check", *FORMATTED)
    assert not said, said


def test_declarations_leave_nothing_open() -> None:
    declared = (SITE / "engine" / "pyenhance.d.ts").read_text()
    assert not re.search(r"\b(any|unknown|object|Function)\b", re.sub(r"/\*.*?\*/", "", declared, flags=re.S))
    names = set(re.findall(r"^export (?:class|function|const) (\w+)", declared, re.M))
    exported = re.findall(r"^export \{ (.*) \}", (SITE / "engine" / "pyenhance.js").read_text(), re.M)
    assert names == set(", ".join(exported).split(", "))


class _Ids(HTMLParser):
    """Tags of the elements that have an id."""

    def __init__(self) -> None:
        super().__init__()
        self.found: dict[str, str] = {}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        identity = dict(attrs).get("id")
        if identity:
            self.found[identity] = tag


@pytest.mark.parametrize(
    "page",
    [
        "page/index.html",
        "page/how.html",
        "page/mine.html",
        "page/trust.html",
        "page/examples/webrtc.html",
        "page/examples/track.html",
        "page/examples/livekit.html",
        "extension/popup.html",
    ],
)
def test_elements_are_typed_as_they_are(page: str) -> None:
    parser = _Ids()
    parser.feed((SITE / page).read_text())
    typed = dict(
        re.findall(r'^  "?([\w-]+)"?: HTML(\w*)Element;', (SITE / "types" / "elements.d.ts").read_text(), re.M)
    )
    other = {"dd": "", "figcaption": "", "section": "", "a": "Anchor", "dl": "DList", "h2": "Heading", "p": "Paragraph"}
    other["ul"] = "UList"
    for identity, tag in parser.found.items():
        kind = other.get(tag, {"textarea": "TextArea"}.get(tag, tag.capitalize()))
        assert typed.get(identity) == kind, f"{page}: #{identity} is a {tag}, typed HTML{typed.get(identity)}Element"


def test_snapshots_are_of_the_pyodide_that_is_built_in() -> None:
    """Whoever takes another version reads snapshot.js first: until then every start would be an ordinary one."""
    version = re.search(r"^PYODIDE_VERSION=(\S+)", (ROOT / "wasm" / "versions.env").read_text(), re.M)
    known = re.search(r'PYODIDE = "([^"]+)"', (SITE / "engine" / "snapshot.js").read_text())
    assert version and known and version[1] == known[1]


def test_sentences_are_in_one_place() -> None:
    """No script of the pages or the extension but those for sentences holds one. (The engine's are for programmers.)"""
    for path in (*(SITE / "page").rglob("*.js"), *(SITE / "extension").glob("*.js")):
        if path.name in ("strings.js", "other_strings.js") or path.match("strings.*.js"):
            continue
        code = re.sub(r"/\*.*?\*/|(?<![:\"'])//[^\n]*", "", path.read_text(), flags=re.S)
        code = re.sub(r"^import .*$", "", code, flags=re.M)
        for text in re.findall(r'"([^"\n]*)"|`([^`]*)`', code):
            assert not re.search(r"[A-Za-z]{2,} [a-z]{2,} [a-z]{2,}", "".join(text)), f"{path.name}: {text}"
