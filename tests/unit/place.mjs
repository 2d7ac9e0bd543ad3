// Where the library's files are: beside it, or in the folder of this build at `base`.
import assert from "node:assert/strict";
import { HERE, folder, home, startWorker } from "../../site/engine/place.js";

assert.equal(HERE.href, new URL("../../site/engine/", import.meta.url).href);
assert.equal(folder(), HERE, "a library that nobody has moved");

globalThis.document = { baseURI: "https://app.example/rooms/5?name=a" };
for (const [base, expected] of [
  ["/pyenhance", "https://app.example/pyenhance/development/"],
  ["/pyenhance/", "https://app.example/pyenhance/development/"],
  ["pyenhance/", "https://app.example/rooms/pyenhance/development/"],
  ["https://files.example/p?key=1#part", "https://files.example/p/development/"],
  [new URL("https://files.example/p"), "https://files.example/p/development/"],
]) {
  assert.equal(folder(base).href, expected, `base ${base}`);
  assert.equal(home(folder(base)), new URL("../", expected).pathname, "the caches' name is that of all builds");
}
assert.equal(home(new URL("https://app.example/engine/")), "/engine/");
assert.throws(() => folder("https://"), { name: "TypeError", message: "base is https://; accepted: an address" });
assert.throws(
  () => folder(),
  /^Error: base is missing; accepted in a bundle: the address of /,
  "made on another machine",
);

// Browsers start no worker of another origin.
globalThis.Worker = class {
  constructor(url, options) {
    Object.assign(this, { url: String(url), options });
  }
};
const options = { type: "module", name: "pyenhance live.js" };
const own = startWorker(new URL("https://app.example/p/live.js"));
assert.deepEqual({ ...own }, { url: "https://app.example/p/live.js", options });
const other = startWorker(new URL("https://files.example/p/live.js"));
assert.deepEqual(other.options, options);
assert.match(other.url, /^blob:/);
assert.match(await (await fetch(other.url)).text(), /^import "https:\/\/files.example\/p\/live.js";/);
console.log("ok");
