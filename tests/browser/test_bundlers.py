"""The npm package in projects with a bundler, which use it as the README says."""

import functools
import hashlib
import json
import os
import re
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from http.server import ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlencode, urlparse

import pytest
from playwright.sync_api import Browser, Error, Page
from serve import Handler, make_server

from ..conftest import PATIENCE_S, ROOT
from ..npm import unpack
from ..unit.test_javascript import TYPESCRIPT
from .conftest import until, watched

pytestmark = pytest.mark.browser
SOURCE = Path(__file__).with_name("bundlers")
VITE_NEEDS_NODE = (20, 19)
NOISE_SECONDS = 3
"""Of the sample that the fake microphone repeats: every such stretch has pauses, and they are equally loud."""


def _run(*command: str | Path, cwd: Path) -> str:
    """What a command prints; it must succeed."""
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def bundlers(node: str) -> Path:
    """node_modules/ with the bundlers that bundlers/package-lock.json pins; kept among the project's caches."""
    version = _run(node, "--version", cwd=ROOT).strip()
    if tuple(map(int, version.removeprefix("v").split(".")[:2])) < VITE_NEEDS_NODE:
        pytest.skip(f"Node is {version}; the bundlers need {'.'.join(map(str, VITE_NEEDS_NODE))} or later")
    lock = (SOURCE / "package-lock.json").read_bytes()
    caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pyenhance"
    folder = caches / f"bundlers-{hashlib.sha256(lock).hexdigest()[:12]}"
    if not folder.exists():
        caches.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=caches) as temporary:
            part = Path(temporary) / folder.name
            part.mkdir()
            for name in ("package.json", "package-lock.json"):
                shutil.copyfile(SOURCE / name, part / name)
            _run("npm", "ci", "--prefer-offline", "--ignore-scripts", "--no-audit", "--no-fund", cwd=part)
            with suppress(OSError):  # tests run side by side: another's may be there by now
                part.rename(folder)
    return folder / "node_modules"


@pytest.fixture(scope="module")
def project(node: str, site: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project that has installed the packed library; its TypeScript compiles strictly, by either resolution."""
    folder = tmp_path_factory.mktemp("project")
    _run("npm", "pack", "--pack-destination", folder, cwd=site / "engine")
    (archive,) = folder.glob("*.tgz")
    shutil.copytree(SOURCE / "src", folder / "src")
    shutil.copyfile(SOURCE / "index.html", folder / "index.html")
    (folder / "package.json").write_text('{ "private": true, "type": "module" }')
    _run("npm", "install", "--offline", "--no-audit", "--no-fund", archive, cwd=folder)
    tsc = unpack(*TYPESCRIPT, folder / "typescript") / "package" / "bin" / "tsc"
    strict = "--strict --noImplicitAny --skipLibCheck false --target ES2022 --lib ES2022,DOM,DOM.Iterable"
    for module in ("--module nodenext", "--module esnext --moduleResolution bundler"):
        _run(node, tsc, *strict.split(), *module.split(), "src/index.ts", cwd=folder)
    return folder


def _assets(project: Path, folder: Path) -> Path:
    """Fill a folder as the README says; returns that of the build."""
    return project / _run("npx", "--no-install", "pyenhance-assets", folder, cwd=project).strip()


class _Elsewhere(Handler):
    """Another host, which lets others use what it serves."""

    quiet = True
    isolation = False

    def end_headers(self) -> None:
        self.send_header("Access-Control-Allow-Origin", "*")
        super().end_headers()


@dataclass
class Hosts:
    """Servers of folders, and a page that opens what they serve."""

    page: Page
    answers: list[tuple[int, str]]
    servers: list[ThreadingHTTPServer]

    def host(self, server: ThreadingHTTPServer) -> str:
        """Have a server run; returns its address."""
        self.servers.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{server.server_port}/"

    def elsewhere(self, folder: Path) -> str:
        """The address of a folder on a host that lets others use it."""
        return self.host(ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Elsewhere, directory=str(folder))))

    def open(self, address: str, **asked: str) -> None:
        """Open a project's page."""
        self.page.seen.clear()
        self.answers.clear()
        self.page.goto(f"{address}?{urlencode(asked)}")
        until(self.page, "Boolean(window.start)")

    def refuses(self, address: str, match: str, **asked: str) -> None:
        """The library says what is wrong with `base`."""
        self.open(address, **asked)
        with pytest.raises(Error, match=match):
            self.page.evaluate("start()")

    def enhances(self, address: str, *more: str, **asked: str) -> None:
        """Compiled code takes noise out, Python loads; all is from this host and those named, nothing is missing."""
        self.open(address, **asked)
        assert self.page.evaluate("start()")["kernel"] in ("simd", "relaxed")
        until(self.page, "stats().state === 'running' && stats().hops > 0")
        assert self.page.evaluate("stats()")["thread"] == asked["thread"]
        assert self.page.evaluate("loaded()")
        before, after = self.page.evaluate("seconds => noise(seconds)", NOISE_SECONDS)
        assert after < before - 10, f"noise of {before:.1f} dB is {after:.1f} dB after"
        asked_for = {urlparse(url).netloc for url in self.page.seen if urlparse(url).scheme.startswith("http")}
        assert asked_for == {urlparse(url).netloc for url in (address, *more)}
        assert self.answers and not [answer for answer in self.answers if answer[0] >= 400], self.answers
        assert not self.page.errors, self.page.errors


@pytest.fixture
def hosts(browser: Browser) -> Iterator[Hosts]:
    context = browser.new_context(permissions=["microphone"])
    page = watched(context)
    hosts = Hosts(page, [], [])
    context.on("response", lambda response: hosts.answers.append((response.status, response.url)))
    yield hosts
    context.close()
    for server in hosts.servers:
        server.shutdown()
        server.server_close()


def _names_no_machine(project: Path, built: Path) -> None:
    """Nothing that was built tells where on the builder's machine it was."""
    files = [path for path in built.rglob("*") if path.is_file()]
    told = [path for path in files if os.fsencode(project) in path.read_bytes()]
    assert files and not told, told


def _runs_everywhere(hosts: Hosts, project: Path, built: Path) -> None:
    """A built project in a root, isolated, its assets elsewhere; and below another, not isolated, with its own."""
    _names_no_machine(project, built)
    root = hosts.host(make_server(built, 0, quiet=True))
    other = hosts.elsewhere(built / "pyenhance")
    hosts.enhances(root, other, base=other, thread="audio")
    hosts.refuses(root, "base is missing; accepted in a bundle: ")
    hosts.refuses(root, "no manifest at .*/nowhere/.* accepted: a base that pyenhance-assets ", base="nowhere/")
    plain = hosts.host(make_server(project, 0, isolation=False, quiet=True))
    hosts.enhances(f"{plain}{built.name}/", base="pyenhance", thread="worker")
    # What is kept is named by no build: the next one goes on from it.
    kept = f"models-of-pyenhance /{built.name}/pyenhance/"
    until(hosts.page, "(name) => caches.keys().then((names) => names.includes(name))", kept)


def _page_of(project: Path, built: Path, script: str) -> None:
    """For bundlers that make none: the project's, with the bundle."""
    page = (project / "index.html").read_text()
    (built / "index.html").write_text(page.replace("./src/index.js", script))


def test_vite_project(hosts: Hosts, project: Path, bundlers: Path, node: str) -> None:
    _assets(project, Path("public/pyenhance"))
    _run(node, bundlers / "vite/bin/vite.js", "build", "--base", "./", "--outDir", "vite", cwd=project)
    _runs_everywhere(hosts, project, project / "vite")


def test_vite_dev_server(hosts: Hosts, project: Path, bundlers: Path, node: str) -> None:
    _assets(project, Path("public/pyenhance"))
    command = [node, bundlers / "vite/bin/vite.js", "--host", "127.0.0.1", "--clearScreen", "false"]
    plain = os.environ | {"NO_COLOR": "1"}  # where CI is set, Vite colours what it prints, addresses too
    with subprocess.Popen(command, cwd=project, stdout=subprocess.PIPE, text=True, env=plain) as server:
        try:
            (address,) = next(found for line in server.stdout if (found := re.findall(r"http://[\d.:]+/", line)))
            hosts.enhances(address, base="/pyenhance/", thread="worker")
            hosts.refuses(address, "no manifest at .*/nowhere/", base="/nowhere/")  # answered by the project's page
        finally:
            server.terminate()


def test_webpack_project(hosts: Hosts, project: Path, bundlers: Path, node: str) -> None:
    cli = bundlers / "webpack-cli/bin/cli.js"
    _run(node, cli, "--mode", "production", "--output-path", "webpack", cwd=project)
    _assets(project, Path("webpack/pyenhance"))
    _page_of(project, project / "webpack", "main.js")
    _runs_everywhere(hosts, project, project / "webpack")


def test_esbuild_project(hosts: Hosts, project: Path, bundlers: Path, node: str) -> None:
    options = ("--bundle", "--format=esm", "--outfile=esbuild/main.js")
    _run(node, bundlers / "esbuild/bin/esbuild", "src/index.js", *options, cwd=project)
    _assets(project, Path("esbuild/pyenhance"))
    _page_of(project, project / "esbuild", "main.js")
    _names_no_machine(project, project / "esbuild")
    hosts.enhances(hosts.host(make_server(project / "esbuild", 0, quiet=True)), base="pyenhance", thread="audio")


def test_assets_are_those_of_one_build(project: Path, site: Path) -> None:
    """Their folder has the build's name; an earlier build's goes, and nothing else; what is there stays as it is."""
    folder = project / "assets"
    for name, build in (("0123456789abcdef", "0123456789abcdef"), ("others", "0123456789abcdef")):
        (folder / name).mkdir(parents=True)
        (folder / name / "manifest.json").write_text(json.dumps({"build": build}))
    (folder / "note.txt").write_text("mine")
    filled = _assets(project, folder)
    manifest = json.loads((site / "engine" / "manifest.json").read_text())
    assert filled == folder / manifest["build"]
    assert {path.name for path in folder.iterdir()} == {manifest["build"], "others", "note.txt"}
    for name, about in manifest["files"].items():
        assert hashlib.sha256((filled / name).read_bytes()).hexdigest() == about["sha256"], name
    before = (filled / "manifest.json").stat().st_mtime_ns
    assert _assets(project, folder) == filled and (filled / "manifest.json").stat().st_mtime_ns == before


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ([], 2, "pyenhance-assets: no folder; accepted: FOLDER"),
        (["a", "b"], 2, "pyenhance-assets: a b; accepted: FOLDER"),
        (["--help"], 2, "pyenhance-assets: --help; accepted: FOLDER"),
        (["index.html"], 1, "pyenhance-assets: "),
    ],
)
def test_assets_command_says_what_is_wrong(project: Path, arguments: list[str], code: int, said: str) -> None:
    before = sorted(project.iterdir())
    command = [project / "node_modules" / ".bin" / "pyenhance-assets", *arguments]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert done.returncode == code and done.stderr.startswith(said) and done.stderr.count("\n") == 1, done.stderr
    assert sorted(project.iterdir()) == before
