"""The pinned versions of `versions.env`, for Python."""

import shlex
from pathlib import Path


def read_versions() -> dict[str, str]:
    """Name to value, as bash would read them."""
    lines = (Path(__file__).parent / "versions.env").read_text().splitlines()
    pairs = (line.split("=", 1) for line in lines if line and not line.startswith("#"))
    return {name: "".join(shlex.split(value)) if '"' not in value else shlex.split(value)[0] for name, value in pairs}
