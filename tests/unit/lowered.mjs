// By how much noise is lowered, told from pauses.
import assert from "node:assert/strict";
import { Lowered } from "../../site/page/lowered.js";

const heard = (columns, before, after) => {
  const lowered = new Lowered();
  for (let k = 0; k < columns; k++) lowered.add(before(k), after(k));
  return lowered;
};
const noise = 1e-5;
const speech = (k) => (k % 5 < 2 ? 0 : 1e-2); // a pause of two columns in five

assert.equal(
  heard(
    49,
    () => noise,
    () => noise,
  ).db,
  null,
); // not yet
assert.equal(
  heard(
    400,
    () => 0,
    () => 0,
  ).db,
  null,
); // digital silence
const told = heard(
  400,
  (k) => noise + speech(k),
  (k) => noise / 100 + speech(k),
);
assert.ok(Math.abs(told.db - 20) < 0.1 && !told.isMost, `${told.db}`);
assert.equal(
  heard(
    400,
    () => noise,
    () => 3 * noise,
  ).db,
  0,
); // never below
const most = heard(
  400,
  () => noise,
  () => 0,
);
assert.ok(most.db === 40 && most.isMost);
// What is long past does not count.
const lowered = heard(
  400,
  () => noise,
  () => noise,
);
for (let k = 0; k < 400; k++) lowered.add(noise, noise / 10);
assert.ok(Math.abs(lowered.db - 10) < 0.1);
console.log("ok");
process.exit(0);
