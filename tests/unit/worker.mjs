// The worker's end of the protocol: what it does not know it refuses by name, and a question that fails has its answer.
import assert from "node:assert/strict";
import { TO_PAGE, received } from "../../site/engine/protocol.js";

const told = [];
globalThis.self = { postMessage: (message) => told.push(received(TO_PAGE, message)) };
await import("../../site/engine/worker.js");

async function answer(data) {
  told.length = 0;
  await self.onmessage({ data });
  assert.ok(told.length <= 1);
  return told[0];
}

assert.deepEqual(await answer({ type: "dance", id: 3, stream: "x" }), {
  type: "error",
  during: "dance",
  id: 3,
  stream: undefined,
  message:
    'message "dance" to the worker is unknown; accepted: load, model, update, adapt, end-adapting, share, image, attach, attach-by-messages, change, control, detach, piece, ' +
    "end-recording, bench, picture, lab-open, lab-run, lab-source, lab-edit",
});
assert.match((await answer(undefined)).message, /^message undefined to the worker is unknown/);
assert.match(
  (await answer({ type: "attach", stream: 2, model: "default", buffer: new ArrayBuffer(8) })).message,
  /^message "attach" to the worker: buffer is ArrayBuffer; accepted: a SharedArrayBuffer$/,
);
assert.equal((await answer({ type: "attach", stream: 2, model: "default" })).stream, 2);
assert.match(
  (await answer({ type: "detach", stream: 1, more: 1 })).message,
  /field "more" is unknown; accepted: stream$/,
);

// What is well formed but comes before Python is there.
const early = await answer({ type: "bench", id: 7, model: "default", k: 1, seconds: 1, kernel: null });
assert.deepEqual([early.id, early.during], [7, "bench"]);
assert.match(early.message, /Python is not loaded yet/);

// A stream that has ended may still be told something.
assert.equal(await answer({ type: "detach", stream: 9 }), undefined);
assert.equal(await answer({ type: "control", stream: 9, field: "BYPASS", value: 1 }), undefined);

// Of models: a weights file is bytes, and Python must be there to read it.
const unread = await answer({ type: "image", id: 8, weights: [1, 2] });
assert.deepEqual(
  [unread.id, unread.message],
  [8, 'message "image" to the worker: weights is Array; accepted: a Uint8Array'],
);
assert.match((await answer({ type: "model", id: 9, model: "tiny" })).message, /Python is not loaded yet/);
assert.equal((await answer({ type: "change", stream: 3, model: "tiny" })).stream, 3);
console.log("ok");
