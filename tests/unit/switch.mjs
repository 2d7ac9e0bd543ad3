// Opening and closing as one queue, whatever is pressed when: at most one thing is open, in the end the one wanted last, and nothing
// that was acquired stays behind.
import assert from "node:assert/strict";
import { Switch } from "../../site/page/switch.js";

const turn = (ms = 0) => new Promise((resolve) => setTimeout(resolve, ms));

// Three steps, each of which acquires something; `fails` at one of them; `slow`: how long each takes; `comes`: a step that waits for
// this promise.
function bench() {
  const held = new Set();
  const log = [];
  let open = 0;
  const control = new Switch(
    async ({ name, fails, slow = 1, comes = {} }, holding) => {
      open++;
      assert.equal(open, 1, "one at a time");
      holding.add(() => open--);
      for (const part of ["context", "microphone", "node"]) {
        const thing = `${name} ${part}`;
        const coming = (comes[part] ?? turn(slow)).then(() => {
          if (fails === part) throw new Error(thing);
          assert.ok(!held.has(thing));
          held.add(thing);
          return thing;
        });
        await holding.acquire(coming, (thing) => held.delete(thing));
      }
      return name;
    },
    {
      opened: (name) => log.push(name),
      closed: () => log.push("closed"),
      failed: ({ message }) => log.push(`failed: ${message}`),
    },
  );
  const holds = (name) =>
    assert.deepEqual([...held], name ? ["context", "microphone", "node"].map((part) => `${name} ${part}`) : []);
  return { control, log, holds, held };
}

// Pressed twice, then Stop.
{
  const { control, log, holds } = bench();
  control.want({ name: "a" });
  await control.want({ name: "b" });
  holds("b");
  assert.equal(control.opened, "b");
  await control.want(null);
  holds(null);
  assert.deepEqual([control.opened, log], [null, ["b", "closed"]]);
}

// Stop while starting; what comes too late (a microphone that is allowed at last) is released at once, and waited for by nobody.
for (const [part, held] of [
  ["context", []],
  ["microphone", ["a context"]],
  ["node", ["a context", "a microphone"]],
]) {
  const { control, log, holds, held: holding } = bench();
  let come;
  const late = new Promise((resolve) => (come = resolve));
  control.want({ name: "a", slow: 0, comes: { [part]: late } });
  while (holding.size < held.length) await turn();
  assert.deepEqual([...holding], held);
  await control.want(null); // node ends with an error where this waits for what does not come
  holds(null);
  come();
  await turn();
  holds(null);
  assert.deepEqual(log, []);
}

// The same again.
{
  const { control, log, holds } = bench();
  const aim = { name: "a", slow: 3 };
  control.want(aim);
  await turn(4);
  control.want(null);
  control.want(aim);
  await control.want(aim);
  holds("a");
  assert.deepEqual(log, ["a"]);
}

// One after the other, stop while stopping, start while stopping.
{
  const { control, log, holds } = bench();
  await control.want({ name: "a" });
  const stopping = control.want(null);
  assert.equal(control.want(null), stopping);
  control.want({ name: "b" });
  await stopping;
  holds("b");
  await Promise.all([control.want({ name: "c" }), control.want(null), control.want({ name: "d" })]);
  holds("d");
  assert.deepEqual(log, ["a", "closed", "b", "closed", "d"]);
}

// A step that fails leaves nothing, as often as it is tried; then it works.
{
  const { control, log, holds } = bench();
  for (const fails of ["context", "microphone", "node", "node"]) {
    await control.want({ name: "a", fails });
    holds(null);
    assert.deepEqual([control.wanted, control.opened], [null, null]);
  }
  await control.want({ name: "b" });
  holds("b");
  assert.deepEqual(log.slice(2), ["failed: a node", "failed: a node", "b"]);
}

// Any order at all, quickly.
for (let seed = 1; seed <= 20; seed++) {
  const { control, log, holds } = bench();
  let random = seed;
  const next = (n) => (random = (random * 48271) % 2147483647) % n;
  let name = null;
  for (let k = 0; k < 30; k++) {
    name = next(3) ? `${seed}.${k}` : null;
    control.want(name && { name, slow: next(4) });
    if (next(2)) await turn(next(12));
  }
  await control.want(control.wanted);
  await turn(10);
  holds(name);
  assert.ok(!log.some((entry) => entry.startsWith("failed")), log.join());
  assert.equal(control.opened, name);
}
console.log("ok");
