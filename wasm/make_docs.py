"""The documentation as one page: what README, CONTRIBUTING, model cards, docstrings and types say, each written once.

docs.html is made of them by Griffe (docstrings), TypeDoc (types, as Markdown) and markdown-it; a link that leads
nowhere ends the build.
"""

import posixpath
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import griffe
from make_source import places
from markdown_it import MarkdownIt
from markdown_it.token import Token

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("pyenhance", "pyenhance.files", "pyenhance.model", "pyenhance.dsp", "pyenhance.nn")
"""Whose public names are documented: those of their ``__all__``."""


@dataclass(frozen=True)
class Part:
    """A piece of the page: Markdown from `source`, a place in the project from which its links lead."""

    title: str
    prefix: str
    source: str
    text: str
    deepest: int = 2  # headings that the page's contents list
    html: bool = False  # it has tags of its own, for the anchors of a table's rows


@dataclass
class _Found:
    """What rendering a part gives: HTML, and the headings for the contents (level, anchor, text)."""

    html: str = ""
    headings: list[tuple[int, str, str]] = field(default_factory=list)


class _Slugger:
    """Anchors as GitHub makes them of headings; TypeDoc's Markdown counts on the same ones."""

    def __init__(self) -> None:
        self._seen: dict[str, int] = {}

    def __call__(self, text: str) -> str:
        slug = re.sub(r"[^\w\- ]", "", text.strip().lower()).replace(" ", "-")
        count = self._seen.get(slug, 0)
        self._seen[slug] = count + 1
        return f"{slug}-{count}" if count else slug


def _plain(inline: Token) -> str:
    """The text of a heading, without its marks."""
    return "".join(child.content for child in inline.children or [] if child.type in ("text", "code_inline"))


def render(part: Part, known: dict[str, str]) -> _Found:
    """HTML of a part.

    Parameters
    ----------
    part : Part
    known : dict of str to str
        Where files of the project are to be found on the site: a link's target by path.

    Raises
    ------
    ValueError
        A link leads to a file that is not on the site, or to a heading that is not there.
    """
    markdown = MarkdownIt("commonmark", {"html": part.html}).enable("table")
    tokens = markdown.parse(part.text)
    found, slug, closing = _Found(), _Slugger(), "th"
    anchors = {part.prefix, *re.findall(r'<a id="([^"]+)"', part.text)}
    for token, inline in zip(tokens, [*tokens[1:], None], strict=True):
        if token.type == "heading_open" and inline is not None:
            anchor = f"{part.prefix}-{slug(_plain(inline))}"
            token.attrSet("id", anchor)
            anchors.add(anchor)
            level = int(token.tag[1])
            found.headings.append((level, anchor, _plain(inline)))
        if token.type in ("heading_open", "heading_close"):  # the page has a first heading of its own
            token.tag = f"h{min(int(token.tag[1]) + 1, 6)}"
        if token.type == "th_open" and inline is not None and not inline.content:
            token.tag = closing = "td"  # the corner of a table heads nothing
        elif token.type == "th_close":
            token.tag, closing = closing, "th"
        if token.type == "table_open":
            token.attrSet("tabindex", "0")  # it scrolls where the window is narrow
    for link in _links(tokens):
        for name in ("href", "src"):
            if target := link.attrGet(name):
                link.attrSet(name, _placed(str(target), part, known, anchors))
    found.html = markdown.renderer.render(tokens, markdown.options, {})
    return found


def _links(tokens: list[Token]) -> Iterator[Token]:
    for token in tokens:
        yield token
        yield from token.children or []


def _placed(target: str, part: Part, known: dict[str, str], anchors: set[str]) -> str:
    if urlsplit(target).scheme:
        return target
    if target.startswith("#"):
        anchor = f"{part.prefix}-{target[1:]}"
        if anchor not in anchors:
            raise ValueError(f"{part.source}: a link to {target}, which is no heading there")
        return f"#{anchor}"
    path = posixpath.normpath(posixpath.join(posixpath.dirname(part.source), target))
    if path not in known:
        raise ValueError(f"{part.source}: a link to {path}, which is not on the site")
    return known[path]


# Docstrings


def python_api() -> str:
    """Markdown of the public names of `PACKAGES`."""
    loader = griffe.GriffeLoader(search_paths=[ROOT])
    lines = ["# Python, by name", ""]
    package = loader.load("pyenhance", try_relative_path=False)
    for path in PACKAGES:
        module = package if path == "pyenhance" else package[path.removeprefix("pyenhance.")]
        lines += [f"## {path}", ""]
        lines += [module.docstring.value, ""] if module.docstring else []
        for name in module.exports or []:
            if (found := _final(module, str(name))) is not None:
                lines += _document(found, f"{path}.{name}", "###")
    return "\n".join(lines)


def _final(module: griffe.Object | griffe.Alias, name: str) -> griffe.Object | None:
    member = module.members.get(name)
    if member is None:
        return None
    return member.final_target if member.is_alias else member  # type: ignore[union-attr, return-value]


def _document(thing: griffe.Object, name: str, level: str) -> list[str]:
    """A heading, the signature, the docstring; of a class its public members, too."""
    if thing.docstring is None:
        return []
    lines = [f"{level} {name.split('.')[-1]}", ""]
    if isinstance(thing, griffe.Function) and "property" not in thing.labels:
        lines += ["```python", f"{name}{_signature(thing)}", "```", ""]
    if isinstance(thing, griffe.Function | griffe.Class):
        place = Path(str(thing.filepath)).relative_to(ROOT / "pyenhance").as_posix()
        within = thing.path.removeprefix(f"{thing.module.path}.")
        lines += [f"[Source]({place}#{within})", ""]
    lines += _docstring(thing)
    if isinstance(thing, griffe.Class):
        for member in thing.members.values():
            if not member.name.startswith("_") and isinstance(member, griffe.Function | griffe.Attribute):
                lines += _document(member, f"{thing.name}.{member.name}", level + "#")
    return lines


def _signature(function: griffe.Function) -> str:
    parts, starred = [], False
    for parameter in function.parameters:
        if parameter.name in ("self", "cls"):
            continue
        if parameter.kind is griffe.ParameterKind.keyword_only and not starred:
            parts.append("*")
            starred = True
        if parameter.kind is griffe.ParameterKind.var_positional:
            starred = True
        mark = {griffe.ParameterKind.var_positional: "*", griffe.ParameterKind.var_keyword: "**"}
        default = "" if parameter.default is None or parameter.kind in mark else f"={parameter.default}"
        parts.append(f"{mark.get(parameter.kind, '')}{parameter.name}{default}")
    return f"({', '.join(parts)})"


def _docstring(thing: griffe.Object) -> list[str]:
    lines: list[str] = []
    assert thing.docstring is not None
    written = {_letters(line): line for line in thing.docstring.value.splitlines()}
    for section in thing.docstring.parse("numpy", warnings=False):
        if section.kind is griffe.DocstringSectionKind.text:
            lines += [section.value, ""]
            continue
        lines += [f"**{section.kind.value.capitalize()}**", ""]
        for entry in section.value:
            name, of_type = getattr(entry, "name", "") or "", str(entry.annotation or "")
            # As it is written: Griffe takes "ndarray, shape (K,), float32" for an expression.
            head = written.get(_letters(f"{name} : {of_type}" if name else of_type), f"{name} : {of_type}")
            title = re.sub(r"^([\w, ]+) : ", r"`\1`: ", head) if name else head
            text = " ".join(entry.description.split())
            lines += [f"- {title}" + (f". {text}" if text else "")]
        lines += [""]
    return lines


def _letters(line: str) -> str:
    return re.sub(r"[^\w:]", "", line)


# The page


EXPERIMENTS = "pyenhance/train/EXPERIMENTS.md"


def parts(types: str) -> list[Part]:
    """All that the page holds, in its order. types: TypeDoc's Markdown of the library."""

    def read(source: str) -> str:
        return (ROOT / source).read_text()

    types = re.sub(r"^# .*", "# JavaScript, by name", types.replace("\r", ""), count=1)
    types = types.replace('<a id="', '<a id="js-')
    cards = sorted((ROOT / "pyenhance" / "weights").glob("*.md"))
    cards.sort(key=lambda path: path.stem != "default")
    return [
        Part("Use", "use", "README.md", read("README.md")),
        *(
            Part(f"Model: {path.stem}", f"model-{path.stem}", str(path.relative_to(ROOT)), path.read_text(), 1)
            for path in cards
        ),
        Part("JavaScript, by name", "js", "site/engine/pyenhance.d.ts", types, 3, html=True),
        Part("Python, by name", "python", "pyenhance/__init__.py", python_api(), 3),
        Part("Change it", "change", "CONTRIBUTING.md", read("CONTRIBUTING.md")),
        Part(
            "What was tried in training",
            "experiments",
            "pyenhance/train/EXPERIMENTS.md",
            read("pyenhance/train/EXPERIMENTS.md"),
        ),
        Part("What changed", "changes", "CHANGELOG.md", read("CHANGELOG.md"), 1),
    ]


def fill(template: str, types: str) -> str:
    """docs.html from the page's template, which has a place for the contents and one for the text."""
    whole = parts(types)
    known = {part.source: f"#{part.prefix}" for part in whole} | {
        "docs/page.png": "page.png",
        "site/page/examples/track.js": "examples/track.html",
        "site/page/examples/webrtc.js": "examples/webrtc.html",
        "site/page/examples/livekit.js": "examples/livekit.html",
        "pyenhance/weights/gate.json": "gate.json",
        **places(),
    }
    contents, articles = [], []
    for part in whole:
        found = render(part, known)
        entries = "".join(
            f'<li class="level-{level}"><a href="#{anchor}">{_escaped(text)}</a></li>'
            for level, anchor, text in found.headings
            if 1 < level <= part.deepest
        )
        contents.append(f'<li><a href="#{part.prefix}">{part.title}</a>{f"<ul>{entries}</ul>" if entries else ""}</li>')
        articles.append(f'<article id="{part.prefix}" aria-label="{part.title}" class="card">{found.html}</article>')
    for place, text in (("CONTENTS", f"<ul>{''.join(contents)}</ul>"), ("TEXT", "\n".join(articles))):
        if template.count(f"<!-- {place} -->") != 1:
            raise ValueError(f"docs.html must have <!-- {place} --> once")
        template = template.replace(f"<!-- {place} -->", text)
    return template


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
