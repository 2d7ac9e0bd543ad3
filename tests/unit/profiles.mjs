// Profiles of a user: what is kept, which of them a microphone gets, what does not fit, and a fit that is ended.
import assert from "node:assert/strict";
import "./cache_storage.mjs";

const { Profiles, adapt } = await import("../../site/engine/profiles.js");

// An engine whose default model is of version "a": a diff of one byte leads to a sum that names it.
const asked = [];
const sent = [];
let went = [];
const engine = {
  model: "default",
  sha256: "a",
  profile: null,
  folder: new URL("https://app.example/engine/"),
  manifest: {
    models: { default: { weights: "d" }, tiny: { weights: "t" } },
    libraries: { simd: "simd.wasm" },
    files: { "simd.wasm": { sha256: "c0de" }, t: { sha256: "t1" } },
  },
  number: () => 7,
  send: (type, fields) => sent.push([type, fields]),
  async ask(type, fields) {
    asked.push([type, fields]);
    if (type === "adapt") return new Promise((resolve) => (engine.finish = resolve));
    const [[byte]] = fields.diffs;
    if (byte === 0) throw new Error("a diff that was changed or cut");
    return { sha256: `${fields.model}-${byte}`.padEnd(8, "0"), weights: fields.diffs[0], image: fields.diffs[0] };
  },
  async goOnWith(...what) {
    went = what;
    engine.profile = what[2] ?? null;
  },
};
const profiles = new Profiles(
  engine.folder,
  async () => engine,
  (work) => work(),
);
const diff = (byte) => Uint8Array.of(byte);
const active = async () => (await profiles.list()).filter((one) => one.active).map(({ name }) => name);

// Kept, found again, and by microphone: the label's own, with the system's word before it, else the one for any.
assert.equal(await profiles.chosen("USB"), null);
await profiles.keep({ name: "office", microphone: "USB", diff: diff(1) });
await profiles.keep({ name: "Büro 私", diff: diff(2) });
assert.deepEqual(
  (await profiles.list()).map(({ name, base, bytes, fits }) => [name, base, bytes, fits]),
  [
    ["Büro 私", "a", 1, true],
    ["office", "a", 1, true],
  ],
);
assert.equal((await profiles.chosen("USB")).name, "office");
assert.equal((await profiles.chosen("Default - USB")).name, "office");
assert.equal((await profiles.chosen("Headset")).name, "Büro 私");
assert.equal("fits" in (await profiles.chosen("USB")), false);
assert.deepEqual(await profiles.diff("Büro 私"), diff(2));

// One is active for a microphone and a model: a newer one takes its place; another microphone's or model's stays.
await profiles.keep({ name: "studio", microphone: "USB", diff: diff(3) });
await profiles.keep({ name: "small", microphone: "USB", model: "tiny", diff: diff(4) });
assert.deepEqual(await active(), ["Büro 私", "small", "studio"]);
assert.equal((await profiles.list()).find(({ name }) => name === "small").base, "t1", "the version that ships");
await profiles.activate("office", true);
assert.deepEqual(await active(), ["Büro 私", "office", "small"]);
await profiles.activate("office", false);
assert.equal((await profiles.chosen("USB")).name, "Büro 私");

// Used: the engine goes on with what the diff makes of the model.
await profiles.use("studio");
assert.equal(went[1], "default-fitted-default-");
assert.equal(went[2].name, "studio");
assert.deepEqual(asked.at(-1), ["update", { model: "default", diffs: [diff(3)] }]);
await profiles.forget("studio");
assert.deepEqual(went, [], "what is in use ends before it is forgotten");
await assert.rejects(
  profiles.use("studio"),
  /^RangeError: profile "studio" is not kept here; accepted: Büro 私, office/,
);
await assert.rejects(profiles.forget("studio"), RangeError);
await assert.rejects(profiles.keep({ name: "", diff: diff(1) }), /^RangeError: the profile has no name/);
await assert.rejects(profiles.keep({ name: "broken", diff: diff(0) }), /changed or cut/);
assert.deepEqual(await active(), ["Büro 私", "small"], "nothing is kept of what was refused");

// Another version of the model: its profiles stay, and are not used.
engine.sha256 = "b";
assert.deepEqual(
  (await profiles.list()).map(({ name, fits }) => [name, fits]),
  [
    ["Büro 私", false],
    ["office", false],
    ["small", true],
  ],
);
assert.equal(await profiles.chosen("USB"), null);

// A fit: sounds at 48 kHz, and an end at once where it is no longer wanted.
const sound = new Float32Array(4410);
const fit = adapt(engine, { voice: sound, noise: sound, sampleRate: 44100 });
assert.ok(Math.abs(asked.at(-1)[1].voice.length - 4800) <= 64, "converted");
engine.finish({ figures: { better: 3 }, diff: diff(9) });
assert.deepEqual(
  { ...(await fit), seconds: 0 },
  { model: "default", kept: true, seconds: 0, better: 3, diff: diff(9) },
);
const ending = new AbortController();
const ended = adapt(engine, { voice: sound, noise: sound, signal: ending.signal });
assert.equal(asked.at(-1)[1].voice, sound, "of this rate already");
ending.abort();
await assert.rejects(ended, { name: "AbortError" });
assert.deepEqual(sent, [["end-adapting", { adaptation: 7 }]]);
await assert.rejects(adapt(engine, { voice: sound, noise: sound, signal: ending.signal }), { name: "AbortError" });
console.log("ok");
