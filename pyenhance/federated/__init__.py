"""Learning from many devices without their sound (extra ``federated``): what they learn are a model's heads.

`population` has speakers with places of their own, `partition` deals them out to clients, `local` is what a device
learns, `strategy` what the server does (Flower), `simulate` a whole run; `update` is the file of one real device,
`aggregate` makes a model of many, and `privacy` counts what they give away.
"""

import os

os.environ.setdefault("FLWR_TELEMETRY_ENABLED", "0")  # both are read when Flower or Ray is imported
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

CHOICES = {
    "partition": ("speaker", "dirichlet", "amount"),
    "setting": ("static", "continual"),
    "selection": ("uniform", "activity"),
    "strategy": ("fedavg", "fedprox", "fedadam"),
    "engine": ("process", "ray"),
}
"""What a run may be (`simulate.Settings`): how clips are dealt out, whether they come and go, whom the server asks, how
it takes what they answer, and whether clients run in this process or on Ray."""


def check_choice(name: str, value: str) -> None:
    """ValueError unless a value is one of the `CHOICES` of that name."""
    if value not in CHOICES[name]:
        raise ValueError(f"{name} is {value!r}; accepted: {', '.join(CHOICES[name])}")
