// What is kept is not computed again; the ones asked for last stay; what fails is tried again.
import assert from "node:assert/strict";
import { Remembered } from "../../site/page/remembered.js";

const kept = new Remembered(2);
const give = (value) => async () => value;
assert.equal(await kept.of("a", give(1)), 1);
assert.equal(await kept.of("b", give(2)), 2);
assert.equal(await kept.of("a", give(3)), 1, "kept");
assert.equal(await kept.of("c", give(4)), 4);
assert.equal(await kept.of("a", give(5)), 1, "asked for after b");
assert.equal(await kept.of("b", give(6)), 6, "which had to go");
assert.equal(kept.computed, 4);
await assert.rejects(
  kept.of("d", async () => {
    throw new Error("no");
  }),
  /no/,
);
assert.equal(await kept.of("d", give(7)), 7);
assert.equal(kept.computed, 5);
console.log("ok");
