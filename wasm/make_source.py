"""source.html: the core's modules, with an anchor for each function, class and method: dsp.comb.mix, lab.Lab.run."""

import ast
import html
import io
import tokenize
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "pyenhance"
ELSEWHERE = ("train", "evaluate", "federated", "commands")
"""Folders that enhance nothing: extras, and the command line."""


def modules() -> dict[str, Path]:
    """The modules that are shown, by name without the package's."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py"), key=lambda path: (path.parent != PACKAGE / "dsp", path)):
        place = path.relative_to(PACKAGE)
        named = place.parent if path.stem == "__init__" else place.with_suffix("")
        if place.parts[0] not in ELSEWHERE and any(definitions(path.read_text())):
            found[".".join(named.parts)] = path
    return found


def places() -> dict[str, str]:
    """Where modules and what they define are shown on the site, by file of the project and name: dsp/comb.py#mix."""
    found = {}
    for name, path in modules().items():
        place = path.relative_to(ROOT).as_posix()
        found[place] = f"source.html#{name}"
        found |= {f"{place}#{inner}": f"source.html#{name}.{inner}" for _, inner in definitions(path.read_text())}
    return found


def definitions(code: str) -> Iterator[tuple[int, str]]:
    """Line and dotted name of every function, class and method; of a property with a setter once."""
    kinds, seen = (ast.FunctionDef, ast.ClassDef), set()
    for node in ast.parse(code).body:
        if isinstance(node, kinds):
            yield node.lineno, node.name
        if isinstance(node, ast.ClassDef):
            for inner in node.body:
                if isinstance(inner, kinds) and (node, inner.name) not in seen:
                    seen.add((node, inner.name))
                    yield inner.lineno, f"{node.name}.{inner.name}"


def _soft(code: str) -> list[tuple[int, int, int, int]]:
    """Where comments and docstrings stand: first line and column, last line and column."""
    tokens = list(tokenize.generate_tokens(io.StringIO(code).readline))
    blank = (tokenize.INDENT, tokenize.DEDENT, tokenize.NEWLINE, tokenize.NL, tokenize.COMMENT)
    found = []
    for before, token in zip([None, *tokens], tokens, strict=False):
        alone = token.type == tokenize.STRING and (before is None or before.type in blank) and '"""' in token.string
        if token.type == tokenize.COMMENT or alone:
            found.append((*token.start, *token.end))
    return found


def _shown(code: str, prefix: str) -> str:
    """HTML of a module: its lines, those that define something with an anchor, comments and docstrings apart."""
    anchors: dict[int, str] = {}
    for line, name in definitions(code):
        anchors.setdefault(line, f"{prefix}.{name}")
    soft = {}
    for first, start, last, end in _soft(code):
        for line in range(first, last + 1):
            soft[line] = (start if line == first else 0, end if line == last else None)
    lines = []
    for number, text in enumerate(code.splitlines(), 1):
        start, end = soft.get(number, (len(text), len(text)))
        parts = [
            html.escape(part, quote=False)
            for part in (text[:start], text[start:end], text[len(text) if end is None else end :])
        ]
        line = f"{parts[0]}<i>{parts[1]}</i>{parts[2]}" if parts[1] else f"{parts[0]}{parts[2]}"
        lines.append(f'<span id="{anchors[number]}">{line}</span>' if number in anchors else line)
    return "\n".join(lines)


def fill_source(template: str) -> str:
    """source.html from the page's template, which has a place for the contents and one for the text."""
    contents, articles = [], []
    for name, path in modules().items():
        code = path.read_text()
        title = path.relative_to(ROOT).as_posix()
        entries = "".join(
            f'<li class="level-3"><a href="#{name}.{inner}">{inner}</a></li>'
            for _, inner in definitions(code)
            if not inner.split(".")[-1].startswith("_")
        )
        contents.append(f'<li><a href="#{name}">{name}</a>{f"<ul>{entries}</ul>" if entries else ""}</li>')
        articles.append(
            f'<article id="{name}" aria-label="{title}" class="card"><h2>{title}</h2>'
            f'<pre tabindex="0" class="source" translate="no"><code>{_shown(code, name)}</code></pre></article>'
        )
    for place, text in (("CONTENTS", f"<ul>{''.join(contents)}</ul>"), ("TEXT", "\n".join(articles))):
        if template.count(f"<!-- {place} -->") != 1:
            raise ValueError(f"source.html must have <!-- {place} --> once")
        template = template.replace(f"<!-- {place} -->", text)
    return template
