// The page: one Start button, recordings, and honest read-outs. All sound work is in pyenhance.js.
import { Engine, createDenoiser } from "./pyenhance.js";
import { SAMPLE_RATE } from "./ring.js";
import { TEXT } from "./strings.js";
import { encodeWav } from "./wav.js";

const $ = (id) => document.getElementById(id);
const MICROPHONE = { echoCancellation: false, noiseSuppression: false, autoGainControl: false, channelCount: 1 };
const NO_LIMIT = 42; // the slider's right end

let engine;
let session = null; // {context, source, node, monitor, isSample, stop()}
let cancel = null;

let problem = false; // a problem is shown, which news of the loading must not cover

const say = (text) => {
  problem = false;
  $("status").textContent = text;
};

const warn = (text) => {
  say(text);
  problem = true;
};

const sayLoading = (text) => {
  if (!session && !problem) say(text);
};

function loadEngine() {
  $("retry-row").hidden = true;
  $("progress").classList.remove("done");
  engine = new Engine({
    onProgress: ({ stage, done, total }) => {
      sayLoading(TEXT.loading[stage](done, total));
      $("progress").value = stage === "download" ? 0.7 * (done / total) : { python: 0.75, numpy: 0.85, model: 0.95 }[stage];
    },
  });
  engine.ready.then(
    ({ load_ms }) => {
      $("progress").classList.add("done");
      document.body.dataset.engine = "ready";
      sayLoading(TEXT.ready(load_ms));
      announce();
    },
    (error) => {
      $("progress").classList.add("done");
      document.body.dataset.engine = "failed";
      warn(TEXT.loadFailed(error.message));
      $("retry-row").hidden = false;
    },
  );
}

const strengthDb = () => (Number($("strength").value) === NO_LIMIT ? null : Number($("strength").value));

function announce() {
  if (!session) return;
  const ready = document.body.dataset.engine === "ready";
  if (!ready) say(TEXT.waiting);
  else if (session.node.bypass) say(TEXT.dry);
  else say(session.isSample ? TEXT.sample : TEXT.live);
}

// source: a function from an AudioContext to {node, close()}
async function start(openSource, isSample) {
  await stop();
  const context = new AudioContext({ sampleRate: SAMPLE_RATE, latencyHint: "interactive" });
  try {
    const source = await openSource(context);
    const node = await createDenoiser(context, { engine, strengthDb: strengthDb() });
    const monitor = new GainNode(context, { gain: $("monitor").checked || isSample ? 1 : 0 });
    source.node.connect(node).connect(monitor).connect(context.destination);
    session = {
      context,
      source: source.node,
      node,
      monitor,
      isSample,
      stop: async () => {
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
    $("start").textContent = "Stop";
    $("ab").disabled = false;
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
  $("start").textContent = "Start";
  $("ab").disabled = true;
  $("meter-in").value = $("meter-out").value = -60;
  say(TEXT.stopped);
}

async function microphone(context) {
  const stream = await navigator.mediaDevices.getUserMedia({ audio: MICROPHONE });
  return {
    node: new MediaStreamAudioSourceNode(context, { mediaStream: stream }),
    close: () => stream.getTracks().forEach((track) => track.stop()),
  };
}

async function noisySample(context) {
  const reply = await fetch("sample.flac");
  if (!reply.ok) throw new Error(`sample.flac: ${reply.status}`);
  const buffer = await context.decodeAudioData(await reply.arrayBuffer());
  const node = new AudioBufferSourceNode(context, { buffer, loop: true });
  node.start();
  return { node, close: () => node.stop() };
}

function explain(error) {
  const known = { NotAllowedError: TEXT.denied, NotFoundError: TEXT.absent, OverconstrainedError: TEXT.absent, NotReadableError: TEXT.busy };
  warn(known[error.name] ?? TEXT.failed(error.message));
}

async function onStart() {
  if (session) return stop();
  if (!window.isSecureContext || !navigator.mediaDevices) return warn(TEXT.insecure);
  if (!("AudioWorkletNode" in window)) return warn(TEXT.unsupported);
  $("start").disabled = true;
  try {
    await start(microphone, false);
  } catch (error) {
    explain(error);
  } finally {
    $("start").disabled = false;
  }
}

async function onSample() {
  if (!window.isSecureContext) return warn(TEXT.insecure);
  if (!("AudioWorkletNode" in window)) return warn(TEXT.unsupported);
  try {
    await start(noisySample, true);
  } catch (error) {
    explain(error);
  }
}

function setBypass(bypass) {
  if (!session) return;
  session.node.bypass = bypass;
  $("ab").setAttribute("aria-pressed", String(!bypass));
  $("ab").firstChild.textContent = bypass ? "Enhancement off " : "Enhancement on ";
}

const toDb = (peak) => Math.max(-60, 20 * Math.log10(peak + 1e-9));

function show(stats) {
  $("meter-in").value = toDb(stats.peak_in);
  $("meter-out").value = toDb(stats.peak_out);
  $("f-latency").textContent = `${stats.latency_ms.toFixed(0)} ms`;
  const parts = [stats.latency_algorithm_ms, stats.latency_transport_ms, stats.latency_device_ms];
  $("f-parts").textContent = parts.map((ms) => `${ms.toFixed(0)} ms`).join(", ");
  $("f-load").textContent = `${(100 * stats.real_time_factor).toFixed(1)} %`;
  $("f-us").textContent = [stats.us_mean, stats.us_p99, stats.us_max].join(", ");
  $("f-underruns").textContent = String(stats.underruns);
  $("f-hops").textContent = [stats.hops, stats.lean_hops, stats.dropped_hops].join(", ");
  const { pitch_hz, voice } = session.node.analysis();
  $("f-pitch").textContent = `${pitch_hz.toFixed(0)} Hz, ${(100 * voice).toFixed(0)} %`;
  $("f-model").textContent = `${stats.model}, ${stats.kernel ?? "loading"}`;
  $("shared-note").hidden = stats.shared_memory;
  $("shared-note").textContent = TEXT.notShared;
}

async function enhanceFile(file) {
  $("file-work").hidden = false;
  $("file-status").textContent = TEXT.decoding(file.name);
  $("file-progress").value = 0;
  let sound;
  try {
    // A context of 48 kHz decodes to 48 kHz, whatever the file's rate.
    sound = await new OfflineAudioContext(1, 1, SAMPLE_RATE).decodeAudioData(await file.arrayBuffer());
  } catch {
    $("file-status").textContent = TEXT.undecodable(file.name);
    return;
  }
  if (!sound.length) {
    $("file-status").textContent = TEXT.empty(file.name);
    return;
  }
  const channels = Array.from({ length: sound.numberOfChannels }, (_, c) => sound.getChannelData(c).slice());
  const before = encodeWav(channels, SAMPLE_RATE);
  $("file-status").textContent = TEXT.enhancing(file.name);
  cancel = new AbortController();
  await engine.ready;
  const begin = performance.now();
  const part = 1 / channels.length;
  let finished = 0;
  let last = 0;
  const enhanced = await engine.enhance(channels, {
    strengthDb: strengthDb(),
    signal: cancel.signal,
    onProgress: (done) => {
      if (done < last) finished += part;
      last = done;
      $("file-progress").value = finished + part * done;
    },
  });
  if (!enhanced) {
    $("file-status").textContent = TEXT.cancelled(file.name);
    return;
  }
  const speed = sound.duration / ((performance.now() - begin) / 1000);
  $("file-progress").value = 1;
  $("file-status").textContent = TEXT.done(file.name, sound.duration, speed);
  addResult(file.name, before, encodeWav(enhanced, SAMPLE_RATE));
}

function addResult(name, before, after) {
  const item = document.createElement("li");
  const title = document.createElement("strong");
  title.textContent = name;
  item.append(title);
  for (const [label, blob] of [[TEXT.before, before], [TEXT.after, after]]) {
    const text = document.createElement("label");
    const player = document.createElement("audio");
    player.controls = true;
    player.src = URL.createObjectURL(blob);
    player.setAttribute("aria-label", `${label}: ${name}`);
    text.append(label, player);
    item.append(text);
  }
  const link = document.createElement("a");
  link.href = URL.createObjectURL(after);
  link.download = `${name.replace(/\.[^.]*$/, "")}-enhanced.wav`;
  link.textContent = TEXT.download;
  item.append(link);
  $("results").prepend(item);
}

async function onFiles(files) {
  $("cancel").hidden = false;
  for (const file of files) {
    try {
      await enhanceFile(file);
    } catch (error) {
      $("file-status").textContent = TEXT.failed(error.message);
    }
    if (cancel?.signal.aborted) break;
  }
  $("cancel").hidden = true;
  cancel = null;
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
  const typing = event.target instanceof HTMLInputElement && event.target.type === "text";
  if (event.key.toLowerCase() === "b" && session && !typing && !event.ctrlKey && !event.metaKey) $("ab").click();
});
$("strength").addEventListener("input", () => {
  const value = strengthDb();
  $("strength-value").textContent = value === null ? TEXT.noLimit : TEXT.db(value);
  if (session) session.node.strengthDb = value;
});
$("monitor").addEventListener("change", () => {
  if (session) session.monitor.gain.value = $("monitor").checked ? 1 : 0;
});
$("cancel").addEventListener("click", () => cancel?.abort());
$("file").addEventListener("change", (event) => onFiles([...event.target.files]));
for (const type of ["dragover", "dragleave", "drop"]) {
  document.addEventListener(type, (event) => {
    event.preventDefault();
    $("drop").classList.toggle("over", type === "dragover");
    if (type === "drop") onFiles([...event.dataTransfer.files]);
  });
}

// For tests and for the curious: what the page is built on.
window.pyenhance = {
  Engine,
  createDenoiser,
  get engine() {
    return engine;
  },
  get session() {
    return session;
  },
};

if (!window.isSecureContext) warn(TEXT.insecure);
loadEngine();
