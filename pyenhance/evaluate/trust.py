"""What is known of whom a model serves and of what it gives away: one JSON file beside the model cards, of which the
site makes a page. Commands write their part of it (``--record``) and leave the others.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..model.diff import write_whole

SECTIONS = ("groups", "sensitivity", "privacy", "leakage")
"""Quality by group (`run.evaluate`), `sensitivity`, budgets of federated rounds and what they keep, and attacks."""

MEASURES = ("pesq_wb_gain", "si_sdr_gain", "pesq_wb")
"""Of the comparison of groups, those that are written down."""

_DIGITS = 4


def read_trust(path: Path) -> dict[str, dict[str, Any]]:
    """The file that `record` wrote, nothing where there is none yet; ValueError when it is another."""
    if not path.exists():
        return {}
    try:
        found = json.loads(path.read_text())
        unknown = set(found).difference(SECTIONS)
        if unknown or not all(isinstance(part, dict) for part in found.values()):
            raise ValueError(f"parts {sorted(found)}")
    except (ValueError, TypeError, AttributeError) as error:
        raise ValueError(f"{path}: accepted: JSON with the parts {', '.join(SECTIONS)} ({error})") from error
    return dict(found)


def record(path: Path, section: str, name: str, facts: Mapping[str, Any]) -> None:
    """Write facts down, in the place of those that stood there, and leave the rest of the file as it is.

    Parameters
    ----------
    path : Path
        Made when it does not exist, and replaced whole.
    section : str, of `SECTIONS`
    name : str
        Of the model, or of what was tried.
    facts : mapping
        What JSON holds; numbers are rounded to four digits.

    Raises
    ------
    ValueError
        The file is another, or there is no such section.
    """
    if section not in SECTIONS:
        raise ValueError(f"section {section!r}; accepted: {', '.join(SECTIONS)}")
    found = read_trust(path)
    found[section] = {**found.get(section, {}), name: rounded(facts)}
    ordered = {part: found[part] for part in SECTIONS if part in found}
    write_whole(path, (json.dumps(ordered, indent=1) + "\n").encode(), force=True)


def rounded(value: Any) -> Any:
    """The same with numbers of four significant digits."""
    if isinstance(value, Mapping):
        return {key: rounded(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [rounded(item) for item in value]
    return float(f"{value:.{_DIGITS}g}") if isinstance(value, float) else value


def group_facts(result: Mapping[str, Any], name: str, sha256: str) -> dict[str, Any]:
    """What is written down of a comparison of groups.

    Parameters
    ----------
    result : mapping
        Of `run.evaluate`, with "noisy" among its systems.
    name : str
        The model among its systems.
    sha256 : str
        Of the model's weights file.
    """
    kinds = {}
    for kind, compared in result["spread"][name].items():
        groups = {
            group: {measure: facts[measure] for measure in MEASURES if measure in facts}
            for group, facts in compared["groups"].items()
        }
        gaps = {measure: gap for measure, gap in compared["gaps"].items() if measure in MEASURES}
        kinds[kind] = {"groups": groups, "gaps": gaps}
    speakers = {clip["speaker"] for clip in result["clips"]}
    means = {system: {m: result["means"][system][m] for m in ("pesq_wb", "si_sdr")} for system in ("noisy", name)}
    facts = {"sha256": sha256, "clips": len(result["clips"]), "speakers": len(speakers)}
    return facts | {"noisy": means["noisy"], "enhanced": means[name], "kinds": kinds}
