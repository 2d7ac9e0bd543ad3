"""Diffs between models: what an update is, a few percent of the weights."""

from importlib import resources
from pathlib import Path

SUFFIX = ".safetensors"


def weights_bytes(model: str | Path) -> bytes:
    """The weights file of a shipped model's name or of a path.

    Raises
    ------
    ValueError
        It is neither.
    """
    from .registry import available_models

    if str(model) in available_models():
        return (resources.files("pyenhance.weights") / f"{model}{SUFFIX}").read_bytes()
    path = Path(model)
    if path.suffix != SUFFIX or not path.is_file():
        shipped = ", ".join(available_models())
        raise ValueError(f"model {str(model)!r} is neither shipped ({shipped}) nor a {SUFFIX} file")
    return path.read_bytes()
