// In the page's own world, before any of its scripts: whoever asks for a microphone gets it enhanced. The graph, and
// all that it needs, is in the extension's world (content.js), where the page's policy does not reach. Whatever fails,
// the page gets its own microphone.
import { Guise } from "../engine/guise.js";
import { LOG } from "./strings.js";
import { ANSWER, ASK, ENHANCED, LATENCY, MICROPHONE } from "./worlds.js";

const ANSWER_MS = 3000;
const GRAPH_MS = 10000;
const SAMPLE_RATE = 48000; // of content.js's contexts

/** @typedef {MediaTrackConstraints & { mandatory?: object, optional?: object[] }} Asked the last two as browsers once had them */

/** What the element is told next in an event of this type. @param {HTMLMediaElement} carrier @param {string} type @param {number} ms @returns {Promise<string>} */
function told(carrier, type, ms) {
  return new Promise((resolve, reject) => {
    const late = setTimeout(() => reject(new Error(LOG.noAnswer(type, ms))), ms);
    carrier.addEventListener(
      type,
      (event) => {
        clearTimeout(late);
        resolve(/** @type {CustomEvent<string>} */ (event).detail);
      },
      { once: true },
    );
  });
}

/** @param {string} type @param {HTMLMediaElement} carrier */
const tell = (type, carrier) => document.dispatchEvent(new MouseEvent(type, { relatedTarget: carrier }));

/** Whether it is to be enhanced, now and here. @param {HTMLMediaElement} carrier */
async function isOn(carrier) {
  const answer = told(carrier, ANSWER, ANSWER_MS);
  tell(ASK, carrier);
  return (await answer.catch(() => "off")) === "on";
}

// The browser's own suppressor would work on the sound first; all else stays as the page wants it.
/** @param {Asked | boolean} asked @returns {MediaTrackConstraints} */
function withoutSuppressor(asked) {
  if (typeof asked !== "object") return { noiseSuppression: false };
  if (asked.mandatory || asked.optional) return asked; // these do not go together with others
  return { ...asked, noiseSuppression: false };
}

/**
 * The enhanced microphone, as the track that the page gets.
 * @param {MediaStreamTrack} microphone
 * @param {HTMLMediaElement} carrier
 */
async function enhanced(microphone, carrier) {
  carrier.srcObject = new MediaStream([microphone]);
  let latency = 0;
  carrier.addEventListener(LATENCY, (event) => (latency = Number(/** @type {CustomEvent<string>} */ (event).detail)));
  const done = told(carrier, ENHANCED, GRAPH_MS);
  tell(MICROPHONE, carrier);
  try {
    const why = await done;
    if (why) throw new Error(why);
    const [track] = /** @type {MediaStream} */ (carrier.srcObject).getAudioTracks();
    return new Guise(microphone, () => ({ sampleRate: SAMPLE_RATE, latency })).dress(track);
  } finally {
    carrier.srcObject = null;
  }
}

/**
 * Have its microphones enhanced.
 * @param {MediaStream} stream
 * @param {Asked | boolean} asked of its sound
 * @param {HTMLMediaElement} carrier
 */
async function enhance(stream, asked, carrier) {
  for (const microphone of stream.getAudioTracks()) {
    try {
      const track = await enhanced(microphone, carrier);
      stream.removeTrack(microphone);
      stream.addTrack(track);
    } catch (error) {
      console.warn(LOG.asItIs, error);
      if (microphone.readyState === "live") await microphone.applyConstraints(typeof asked === "object" ? asked : {});
    }
  }
  return stream;
}

function wrap() {
  const { getUserMedia: own } = MediaDevices.prototype;
  /** @param {MediaStreamConstraints} [constraints] */
  MediaDevices.prototype.getUserMedia = async function getUserMedia(constraints) {
    const asked = constraints?.audio;
    if (!asked) return own.call(this, constraints);
    const carrier = document.createElement("audio");
    if (!(await isOn(carrier))) return own.call(this, constraints);
    const audio = withoutSuppressor(asked);
    return enhance(await own.call(this, { ...constraints, audio }), asked, carrier);
  };

  // A stream's clone has clones of its tracks, which are to look alike.
  MediaStream.prototype.clone = function clone() {
    return new MediaStream(this.getTracks().map((track) => track.clone()));
  };
}

// The calls of old, which take what to do next.
/** @typedef {(constraints: MediaStreamConstraints, done: (stream: MediaStream) => void, failed: (error: Error) => void) => void} OldCall */
function wrapOld() {
  /** @type {Record<string, OldCall | undefined>} */
  const navigators = /** @type {any} */ (Navigator.prototype);
  for (const name of ["getUserMedia", "webkitGetUserMedia"]) {
    const own = navigators[name];
    if (!own) continue;
    navigators[name] = function (constraints, done, failed) {
      const asked = constraints?.audio;
      if (!asked || typeof done !== "function") return own.call(this, constraints, done, failed);
      const carrier = document.createElement("audio");
      isOn(carrier).then((on) => {
        if (!on) return own.call(this, constraints, done, failed);
        const audio = withoutSuppressor(asked);
        own.call(this, { ...constraints, audio }, (stream) => enhance(stream, asked, carrier).then(done), failed);
      });
    };
  }
}

if (isSecureContext) {
  wrap();
  wrapOld();
}
