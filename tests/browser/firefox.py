"""Debian's Firefox through its own remote protocol, WebDriver BiDi (Playwright drives a build of its own alone)."""

import json
import re
import subprocess
import time
from pathlib import Path
from typing import Any

from websockets.sync.client import ClientConnection, connect

PREFERENCES = {
    "media.navigator.streams.fake": True,
    "media.navigator.permission.disabled": True,
    "media.autoplay.block-webaudio": False,
    "media.autoplay.default": 0,
}
_ANSWER_S = 60


class Firefox:
    """One headless browser with one page, to be used in a ``with``."""

    def __init__(self, executable: str, profile: Path) -> None:
        lines = [f'user_pref("{name}", {json.dumps(value)});\n' for name, value in PREFERENCES.items()]
        (profile / "user.js").write_text("".join(lines))
        command = [executable, "--headless", "--no-remote", "--profile", profile, "--remote-debugging-port", "0"]
        self._log = (profile / "log").open("w+")
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=self._log)
        self._number = 0
        self._socket: ClientConnection | None = None
        self._log_path = profile / "log"

    def __enter__(self) -> "Firefox":
        try:
            deadline = time.monotonic() + _ANSWER_S
            while not (found := re.search(r"ws://\S+", self._log_path.read_text())):
                assert time.monotonic() < deadline and self._process.poll() is None, self._log_path.read_text()
                time.sleep(0.1)
            self._connection = connect(f"{found[0]}/session", max_size=None)
            self._socket = self._connection.__enter__()
            self.version = self.send("session.new", capabilities={})["capabilities"]["browserVersion"]
            self._page = self.send("browsingContext.getTree")["contexts"][0]["context"]
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        self._log.close()
        if self._socket is not None:
            self._connection.__exit__(None, None, None)

    def send(self, method: str, **parameters: Any) -> dict:
        """One command of the protocol; events in between are of no interest."""
        self._number += 1
        self._socket.send(json.dumps({"id": self._number, "method": method, "params": parameters}))
        while True:
            reply = json.loads(self._socket.recv(timeout=_ANSWER_S))
            if reply.get("id") == self._number:
                assert reply["type"] == "success", reply
                return reply["result"]

    def goto(self, address: str) -> None:
        """Load a page."""
        self.send("browsingContext.navigate", context=self._page, url=address, wait="interactive")

    def evaluate(self, expression: str) -> Any:
        """The JSON value of a JavaScript expression, awaited."""
        code = f"(async () => JSON.stringify((await ({expression})) ?? null))()"
        result = self.send("script.evaluate", expression=code, target={"context": self._page}, awaitPromise=True)
        assert result["type"] == "success", result["exceptionDetails"]["text"]
        return json.loads(result["result"]["value"])

    def wait_for(self, expression: str, seconds: float) -> Any:
        """The expression's value once there is one."""
        deadline = time.monotonic() + seconds
        while not (value := self.evaluate(expression)):
            assert time.monotonic() < deadline, f"{expression} is {value!r} after {seconds} s"
            time.sleep(0.1)
        return value

    def set_files(self, selector: str, *paths: Path) -> None:
        """Choose files."""
        locator = {"type": "css", "value": selector}
        (node,) = self.send("browsingContext.locateNodes", context=self._page, locator=locator)["nodes"]
        element = {"sharedId": node["sharedId"]}
        self.send("input.setFiles", context=self._page, element=element, files=[str(path) for path in paths])
