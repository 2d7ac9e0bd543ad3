// Every message is made and taken as it is described, and anything else is refused by name.
import assert from "node:assert/strict";
import * as protocol from "../../site/engine/protocol.js";
import { HOP } from "../../site/engine/ring.js";

const { received, send, TO_WORKER } = protocol;
const ways = Object.values(protocol).filter((value) => value.messages);
assert.equal(ways.length, 7);

// Of each kind a value that will do.
const { port1 } = new MessageChannel();
const candidates = [
  ...["download", "BYPASS", 1, 0.5, true, {}, [1], null],
  ...[new Float32Array(HOP), [new Float32Array(3)], new Uint8Array(2), new SharedArrayBuffer(8), port1],
  ...[new ArrayBuffer(8), new WebAssembly.Module(Uint8Array.of(0, 97, 115, 109, 1, 0, 0, 0))],
  ...[[new Uint8Array(2)], { sha256: "0a", weights: new Uint8Array(2), image: new Uint8Array(1) }],
];
for (const way of ways) {
  assert.throws(() => received(way, { type: "dance" }), /"dance" (to|from) the [\w ]+ is unknown; accepted: \w+/);
  for (const nothing of [undefined, null, 7, "load", {}, { type: 3 }, { type: "toString" }])
    assert.throws(() => received(way, nothing), /is unknown; accepted/);
  for (const [type, fields] of Object.entries(way.messages)) {
    const whole = { type };
    for (const [name, { test }] of Object.entries(fields)) {
      whole[name] = candidates.find(test);
      assert.ok(test(whole[name]), `${type}.${name}`);
      const wrong = candidates.find((value) => !test(value));
      assert.throws(
        () => received(way, { ...whole, [name]: wrong }),
        new RegExp(`${type}".*: ${name} is .*; accepted`),
      );
    }
    assert.equal(received(way, whole), whole);
    assert.throws(() => received(way, { ...whole, more: 1 }), /field "more" is unknown; accepted: /);
    for (const name of Object.keys(fields)) {
      const { [name]: taken, ...rest } = whole;
      if (fields[name].test(undefined)) assert.equal(received(way, rest), rest);
      else assert.throws(() => received(way, rest), new RegExp(`${name} is undefined; accepted`));
    }
  }
}

// What is sent is checked before it goes.
const sent = [];
const target = { postMessage: (message, options) => sent.push([message, options]) };
const samples = new Float32Array(4);
send(target, TO_WORKER, "picture", { id: 1, sound: samples, columns: 3 }, [samples.buffer]);
assert.deepEqual(sent, [[{ type: "picture", id: 1, sound: samples, columns: 3 }, { transfer: [samples.buffer] }]]);
assert.throws(
  () => send(target, TO_WORKER, "picture", { id: 1, sound: [1, 2], columns: 3 }),
  /sound is Array; accepted/,
);
const uneven = [new Float32Array(3), new Float32Array(4)];
const piece = { id: 1, recording: 1, model: "default", strength: -1, channels: uneven, last: true };
assert.throws(
  () => send(target, TO_WORKER, "piece", piece),
  /channels is Array; accepted: Float32Arrays of one length/,
);
assert.throws(
  () => send(target, TO_WORKER, "control", { stream: 1, field: "IN_WRITE", value: 0 }),
  /field is "IN_WRITE"; accepted: one of BYPASS, STRENGTH, QUIT/,
);
assert.equal(sent.length, 1);
port1.close();
console.log("ok");
