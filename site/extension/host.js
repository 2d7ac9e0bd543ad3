// The page that nobody sees: it has the engine of all tabs, which it gives the ports that come.
import { TO_LIVE, send } from "./engine/protocol.js";

const worker = new Worker("engine/live.js", { type: "module", name: "pyenhance live.js" });

navigator.serviceWorker.onmessage = (/** @type {MessageEvent} */ { ports }) =>
  send(worker, TO_LIVE, "page", { port: ports[0] }, [ports[0]]);
