// Sample-rate conversion: what comes out is what went in, on time, however it is cut.
import assert from "node:assert/strict";
import { Resampler } from "../../site/engine/resampler.js";

for (const [from, to] of [
  [44100, 48000],
  [48000, 44100],
  [96000, 48000],
  [48000, 96000],
  [16000, 48000],
  [48000, 8000],
  [192000, 48000],
]) {
  const hz = 0.37 * Math.min(from, to);
  const x = Float32Array.from({ length: from / 2 }, (_, i) => Math.sin((2 * Math.PI * hz * i) / from));
  const whole = Float32Array.from(new Resampler(from, to).process(x));
  const wanted = (x.length * to) / from;
  assert.ok(Math.abs(whole.length - wanted) <= 1, `${whole.length} samples of ${wanted}`);

  const delay = Math.ceil((16 * from) / Math.min(from, to)) / from;
  let error = 0;
  for (let k = Math.ceil(3 * delay * to); k < whole.length; k++) {
    error = Math.max(error, Math.abs(whole[k] - Math.sin(2 * Math.PI * hz * (k / to - delay))));
  }
  assert.ok(error < 1e-3, `${from} to ${to}: ${error}`);

  const cut = new Resampler(from, to);
  const parts = [];
  for (let at = 0, n = 1; at < x.length; at += n, n = (n * 7) % 1009)
    parts.push(...cut.process(x.subarray(at, at + n)));
  assert.deepEqual(Float32Array.from(parts), whole);

  const tone = new Resampler(from, to).process(
    Float32Array.from({ length: from / 4 }, (_, i) => Math.sin((2 * Math.PI * 0.7 * to * i) / from)),
  );
  const loudest = tone.subarray(200).reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  if (from > 1.5 * to) assert.ok(loudest < 1e-3, `an alias of ${loudest}`);
}
console.log("ok");
