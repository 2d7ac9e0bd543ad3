"""Flower's messages without Flower's runtime: clients answer one after the other in this process.

Ray gives each message some milliseconds and itself seconds and hundreds of megabytes; a client that works on cached
activations takes less than that. Strategies and clients are the same either way.
"""

from collections.abc import Iterable
from typing import Any

from flwr.app import Context, Error, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid
from flwr.supercore.run import Run
from flwr.supercore.task_identity import TaskIdentity

_FAILED = 2  # Flower's code for an error of the client's app


class ProcessGrid(Grid):
    """A grid whose nodes are clients in this process; node k + 1 is client k.

    Parameters
    ----------
    app : ClientApp
    clients : int
    """

    def __init__(self, app: ClientApp, clients: int) -> None:
        TaskIdentity.run_id = TaskIdentity.task_id = TaskIdentity.node_id = 1
        self._app = app
        self._contexts = {
            k + 1: Context(1, k + 1, {"partition-id": k, "num-partitions": clients}, RecordDict(), {})
            for k in range(clients)
        }
        self._replies: dict[str, Message] = {}
        self._run = Run.create_empty(run_id=1)

    def set_run(self, run: Run) -> None:
        """Take another run's facts."""
        self._run = run

    @property
    def run(self) -> Run:
        """The run's facts."""
        return self._run

    def create_message(self, *arguments: Any, **options: Any) -> Message:
        """Flower's deprecated way to make a message: here as there, `Message` itself."""
        return Message(*arguments, **options)

    def get_node_ids(self) -> Iterable[int]:
        """Numbers of the nodes."""
        return list(self._contexts)

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Have clients answer; the replies wait for `pull_messages`."""
        sent = []
        for reply in self.send_and_receive(messages):
            sent.append(str(len(self._replies)))
            self._replies[sent[-1]] = reply
        return sent

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """The replies to messages that were pushed."""
        return [self._replies[name] for name in message_ids]

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> Iterable[Message]:
        """Have clients answer, each in turn; one that raises gives an error as its reply."""
        replies = []
        for message in messages:
            try:
                replies.append(self._app(message, self._contexts[message.metadata.dst_node_id]))
            except Exception as error:  # whatever befalls a device, the round goes on without it
                replies.append(Message(Error(_FAILED, f"{type(error).__name__}: {error}"), reply_to=message))
        return replies
