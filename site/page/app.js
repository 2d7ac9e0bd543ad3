// The page: one Start button and honest read-outs. All sound work is in the engine, recordings are in files.js.
import { Choice } from "./choice.js";
import { Engine, SAMPLE_RATE, createDenoiser } from "./engine/pyenhance.js";
import { showing, watchFiles } from "./files.js";
import { $, explainMicrophone, loadVerified, openEngine, save, toDb } from "./page.js";
import { listDevices, microphone, noisySample } from "./sources.js";
import { TEXT } from "./strings.js";
import { Switch } from "./switch.js";

const NO_LIMIT = 42; // the slider's right end
const CLIP = 0.99;
const CLIP_HOLD_MS = 2000;
const HOWL = 0.9; // a peak that stays above this is the loudspeaker heard by the microphone
const CANCEL_AFTER_MS = 1000; // of starting: what is asked for takes long, as a question to the user
const RESUME_MS = 1000;
const HOWL_TIMES = 4; // statistics, a quarter of a second apart

/** @typedef {import("./engine/pyenhance.js").Denoiser} Denoiser */
/** @typedef {import("./switch.js").Holding} Holding */
/** @typedef {{ isSample: boolean, open(context: AudioContext, held: Holding): Promise<AudioNode> }} Aim */
/** @typedef {{ context: AudioContext, source: AudioNode, track: MediaStreamTrack | null, node: Denoiser, monitor: GainNode, pictures: import("./pictures.js").Pictures, isSample: boolean, loud: number }} Session */

const thread = /** @type {"audio" | "worker" | null} */ (new URLSearchParams(location.search).get("thread")); // to compare them
/** @type {Engine} */
let engine;
/** @type {{ deviceId?: string, chosen: string } | null} the microphone that was taken away while it was used */
let lost = null;
/** @type {ReturnType<typeof setTimeout> | undefined} */
let resuming;
/** @type {ReturnType<typeof setTimeout> | undefined} */
let cancelling;

/** @type {Switch<Aim, Session>} */
const live = new Switch(openSession, { opened: onOpened, closed: onClosed, failed: onFailed });
/** @type {import("./recorder.js").Recorder | undefined} from the first sound on */
let recorder;

const choice = new Choice(
  () => engine,
  (text, isProblem) => (isProblem ? warn : say)(text),
  () => version?.choose(),
);
/** @type {import("./version.js").Version | undefined} */
let version;

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
  if (!live.wanted && !problem) say(text);
};

function loadEngine() {
  $("retry-row").hidden = true;
  engine = openEngine(sayLoading, choice.model);
  engine.live.then(announce, () => {});
  engine.ready.then(
    ({ load_ms }) => {
      document.body.dataset.engine = "ready";
      $("first").hidden = true;
      keepOffline();
      showVersion(engine);
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

/** @param {Engine} engine */
async function showVersion(engine) {
  version ??= new (await loadVerified("version.js", "other_strings.js")).Version(() => live.opened?.track?.label);
  version?.follow(engine);
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

// What is the case now. All that can hold the sound up comes first.
function announce() {
  const session = live.opened;
  if (!session) return;
  if (session.context.state !== "running") warn(TEXT.suspended);
  else if (session.track?.muted) warn(TEXT.muted);
  else if (!engine.liveFacts) say(TEXT.waiting);
  else if (session.node.bypass) say(TEXT.dry);
  else if (session.isSample) say(TEXT.sample);
  else say($("monitor").checked ? TEXT.live : TEXT.silent);
}

// What draws and what records is loaded with the first sound.
/** @returns {Promise<typeof import("./pictures.js")>} */
const drawing = () => loadVerified("pictures.js", "lowered.js", "palette.js");
/** @returns {Promise<typeof import("./recorder.js")>} */
const recording = () => loadVerified("recorder.js");

/** @param {Aim} aim @param {Holding} held @returns {Promise<Session>} */
async function openSession({ isSample, open }, held) {
  const context = new AudioContext({ sampleRate: SAMPLE_RATE, latencyHint: "interactive" });
  held.add(() => context.close());
  const source = await open(context, held);
  const coming = createDenoiser(context, { engine, strengthDb: strengthDb(), thread });
  const node = await held.acquire(coming, (node) => node.dispose());
  const monitor = new GainNode(context, { gain: $("monitor").checked || isSample ? 1 : 0 });
  source.connect(node).connect(monitor).connect(context.destination);
  const [{ Pictures }, { Recorder }] = await held.acquire(Promise.all([drawing(), recording()]), () => {});
  recorder ??= new Recorder((/** @type {Blob} */ blob) =>
    keepRecording(blob).catch((error) => warn(TEXT.failed(error.message))),
  );
  const pictures = new Pictures(context, source, node, {
    before: $("pic-before"),
    after: $("pic-after"),
    gains: $("pic-gains"),
  });
  held.add(() => pictures.stop());
  held.add(stopRecording);
  await held.acquire(context.resume(), () => {});
  const [track = null] = source instanceof MediaStreamAudioSourceNode ? source.mediaStream.getAudioTracks() : [];
  return { context, source, track, node, monitor, pictures, isSample, loud: 0 };
}

/** @param {Session} session */
function onOpened(session) {
  const { node, context, track } = session;
  node.addEventListener("stats", ({ stats }) => show(stats));
  node.addEventListener("overload", () => choice.relieve() || warn(TEXT.overload));
  node.addEventListener("recovered", () => say(TEXT.recovered));
  node.addEventListener("error", ({ error }) => warn(TEXT.failed(error.message)));
  context.addEventListener("statechange", keepSounding);
  for (const type of ["mute", "unmute"]) track?.addEventListener(type, announce);
  track?.addEventListener("ended", () => onEnded(track));
  showStart(TEXT.stop);
  $("ab").disabled = $("record").disabled = $("save-picture").disabled = false;
  setBypass(false);
  keepSounding();
  version?.choose();
  if (track?.readyState === "ended") onEnded(track);
}

function onClosed() {
  clearTimeout(resuming);
  showStart(TEXT.start);
  $("ab").disabled = $("record").disabled = true;
  $("meter-in").value = $("meter-out").value = -60;
  $("noise").hidden = true;
  say(TEXT.stopped);
}

/** @param {unknown} error */
function onFailed(error) {
  showStart(TEXT.start);
  warn(explainMicrophone(error));
}

/** @param {string} label */
function showStart(label) {
  clearTimeout(cancelling);
  $("start").textContent = label;
}

// A call, a locked screen or another program may hold the sound up; it is to go on without being asked.
function keepSounding() {
  const session = live.opened;
  clearTimeout(resuming);
  if (!session) return;
  if (session.context.state === "closed") return live.want(null);
  announce();
  if (session.context.state === "running") return;
  resuming = setTimeout(() => {
    session.context.resume().catch(() => {}); // not yet
    keepSounding();
  }, RESUME_MS);
}

/** @param {MediaStreamTrack} track */
async function onEnded(track) {
  if (live.opened?.track !== track) return;
  const { deviceId } = track.getSettings();
  const chosen = $("device").value;
  await live.want(null);
  if (live.wanted) return;
  lost = { deviceId, chosen };
  warn(TEXT.unplugged);
}

async function onDeviceChange() {
  const devices = await listDevices();
  if (!lost || live.wanted || !devices.some(({ deviceId }) => deviceId === lost?.deviceId)) return;
  $("device").value = lost.chosen;
  begin(MICROPHONE_AIM);
}

/** @param {Aim} aim */
function begin(aim) {
  lost = null;
  const working = live.want(aim);
  clearTimeout(cancelling);
  cancelling = setTimeout(() => {
    if (!live.wanted || live.opened) return;
    showStart(TEXT.cancelStart);
    if (!aim.isSample) say(TEXT.starting);
  }, CANCEL_AFTER_MS);
  return working;
}

/** @type {Aim} */
const MICROPHONE_AIM = { isSample: false, open: microphone };

async function stop() {
  showStart(TEXT.start);
  await live.want(null);
  if (!live.wanted) say(TEXT.stopped); // also where nothing was open yet
}

// A press means what the button says. One more while that is under way changes nothing.
function onStart() {
  const label = $("start").textContent;
  if (label !== TEXT.start) {
    lost = null;
    return stop();
  }
  if (live.wanted && !live.wanted.isSample) return;
  if (!window.isSecureContext || !navigator.mediaDevices) return warn(TEXT.insecure);
  if (!("AudioWorkletNode" in window)) return warn(TEXT.unsupported);
  return begin(MICROPHONE_AIM);
}

function onSample() {
  if (live.wanted?.isSample && !live.opened) return;
  if (!window.isSecureContext) return warn(TEXT.insecure);
  if (!("AudioWorkletNode" in window)) return warn(TEXT.unsupported);
  return begin({ isSample: true, open: noisySample });
}

function startRecording() {
  const session = live.opened;
  if (!session || !recorder || recorder.running) return;
  try {
    recorder.start(session.context, session.node);
    showRecording();
  } catch (error) {
    warn(TEXT.failed(/** @type {Error} */ (error).message));
  }
}

function stopRecording() {
  recorder?.stop();
  showRecording();
}

function showRecording() {
  const running = Boolean(recorder?.running);
  $("record").textContent = running ? TEXT.stopRecording : TEXT.record;
  $("record").setAttribute("aria-pressed", String(running));
}

/** @param {Blob} blob */
async function keepRecording(blob) {
  const suffix = blob.type.includes("ogg") ? "ogg" : "webm";
  const name = `pyenhance-${stamp()}.${suffix}`;
  (await showing()).addResult(TEXT.recorded, [[TEXT.after, { blob }]], { name, blob });
  say(TEXT.recordedBelow);
}

/** @param {boolean} bypass */
function setBypass(bypass) {
  const session = live.opened;
  if (!session) return;
  session.node.bypass = bypass;
  $("ab").setAttribute("aria-pressed", String(!bypass));
  /** @type {Text} */ ($("ab").firstChild).data = `${bypass ? TEXT.enhancementOff : TEXT.enhancementOn} `;
}

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

/** @param {Session} session */
function showNoise({ node, pictures }) {
  const { db } = pictures.lowered;
  $("noise").hidden = db === null || node.bypass;
  if (db !== null) $("noise").textContent = TEXT.lowered(db, pictures.lowered.isMost);
}

async function savePicture() {
  const { picture } = await drawing();
  const blob = await picture([$("pic-before"), $("pic-after")], [TEXT.before, TEXT.after]);
  save(blob, `pyenhance-${stamp()}.png`);
}

const stamp = () => new Date().toISOString().slice(0, 19).replaceAll(":", ".");

/** @param {import("./engine/pyenhance.js").Stats} stats */
function show(stats) {
  const session = live.opened;
  if (!session) return;
  const sounding = session.context.state === "running";
  showLevel("in", sounding ? stats.peak_in : 0);
  showLevel("out", sounding ? stats.peak_out : 0);
  guardEars(session, stats.peak_out);
  choice.judge(stats);
  showNoise(session);
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
  $("shared-note").hidden = stats.shared_memory || stats.thread !== "worker";
  $("shared-note").textContent = TEXT.notShared;
}

$("start").addEventListener("click", onStart);
$("sample").addEventListener("click", onSample);
$("retry").addEventListener("click", () => {
  problem = false;
  loadEngine();
});
$("ab").addEventListener("click", () => {
  setBypass(!live.opened?.node.bypass);
  announce();
});
document.addEventListener("keydown", (event) => {
  const typing = /** @type {Element} */ (event.target).matches("select, textarea, input[type=text]");
  if (event.key.toLowerCase() === "b" && live.opened && !typing && !event.ctrlKey && !event.metaKey) $("ab").click();
});
$("strength").addEventListener("input", () => {
  const value = strengthDb();
  $("strength-value").textContent = value === null ? TEXT.noLimit : TEXT.db(value);
  if (live.opened) live.opened.node.strengthDb = value;
});
$("monitor").addEventListener("change", () => {
  const session = live.opened;
  if (!session || session.isSample) return;
  session.monitor.gain.value = $("monitor").checked ? 1 : 0;
  announce();
});
$("save-picture").addEventListener("click", () => savePicture().catch((error) => warn(TEXT.failed(error.message))));
$("record").addEventListener("click", () => (recorder?.running ? stopRecording() : startRecording()));
$("device").addEventListener("change", () => {
  if (live.wanted && !live.wanted.isSample) begin({ ...MICROPHONE_AIM }); // with the other one
});
navigator.mediaDevices?.addEventListener("devicechange", onDeviceChange);
document.addEventListener("visibilitychange", () => {
  const { context } = live.opened ?? {};
  if (!document.hidden && context && context.state !== "running") context.resume().catch(() => {});
});
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
    return live.opened;
  },
};
Object.assign(window, { pyenhance: shown });

if (matchMedia("(prefers-reduced-motion: reduce)").matches) $("pictures").open = false;
if (!window.isSecureContext) warn(TEXT.insecure);
listDevices();
loadEngine();
