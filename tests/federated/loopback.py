"""Federated rounds with a real Flower server and real clients, each a process, over this machine's own network:

    python -m tests.federated.loopback POPULATION [CLIENTS] [ROUNDS]

The product has no server; this shows that what a client does (`federated.local`) needs nothing of the simulation.
`start_server` is Flower's old way. Its present one, a SuperLink and SuperNodes, takes nine processes and an archive of
the app for two clients, and minutes on two busy cores.
"""

import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
from flwr.client import NumPyClient, start_client
from flwr.common import NDArrays, ndarrays_to_parameters
from flwr.server import ServerConfig, start_server
from flwr.server.strategy import FedAvg

from pyenhance.federated.local import learn, losses, no_change
from pyenhance.federated.partition import partition
from pyenhance.federated.population import Population, read_population
from pyenhance.model.summary import HEADS

OPTIONS = {"rate": 0.5, "epochs": 1, "batch": 8}


class Device(NumPyClient):
    """One speaker's device."""

    def __init__(self, population: Population, client: int) -> None:
        clips = partition(population, "speaker")[client]
        self._heads = population.examples(clips)
        self._rng = np.random.default_rng(client)

    def fit(self, parameters: NDArrays, config: dict) -> tuple[NDArrays, int, dict]:
        """Learn from one's own, and give back the change of the heads and how many frames it is of."""
        change = dict(zip(HEADS, parameters, strict=True))
        new = learn(self._heads, change, rng=self._rng, **OPTIONS)
        return [new[name] for name in HEADS], len(self._heads["gain"].values), {}


def serve(path: Path, clients: int, rounds: int) -> list[float]:
    """Start clients, and a server for them; gain losses of those who are held out, before and after each round."""
    population = read_population(path)
    held_out = population.examples(np.flatnonzero(population.held_out))
    start = no_change(population.heads)
    history: list[float] = []

    def judge(_: int, parameters: NDArrays, config: dict) -> tuple[float, dict]:
        history.append(losses(held_out, dict(zip(HEADS, parameters, strict=True)))["gain"])
        return history[-1], {}

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    command = [sys.executable, "-m", "tests.federated.loopback", str(path), "--device"]
    devices = [subprocess.Popen([*command, str(client), address]) for client in range(clients)]
    try:
        strategy = FedAvg(
            fraction_evaluate=0.0,
            min_fit_clients=clients,
            min_available_clients=clients,
            evaluate_fn=judge,
            initial_parameters=ndarrays_to_parameters([start[name] for name in HEADS]),
        )
        start_server(server_address=address, config=ServerConfig(num_rounds=rounds), strategy=strategy)
        for device in devices:
            device.wait(60)
    finally:
        for device in devices:
            device.kill()
    return history


def main(arguments: list[str]) -> None:
    """A server with its clients; or, as it starts them itself, one client."""
    path = Path(arguments[0])
    if arguments[1:2] == ["--device"]:
        client, address = int(arguments[2]), arguments[3]
        start_client(server_address=address, client=Device(read_population(path), client).to_client(), insecure=True)
        return
    clients, rounds = (int(number) for number in [*arguments[1:3], *("2", "2")[len(arguments) - 1 :]])
    print("gain losses", *(f"{loss:.4f}" for loss in serve(path, clients, rounds)))


if __name__ == "__main__":
    main(sys.argv[1:])
