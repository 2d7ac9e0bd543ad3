"""The server's side of rounds: Flower's strategies, with a choice of whom to ask, and with differential privacy."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MessageType, MetricRecord, RecordDict
from flwr.serverapp import Grid
from flwr.serverapp.strategy import FedAdam, FedAvg, FedProx
from flwr.serverapp.strategy.strategy_utils import sample_nodes

from .local import clipped
from .privacy import Budget

AMOUNT, ONE, PLACE = "num-examples", "one", "client"
"""Metrics of a client: frames that it has this round, 1, and its place in the partition."""


@dataclass(frozen=True)
class Plan:
    """Whom the server asks, and how their answers count.

    Attributes
    ----------
    selection : {"uniform", "activity"}
        Uniform, or activity-based: without replacement, each draw in proportion to how much data a client has this
        round (Dupuy et al., ICASSP 2022).
    clients, per_round : int
        How many there are, and how many are asked.
    weighted : bool
        Whether clients count by their amount of data.
    seed : int
    budget : Budget, optional
        With one, clients take part by coins of their own, count alike, are clipped, and noise is added.
    """

    selection: str
    clients: int
    per_round: int
    weighted: bool
    seed: int
    budget: Budget | None


class Selecting(FedAvg):
    """`FedAvg` that follows a `Plan` and counts bytes and failures; it comes after the others in the order of classes.

    A client that fails, or has no data this round, is left out of the mean, and the round goes on.
    """

    def follow(self, plan: Plan) -> None:
        """Take a plan; Flower's strategies pass no options of others on."""
        self.plan = plan
        self.bytes_down = self.bytes_up = self.failures = 0
        self._rng = np.random.default_rng([plan.seed, 1])
        self._noise = np.random.default_rng([plan.seed, 2])
        self._sent: ArrayRecord = ArrayRecord()
        self._known: dict[int, int] = {}

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """Draw the clients of a round and write to them."""
        config["server-round"] = server_round
        amounts = self._amounts(config, grid)
        nodes = sorted(amounts, key=lambda node: self._known[node])  # node numbers are Flower's, and change
        weights = np.array([amounts[node] for node in nodes], float)
        drawn: Any
        if self.plan.budget:
            drawn = np.flatnonzero(self._rng.random(len(nodes)) < self.plan.budget.rate)
        elif self.plan.selection == "uniform":
            drawn = self._rng.permutation(len(nodes))[: self.plan.per_round]
        else:
            count = min(self.plan.per_round, int((weights > 0).sum()))
            drawn = self._rng.choice(len(nodes), count, replace=False, p=weights / weights.sum()) if count else []
        self._sent = arrays = _single(arrays)  # Adam computes in double precision, which nobody needs on the line
        self.bytes_down += len(drawn) * _bytes(arrays)
        record = RecordDict({self.arrayrecord_key: arrays, self.configrecord_key: config})
        return self._construct_messages(record, [nodes[i] for i in drawn], MessageType.TRAIN)

    def _amounts(self, config: ConfigRecord, grid: Grid) -> dict[int, float]:
        """What clients say that they have; asked each round where it matters, else once."""
        if self._known and self.plan.selection == "uniform":
            return dict.fromkeys(self._known, 1.0)
        record = RecordDict({self.configrecord_key: config})
        _, nodes = sample_nodes(grid, self.min_available_nodes, 0)  # waits until all are there
        asked = self._construct_messages(record, nodes, MessageType.QUERY)
        amounts = {}
        for reply in grid.send_and_receive(asked):
            if reply.has_content():
                metrics = next(iter(reply.content.metric_records.values()))
                self._known[reply.metadata.src_node_id] = int(metrics[PLACE])  # type: ignore[arg-type]
                amounts[reply.metadata.src_node_id] = float(metrics[AMOUNT])  # type: ignore[arg-type]
        return amounts

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """The mean of what came back; with a budget, a noised one."""
        replies = list(replies)
        good = [reply for reply in replies if not reply.has_error()]
        self.failures += len(replies) - len(good)
        self.bytes_up += sum(_bytes(_arrays(reply)) for reply in good)
        if self.plan.budget is None:
            return super().aggregate_train(server_round, replies) if good else (None, None)
        expected = self.plan.budget.rate * len(self._known)  # fixed, as the number that came would tell of one more
        sent = {key: array.numpy() for key, array in self._sent.items()}
        total = {key: np.zeros(value.shape) for key, value in sent.items()}
        for reply in good:
            change = {key: array.numpy() - sent[key] for key, array in _arrays(reply).items()}
            for key, value in clipped(change, self.plan.budget.clip).items():
                total[key] += value
        scale = self.plan.budget.noise_multiplier * self.plan.budget.clip
        new = {}
        for key, value in total.items():
            noised = (value + self._noise.normal(0, scale, value.shape)) / expected
            new[key] = Array((sent[key] + noised).astype(np.float32))
        return ArrayRecord(new), MetricRecord({"clients": len(good)})


def _arrays(reply: Message) -> ArrayRecord:
    return next(iter(reply.content.array_records.values()))


def _single(arrays: ArrayRecord) -> ArrayRecord:
    return ArrayRecord({key: Array(array.numpy().astype(np.float32)) for key, array in arrays.items()})


def _bytes(arrays: ArrayRecord) -> int:
    return sum(math.prod(array.shape) * np.dtype(array.dtype).itemsize for array in arrays.values())


class Average(Selecting):
    """FedAvg (McMahan et al., AISTATS 2017)."""


class Proximal(FedProx, Selecting):
    """FedProx (Li et al., MLSys 2020)."""


class Adam(FedAdam, Selecting):
    """FedAdam (Reddi et al., ICLR 2021): Adam on the server."""


def make_strategy(name: str, plan: Plan, *, proximal_mu: float, server_rate: float) -> Selecting:
    """The strategy of a name.

    Parameters
    ----------
    name : {"fedavg", "fedprox", "fedadam"}
    plan : Plan
    proximal_mu : float
        Of FedProx.
    server_rate : float
        Of FedAdam.
    """
    key = AMOUNT if plan.weighted else ONE
    options: dict[str, Any] = {
        "fraction_evaluate": 0.0,
        "min_available_nodes": plan.clients,
        "weighted_by_key": key,
    }
    strategy: Selecting
    if name == "fedavg":
        strategy = Average(**options)
    elif name == "fedprox":
        strategy = Proximal(proximal_mu=proximal_mu, **options)
    else:
        strategy = Adam(eta=server_rate, **options)
    strategy.follow(plan)
    return strategy
