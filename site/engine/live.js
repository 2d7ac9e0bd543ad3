// The worker of live sound: compiled code on a model's image, and nothing else. It is ready long before Python is, and recordings,
// benchmarks and whatever else Python does in the other worker never hold it up.
import { Models } from "./models.js";
import { TO_LIVE, TO_PAGE, messageOf, received, send, unreadable } from "./protocol.js";
import { Streams } from "./streams.js";
import { Succession } from "./succession.js";

/** @type {Models | undefined} one for all pages */
let models;

function known() {
  if (!models) throw new Error("no models yet; accepted: load, once, and all else when it is live");
  return models;
}

/** @param {string} model */
const open = async (model) => (await known().instances(model)).open();

/** @param {string} model */
const begin = async (model) => new Succession(await open(model));

/** @param {string} model */
async function factsOf(model) {
  const { kernel, why_not, latency, bands } = await known().instances(model);
  const sha256 = await known().sum(model);
  return { model, sha256, kernel, signal_kernel: kernel, why_not, latency_samples: latency, num_bands: bands };
}

/**
 * Answer a page.
 * @param {MessagePort | typeof self} page
 * @returns {() => void} what ends its streams
 */
export function serve(page) {
  /** @param {string} type @param {object} [fields] @param {Transferable[]} [transfer] */
  const report = (type, fields, transfer) => send(page, TO_PAGE, type, fields, transfer);
  const streams = new Streams(report);

  /** @type {Record<string, (message: any) => void | Promise<void>>} */
  const ANSWERS = {
    page({ port }) {
      port.addEventListener("close", serve(port)); // where browsers tell of it
    },

    async load({ manifest, model, remember }) {
      const start = performance.now();
      models ??= new Models(manifest, { remember });
      const facts = await factsOf(model);
      report("live", { load_ms: performance.now() - start, ...facts });
      known()
        .keep(model)
        .catch((error) => console.warn("pyenhance: the model is not kept:", error));
    },

    async model({ id, model, files }) {
      if (files) known().add(model, files);
      report("model", { id, ...(await factsOf(model)) });
    },

    async carry({ id, model }) {
      const instance = await open(model);
      const trial = instance.trial();
      const carried = instance.carried();
      report("carry", { id, ...trial, ...carried }, [carried.memory]);
    },

    async "carry-code"({ id, model }) {
      const { code } = await known().instances(model);
      const instance = await open(model);
      const trial = instance.trial();
      const { header, memory } = instance.carried();
      report("carry-code", { id, ...trial, code, header, memory }, [memory]);
    },

    async trial({ id, model }) {
      report("trial", { id, ...(await open(model)).trial() });
    },

    attach: ({ stream, model, buffer }) => streams.attach(stream, () => begin(model), { buffer }),
    "attach-by-messages": ({ stream, model, port }) => streams.attach(stream, () => begin(model), { port }),
    change: ({ stream, model }) => streams.change(stream, () => open(model)),
    control: ({ stream, field, value }) => streams.control(stream, field, value),
    detach: ({ stream }) => streams.detach(stream),
  };

  page.onmessage = async ({ data }) => {
    try {
      await ANSWERS[received(TO_LIVE, data).type](data);
    } catch (error) {
      const { type, id, stream } = Object(data);
      const whole = (/** @type {unknown} */ number) => (Number.isInteger(number) ? number : undefined);
      report("error", { during: String(type), id: whole(id), stream: whole(stream), message: messageOf(error) });
    }
  };
  page.onmessageerror = () => report("error", { during: "message", message: unreadable(TO_LIVE) });
  return () => streams.end();
}

serve(self);
