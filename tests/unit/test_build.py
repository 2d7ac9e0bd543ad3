"""The entry point's own parts, and what the repository states once."""

import os
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

import pyenhance

from ..conftest import ROOT

# An apt-get that finds a lock held for its first so many calls.
APT_GET = """#!/bin/bash
calls=$(cat "$0.calls" 2> /dev/null || echo 0)
echo $((calls + 1)) > "$0.calls"
[ "$calls" -lt {busy} ] || exit {status}
echo "E: Could not get lock /var/lib/apt/lists/lock. It is held by process 7 (apt-get)" >&2
exit 100
"""


def _apt_get(folder: Path, busy: int, status: int, wait_seconds: int) -> tuple[subprocess.CompletedProcess, int]:
    """build.sh's apt_get with this apt-get: how it ends, and how often it asked."""
    fake = folder / "apt-get"
    fake.write_text(APT_GET.format(busy=busy, status=status))
    fake.chmod(0o755)
    function = re.search(r"^apt_get\(\) \{.*?^\}", (ROOT / "build.sh").read_text(), re.M | re.S)[0]
    script = f'set -euo pipefail; say() {{ echo "$*"; }}; sudo=(); sleep() {{ :; }}\n{function}\napt_get update'
    environment = os.environ | {"PATH": f"{folder}:{os.environ['PATH']}", "APT_WAIT_SECONDS": str(wait_seconds)}
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, env=environment, check=False)
    return done, int((folder / "apt-get.calls").read_text())


def test_apt_is_waited_for(tmp_path: Path) -> None:
    done, calls = _apt_get(tmp_path, busy=3, status=0, wait_seconds=600)
    assert done.returncode == 0 and calls == 4
    assert done.stdout.count("waiting") == 1 and "600 s" in done.stdout


def test_apt_is_not_waited_for_for_ever(tmp_path: Path) -> None:
    done, calls = _apt_get(tmp_path, busy=10**9, status=0, wait_seconds=0)
    assert done.returncode == 1 and calls == 1
    assert "Could not get lock" in done.stderr and "at most 0 s" in done.stderr


def test_another_failure_of_apt_ends_at_once(tmp_path: Path) -> None:
    done, calls = _apt_get(tmp_path, busy=0, status=100, wait_seconds=600)
    assert done.returncode == 1 and calls == 1 and not done.stdout


def test_the_version_is_stated_once() -> None:
    """In pyenhance/__init__.py; what needs it elsewhere takes it from there or from the wheel's name."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert project["project"]["dynamic"] == ["version"]
    assert project["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "pyenhance.__version__"}
    assert not [path for path in ROOT.glob("site/**/package.json") if '"version"' in path.read_text()]


def test_the_change_log_tells_this_version() -> None:
    headings = re.findall(r"^## (.+)$", (ROOT / "CHANGELOG.md").read_text(), re.M)
    assert headings[0] == "Unreleased" and headings[1].startswith(f"{pyenhance.__version__} ")


@pytest.mark.parametrize("name", ["CONTRIBUTING.md", "README.md"])
def test_documents_name_files_that_are_there(name: str) -> None:
    text = (ROOT / name).read_text()
    named = set(re.findall(r"`((?:pyenhance|site|tests|wasm)/[\w./-]+)`", text))
    missing = sorted(path for path in named if not (ROOT / path).exists())
    assert named and not missing, missing
