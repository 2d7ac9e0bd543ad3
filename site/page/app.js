// The page: one Start button and honest read-outs. All sound work is in the engine, recordings are in files.js.
import { Engine, SAMPLE_RATE, createDenoiser } from "./engine/pyenhance.js";
import { addResult, watchFiles } from "./files.js";
import { $, explainMicrophone, openEngine } from "./page.js";
import { Pictures } from "./pictures.js";
import { TEXT } from "./strings.js";

const MICROPHONE = { echoCancellation: false, noiseSuppression: false, autoGainControl: false, channelCount: 1 };
const NO_LIMIT = 42; // the slider's right end
const CLIP = 0.99;
const CLIP_HOLD_MS = 2000;
const HOWL = 0.9; // a peak that stays above this is the loudspeaker heard by the microphone
const HOWL_TIMES = 4; // statistics, a quarter of a second apart

/** @typedef {import("./engine/pyenhance.js").Denoiser} Denoiser */
/** @typedef {{ node: AudioNode, close(): void }} Source */
/** @typedef {{ context: AudioContext, source: AudioNode, node: Denoiser, monitor: GainNode, pictures: Pictures, isSample: boolean, loud: number, stop(): Promise<void> }} Session */

/** @type {Engine} */
let engine;
/** @type {Session | null} */
let session = null;
/** @type {MediaRecorder | null} */
let recorder = null;

let problem = false; // a problem is shown, which news of the loading must not cover

const say = (/** @type {string} */ text) => {
  problem = false;
  $("status").textContent = text;
};

const warn = (/** @type {string} */ text) => {
  say(text);
  problem = true;
};

const sayLoading = (/** @type {string} */ text) => {
  if (!session && !problem) say(text);
};

function loadEngine() {
  $("retry-row").hidden = true;
  engine = openEngine(sayLoading);
  engine.ready.then(
    ({ load_ms }) => {
      document.body.dataset.engine = "ready";
      keepOffline();
      sayLoading(TEXT.ready(load_ms));
      announce();
    },
    (error) => {
      document.body.dataset.engine = "failed";
      warn(TEXT.loadFailed(error.message));
      $("retry-row").hidden = false;
    },
  );
}

// From now on the page opens without a network, too.
async function keepOffline() {
  if (!navigator.serviceWorker) return;
  try {
    await navigator.serviceWorker.register("sw.js");
    await navigator.serviceWorker.ready;
    $("offline").hidden = false;
  } catch {
    // Private windows and some hosts do not allow it; all else works.
  }
}

const strengthDb = () => (Number($("strength").value) === NO_LIMIT ? null : Number($("strength").value));

function announce() {
  if (!session) return;
  const ready = document.body.dataset.engine === "ready";
  if (!ready) say(TEXT.waiting);
  else if (session.node.bypass) say(TEXT.dry);
  else if (session.isSample) say(TEXT.sample);
  else say($("monitor").checked ? TEXT.live : TEXT.silent);
}

/** @param {(context: AudioContext) => Promise<Source>} openSource @param {boolean} isSample */
async function start(openSource, isSample) {
  await stop();
  const context = new AudioContext({ sampleRate: SAMPLE_RATE, latencyHint: "interactive" });
  try {
    const source = await openSource(context);
    const node = await createDenoiser(context, { engine, strengthDb: strengthDb() });
    const monitor = new GainNode(context, { gain: $("monitor").checked || isSample ? 1 : 0 });
    source.node.connect(node).connect(monitor).connect(context.destination);
    const pictures = new Pictures(context, source.node, node, {
      before: $("pic-before"),
      after: $("pic-after"),
      gains: $("pic-gains"),
    });
    session = {
      context,
      source: source.node,
      node,
      monitor,
      pictures,
      isSample,
      loud: 0,
      stop: async () => {
        stopRecording();
        pictures.stop();
        source.close();
        node.dispose();
        await context.close();
      },
    };
    node.addEventListener("stats", ({ stats }) => show(stats));
    node.addEventListener("overload", () => warn(TEXT.overload));
    node.addEventListener("recovered", () => say(TEXT.recovered));
    node.addEventListener("error", ({ error }) => warn(TEXT.failed(error.message)));
    await context.resume();
    $("start").textContent = TEXT.stop;
    $("ab").disabled = $("record").disabled = false;
    setBypass(false);
    announce();
  } catch (error) {
    await context.close();
    throw error;
  }
}

async function stop() {
  if (!session) return;
  const ending = session;
  session = null;
  await ending.stop();
  $("start").textContent = TEXT.start;
  $("ab").disabled = $("record").disabled = true;
  $("meter-in").value = $("meter-out").value = -60;
  say(TEXT.stopped);
}

/** @param {AudioContext} context @returns {Promise<Source>} */
async function microphone(context) {
  const chosen = $("device").value;
  const deviceId = chosen ? { deviceId: { exact: chosen } } : {};
  const stream = await navigator.mediaDevices.getUserMedia({ audio: { ...MICROPHONE, ...deviceId } });
  listDevices(); // their names are known once one was allowed
  const [track] = stream.getAudioTracks();
  track.addEventListener("ended", async () => {
    await stop();
    warn(TEXT.unplugged);
  });
  return {
    node: new MediaStreamAudioSourceNode(context, { mediaStream: stream }),
    close: () => stream.getTracks().forEach((track) => track.stop()),
  };
}

async function listDevices() {
  if (!navigator.mediaDevices) return;
  const devices = (await navigator.mediaDevices.enumerateDevices()).filter(({ kind }) => kind === "audioinput");
  const named = devices.filter(({ deviceId }) => deviceId && deviceId !== "default");
  const chosen = $("device").value;
  $("device").replaceChildren(
    new Option(TEXT.defaultDevice, ""),
    ...named.map(({ deviceId, label }) => new Option(label, deviceId)),
  );
  if (named.some(({ deviceId }) => deviceId === chosen)) $("device").value = chosen;
  $("device-row").hidden = named.length < 1;
}

/** @param {AudioContext} context @returns {Promise<Source>} */
async function noisySample(context) {
  const reply = await fetch("sample.flac");
  if (!reply.ok) throw new Error(`sample.flac: ${reply.status}`);
  const buffer = await context.decodeAudioData(await reply.arrayBuffer());
  const node = new AudioBufferSourceNode(context, { buffer, loop: true });
  node.start();
  return { node, close: () => node.stop() };
}

async function onStart() {
  if (session) return stop();
  if (!window.isSecureContext || !navigator.mediaDevices) return warn(TEXT.insecure);
  if (!("AudioWorkletNode" in window)) return warn(TEXT.unsupported);
  $("start").disabled = true;
  try {
    await start(microphone, false);
  } catch (error) {
    warn(explainMicrophone(error));
  } finally {
    $("start").disabled = false;
  }
}

// What is heard now, enhanced or not, as a file.
function startRecording() {
  if (!session) return;
  const { context, node } = session;
  const end = new MediaStreamAudioDestinationNode(context);
  node.connect(end);
  recorder = new MediaRecorder(end.stream, { audioBitsPerSecond: 192000 });
  /** @type {Blob[]} */
  const pieces = [];
  recorder.ondataavailable = ({ data }) => pieces.push(data);
  recorder.onstop = () => {
    const blob = new Blob(pieces, { type: pieces[0]?.type });
    const suffix = blob.type.includes("ogg") ? "ogg" : "webm";
    const name = `pyenhance-${new Date().toISOString().slice(0, 19).replaceAll(":", ".")}.${suffix}`;
    addResult(TEXT.recorded, [[TEXT.after, { blob }]], { name, blob });
    say(TEXT.recordedBelow);
  };
  recorder.start();
  $("record").textContent = TEXT.stopRecording;
  $("record").setAttribute("aria-pressed", "true");
}

function stopRecording() {
  recorder?.stop();
  recorder = null;
  $("record").textContent = TEXT.record;
  $("record").setAttribute("aria-pressed", "false");
}

async function onSample() {
  if (!window.isSecureContext) return warn(TEXT.insecure);
  if (!("AudioWorkletNode" in window)) return warn(TEXT.unsupported);
  try {
    await start(noisySample, true);
  } catch (error) {
    warn(explainMicrophone(error));
  }
}

/** @param {boolean} bypass */
function setBypass(bypass) {
  if (!session) return;
  session.node.bypass = bypass;
  $("ab").setAttribute("aria-pressed", String(!bypass));
  /** @type {Text} */ ($("ab").firstChild).data = `${bypass ? TEXT.enhancementOff : TEXT.enhancementOn} `;
}

const toDb = (/** @type {number} */ peak) => Math.max(-60, 20 * Math.log10(peak + 1e-9));

/** @type {Record<string, ReturnType<typeof setTimeout>>} */
const clipTimers = {};

/** @param {"in" | "out"} name @param {number} peak */
function showLevel(name, peak) {
  $(`meter-${name}`).value = toDb(peak);
  if (peak < CLIP) return;
  const mark = $(`clip-${name}`);
  mark.hidden = false;
  clearTimeout(clipTimers[name]);
  clipTimers[name] = setTimeout(() => (mark.hidden = true), CLIP_HOLD_MS);
}

// The loudspeaker howls: be quiet and say why.
/** @param {Session} session @param {number} peak_out */
function guardEars(session, peak_out) {
  session.loud = peak_out > HOWL && $("monitor").checked && !session.isSample ? session.loud + 1 : 0;
  if (session.loud < HOWL_TIMES) return;
  $("monitor").checked = false;
  session.monitor.gain.value = 0;
  warn(TEXT.feedback);
}

/** @param {import("./engine/pyenhance.js").Stats} stats */
function show(stats) {
  if (!session) return;
  showLevel("in", stats.peak_in);
  showLevel("out", stats.peak_out);
  guardEars(session, stats.peak_out);
  $("f-latency").textContent = TEXT.ms(stats.latency_ms);
  const parts = [stats.latency_algorithm_ms, stats.latency_transport_ms, stats.latency_device_ms];
  $("f-parts").textContent = parts.map(TEXT.ms).join(", ");
  $("f-load").textContent = TEXT.percent((100 * stats.real_time_factor).toFixed(1));
  $("f-us").textContent = [stats.us_mean, stats.us_p99, stats.us_max].join(", ");
  $("f-underruns").textContent = String(stats.underruns);
  $("f-hops").textContent = [stats.hops, stats.lean_hops, stats.dropped_hops].join(", ");
  const { pitch_hz, voice, gains } = session.node.analysis();
  $("f-pitch").textContent = TEXT.pitch(pitch_hz, voice);
  $("f-model").textContent = TEXT.model(stats);
  if (gains.length) $("gains-note").textContent = TEXT.gains(gains.length);
  $("shared-note").hidden = stats.shared_memory;
  $("shared-note").textContent = TEXT.notShared;
}

$("start").addEventListener("click", onStart);
$("sample").addEventListener("click", onSample);
$("retry").addEventListener("click", () => {
  problem = false;
  loadEngine();
});
$("ab").addEventListener("click", () => {
  setBypass(!session?.node.bypass);
  announce();
});
document.addEventListener("keydown", (event) => {
  const typing = /** @type {Element} */ (event.target).matches("select, textarea, input[type=text]");
  if (event.key.toLowerCase() === "b" && session && !typing && !event.ctrlKey && !event.metaKey) $("ab").click();
});
$("strength").addEventListener("input", () => {
  const value = strengthDb();
  $("strength-value").textContent = value === null ? TEXT.noLimit : TEXT.db(value);
  if (session) session.node.strengthDb = value;
});
$("monitor").addEventListener("change", () => {
  if (!session || session.isSample) return;
  session.monitor.gain.value = $("monitor").checked ? 1 : 0;
  announce();
});
$("record").addEventListener("click", () => (recorder ? stopRecording() : startRecording()));
$("device").addEventListener("change", () => {
  if (session && !session.isSample) onStart().then(onStart); // stop, and start with the other one
});
navigator.mediaDevices?.addEventListener("devicechange", listDevices);
watchFiles(() => engine, strengthDb);
$("start").disabled = $("sample").disabled = false; // from here on they do something

// For tests and for the curious: what the page is built on.
const shown = {
  Engine,
  createDenoiser,
  get engine() {
    return engine;
  },
  get session() {
    return session;
  },
};
Object.assign(window, { pyenhance: shown });

if (matchMedia("(prefers-reduced-motion: reduce)").matches) $("pictures").open = false;
if (!window.isSecureContext) warn(TEXT.insecure);
listDevices();
loadEngine();
