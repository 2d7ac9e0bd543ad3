"""Whole federated runs over a population, by Flower: in this process, or on Ray."""

import hashlib
import logging
import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

try:
    from flwr.app import Array, ArrayRecord, Context, Message, MetricRecord, RecordDict
    from flwr.clientapp import ClientApp
    from flwr.serverapp import Grid, ServerApp
except ImportError as error:
    raise ImportError(f"federated rounds need {error.name}: pip install 'pyenhance[federated]'") from error

from ..evaluate.groups import interval
from ..model import load_model
from ..model.diff import weights_bytes
from ..model.heads import changed_weights
from ..model.summary import summary_of
from . import CHOICES, check_choice
from .grid import ProcessGrid
from .local import Change, learn, losses, no_change
from .partition import partition, present
from .population import Population, read_population
from .privacy import Budget
from .strategy import AMOUNT, ONE, PLACE, Plan, Selecting, make_strategy


@dataclass(frozen=True)
class Settings:
    """A federated run.

    Attributes
    ----------
    partition : str, clients : int or None, alpha : float
        See `partition`.
    setting : str, window : float
        See `present`.
    selection : str
        See `strategy.Plan`.
    weighted : bool
    strategy, engine : str
        See `CHOICES`.
    rounds, per_round : int
    rate, epochs, batch
        Of a client, see `local.learn`.
    proximal_mu, server_rate : float
        Of FedProx and FedAdam.
    seed : int
    dp_epsilon, dp_delta, clip, dp_noise : float or None
        See `privacy.Budget`; without `dp_epsilon` none.

    Raises
    ------
    ValueError
        An unknown name, a number out of range, or privacy that is not a speaker's or that is counted wrongly.
    """

    partition: str = "speaker"
    clients: int | None = None
    alpha: float = 1.0
    setting: str = "static"
    window: float = 0.5
    selection: str = "uniform"
    weighted: bool = True
    strategy: str = "fedavg"
    rounds: int = 40
    per_round: int = 16
    rate: float = 0.02
    epochs: int = 1
    batch: int = 128
    proximal_mu: float = 0.01
    server_rate: float = 0.005
    seed: int = 0
    dp_epsilon: float | None = None
    dp_delta: float = 1e-3
    clip: float | None = None
    dp_noise: float | None = None
    engine: str = "process"

    def __post_init__(self) -> None:
        for name in CHOICES:
            check_choice(name, getattr(self, name))
        for name in ("rounds", "per_round", "epochs", "batch"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; accepted: 1 or more")
        for name in ("rate", "server_rate"):
            if not (getattr(self, name) > 0 and math.isfinite(getattr(self, name))):
                raise ValueError(f"{name} is {getattr(self, name)}; accepted: a number > 0")
        if self.dp_epsilon is None and (self.dp_noise is not None or self.clip is not None):
            raise ValueError("clip and dp_noise belong to a budget; accepted: with dp_epsilon")
        if self.dp_epsilon is not None:
            if self.clip is None:
                raise ValueError("a budget without a clip; accepted: clip > 0, the largest norm of an update")
            for name, found, good in (
                ("partition", self.partition, "speaker"),
                ("selection", self.selection, "uniform"),
                ("weighted", self.weighted, False),
            ):
                if found != good:
                    raise ValueError(f"{name} is {found!r}, with a budget; accepted: {good!r}, for which it is counted")

    def budget(self, clients: int) -> Budget | None:
        """The budget for so many clients, where one is asked for."""
        if self.dp_epsilon is None or self.clip is None:
            return None
        rate = min(1.0, self.per_round / clients)
        noise = math.nan if self.dp_noise is None else self.dp_noise
        return Budget(self.dp_epsilon, self.dp_delta, self.clip, rate, self.rounds, noise)


@lru_cache(maxsize=2)
def _clients(path: Path, kind: str, clients: int | None, alpha: float, seed: int) -> list[np.ndarray]:
    return partition(read_population(path), kind, clients=clients, alpha=alpha, seed=seed)


def _dealt(path: Path, settings: Settings) -> list[np.ndarray]:
    return _clients(path, settings.partition, settings.clients, settings.alpha, settings.seed)


def client_app(path: Path, settings: Settings) -> ClientApp:
    """What runs on a device: it tells how much it has, and learns from it.

    Parameters
    ----------
    path : Path
        Of the population; each process reads it once.
    settings : Settings
    """
    app = ClientApp()

    def own(message: Message, context: Context) -> tuple[int, int, np.ndarray]:
        client = int(context.node_config["partition-id"])
        config = message.content.config_records["config"]
        server_round = int(config["server-round"])  # type: ignore[arg-type]
        clips = present(
            _dealt(path, settings)[client],
            settings.setting,
            server_round,
            rounds=settings.rounds,
            window=settings.window,
            seed=(settings.seed, client),
        )
        return client, server_round, clips

    @app.query()  # type: ignore[untyped-decorator,unused-ignore]
    def amount(message: Message, context: Context) -> Message:
        client, _, clips = own(message, context)
        frames = int(read_population(path).frames[clips].sum())
        return Message(RecordDict({"metrics": MetricRecord({PLACE: client, AMOUNT: frames})}), reply_to=message)

    @app.train()  # type: ignore[untyped-decorator,unused-ignore]
    def train(message: Message, context: Context) -> Message:
        client, server_round, clips = own(message, context)
        if not len(clips):
            raise ValueError(f"client {client} has no data in round {server_round}")
        heads = read_population(path).examples(clips)
        arrays = next(iter(message.content.array_records.values()))
        mu = message.content.config_records["config"].get("proximal-mu", 0.0)
        change = learn(
            heads,
            {name: array.numpy() for name, array in arrays.items()},
            rate=settings.rate,
            epochs=settings.epochs,
            batch=settings.batch,
            proximal_mu=float(mu),  # type: ignore[arg-type]
            rng=np.random.default_rng([settings.seed, client, server_round]),
        )
        metrics = MetricRecord({AMOUNT: len(heads["gain"].values), ONE: 1})
        return Message(RecordDict({"arrays": _record(change), "metrics": metrics}), reply_to=message)

    return app


def _record(change: Change) -> ArrayRecord:
    return ArrayRecord({name: Array(value) for name, value in change.items()})


def _change(arrays: ArrayRecord) -> Change:
    return {name: array.numpy().astype(np.float32) for name, array in arrays.items()}


def simulate(path: Path, settings: Settings) -> tuple[dict[str, Any], Change]:
    """Run the rounds, each judged on the speakers who are held out.

    Parameters
    ----------
    path : Path
        Of a population.
    settings : Settings

    Returns
    -------
    facts : dict
        settings; clients, rounds: that were run, fewer than asked for where a budget was spent; losses: of
        {"gain", "strength"} before the first round and after each; bytes_down, bytes_up: of arrays, all rounds;
        failures: replies that failed; seconds; epsilon and noise_multiplier, with a budget.
    change : Change
        After the last round.

    Raises
    ------
    ValueError
        A population or a partition that cannot be used.
    """
    path = path.resolve()
    population, dealt = read_population(path), _dealt(path, settings)
    budget = settings.budget(len(dealt))
    rounds = budget.rounds_within() if budget else settings.rounds
    held_out = _held_out(population)
    with _quiet():
        strategy = _strategy(settings, len(dealt), budget)
    history: list[dict[str, float]] = []
    reached = [no_change(population.heads)]

    def judge(_: int, arrays: ArrayRecord) -> MetricRecord:
        reached.append(_change(arrays))
        history.append(losses(held_out, reached[-1]))
        return MetricRecord(dict(history[-1]))

    def serve(grid: Grid, context: Context | None = None) -> None:
        strategy.start(grid, _record(reached[0]), num_rounds=rounds, evaluate_fn=judge)

    begun = time.perf_counter()
    with _quiet():
        _run(client_app(path, settings), serve, len(dealt), settings.engine)
    facts: dict[str, Any] = {"settings": asdict(settings), "clients": len(dealt), "rounds": rounds, "losses": history}
    facts |= _counts(strategy) | {"seconds": time.perf_counter() - begun}
    if budget:
        facts |= {"epsilon": budget.spent(rounds), "noise_multiplier": budget.noise_multiplier}
    return facts, reached[-1]


def _strategy(settings: Settings, clients: int, budget: Budget | None) -> Selecting:
    plan = Plan(settings.selection, clients, settings.per_round, settings.weighted, settings.seed, budget)
    return make_strategy(settings.strategy, plan, proximal_mu=settings.proximal_mu, server_rate=settings.server_rate)


def model_of(path: Path, model: str) -> bytes:
    """The weights file of a model whose heads a population is about; ValueError where it is about another one's."""
    base, wanted = weights_bytes(model), read_population(path.resolve()).base
    if hashlib.sha256(base).hexdigest() != wanted:
        raise ValueError(f"{path} is about model {wanted[:12]}; {model} is {hashlib.sha256(base).hexdigest()[:12]}")
    return base


def changed_model(change: Change, base: bytes, summary: bytes) -> bytes:
    """The weights file of a model that learnt a change in rounds; ValueError where the summary is another model's."""
    return changed_weights(load_model(base), summary_of(base, summary), change)


def _counts(strategy: Selecting) -> dict[str, int]:
    return {name: getattr(strategy, name) for name in ("bytes_down", "bytes_up", "failures")}


def _held_out(population: Population) -> Any:
    clips = np.flatnonzero(population.held_out)
    if not len(clips):
        raise ValueError("the population has no speakers who are held out; accepted: at least one")
    return population.examples(clips)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without Flower's twenty lines a round."""
    logger = logging.getLogger("flwr")
    before, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = before


def _run(app: ClientApp, serve: Any, clients: int, engine: str) -> None:
    if engine == "process":
        serve(ProcessGrid(app, clients))
        return
    from flwr.simulation import run_simulation

    server = ServerApp()
    server.main()(serve)
    run_simulation(server, app, clients, backend_config={"client_resources": {"num_cpus": 1, "num_gpus": 0.0}})


def central(path: Path, settings: Settings, epochs: int) -> dict[str, float]:
    """Losses on those who are held out when all clients' data lie in one place: what federation cannot exceed by much.

    Parameters
    ----------
    path : Path
    settings : Settings
        Its partition, rate and batch are used.
    epochs : int
        Times through all data.
    """
    path = path.resolve()
    population = read_population(path)
    heads = population.examples(np.concatenate(_dealt(path, settings)))
    rng = np.random.default_rng(settings.seed)
    change = learn(heads, no_change(heads), rate=settings.rate, epochs=epochs, batch=settings.batch, rng=rng)
    return losses(_held_out(population), change)


def paired(first: Sequence[float], second: Sequence[float]) -> dict[str, float]:
    """Mean of first - second over seeds, and its bootstrap interval (`evaluate.groups.interval`)."""
    gain = np.subtract(first, second)
    low, high = interval(gain)
    return {"mean": float(gain.mean()), "low": low, "high": high}


def kept_of_budgets(runs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """How much of what rounds learn without a budget is kept with each of several ones.

    Parameters
    ----------
    runs : sequence of dict
        Facts of `simulate`, by nothing but budget and seed different; some without a budget.

    Returns
    -------
    dict
        clients, delta, clip, rounds, per_round; before, without: gain loss at first and without a budget, means over
        seeds; rows: of each budget {"epsilon", "noise_multiplier", "gain_loss", "kept"}, kept: the share of what is
        gained without one, a mean over seeds, with "low" and "high" where there are several seeds.
    """
    ends: dict[float | None, list[float]] = {}
    for facts in runs:
        ends.setdefault(facts["settings"]["dp_epsilon"], []).append(facts["losses"][-1]["gain"])
    before, without = runs[0]["losses"][0]["gain"], float(np.mean(ends[None]))
    rows = []
    for budget, found in ends.items():
        if budget is None:
            continue
        one = next(facts for facts in runs if facts["settings"]["dp_epsilon"] == budget)
        kept = (before - np.array(found)) / (before - without)
        row = {"epsilon": budget, "noise_multiplier": one["noise_multiplier"], "gain_loss": float(np.mean(found))}
        row["kept"] = float(kept.mean())
        if len(kept) > 1:
            row["low"], row["high"] = interval(kept)
        rows.append(row)
    settings = one["settings"]
    facts = {"clients": one["clients"], "delta": settings["dp_delta"]}
    facts |= {name: settings[name] for name in ("clip", "rounds", "per_round")}
    return facts | {"before": before, "without": without, "rows": rows}
