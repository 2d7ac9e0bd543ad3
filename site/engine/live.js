// The worker of live sound: compiled code on a model's image, and nothing else. It is ready long before Python is, and recordings,
// benchmarks and whatever else Python does in the other worker never hold it up.
import { Models } from "./models.js";
import { TO_LIVE, TO_PAGE, messageOf, received, send, unreadable } from "./protocol.js";
import { Streams } from "./streams.js";

/** @param {string} type @param {object} [fields] */
const report = (type, fields) => send(self, TO_PAGE, type, fields);
const streams = new Streams(report);
/** @type {Models | undefined} */
let models;

/** @param {string} model */
async function open(model) {
  if (!models) throw new Error("no models yet; accepted: load, once, and all else when it is live");
  return (await models.instances(model)).open();
}

/** @type {Record<string, (message: any) => void | Promise<void>>} */
const ANSWERS = {
  async load({ manifest, model }) {
    const begin = performance.now();
    models = new Models(manifest);
    const { kernel, why_not, first } = await models.instances(model);
    const { latency, bands } = first;
    const facts = { model, kernel, signal_kernel: kernel, why_not, latency_samples: latency, num_bands: bands };
    report("live", { load_ms: performance.now() - begin, ...facts });
  },

  attach: ({ stream, model, buffer }) => streams.attach(stream, () => open(model), { buffer }),
  "attach-by-messages": ({ stream, model, port }) => streams.attach(stream, () => open(model), { port }),
  control: ({ stream, field, value }) => streams.control(stream, field, value),
  detach: ({ stream }) => streams.detach(stream),
};

self.onmessage = async ({ data }) => {
  try {
    await ANSWERS[received(TO_LIVE, data).type](data);
  } catch (error) {
    const { type, stream } = Object(data);
    const known = Number.isInteger(stream) ? stream : undefined;
    report("error", { during: String(type), stream: known, message: messageOf(error) });
  }
};
self.onmessageerror = () => report("error", { during: "message", message: unreadable(TO_LIVE) });
