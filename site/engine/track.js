// A track in, a track out: the microphone's, enhanced, for whatever takes a MediaStreamTrack.
import { Guise } from "./guise.js";
import { createDenoiser } from "./node.js";
import { SAMPLE_RATE } from "./ring.js";

/** @typedef {Awaited<ReturnType<typeof createDenoiser>>} Denoiser */
/** @typedef {import("./pyenhance.d.ts").TrackOptions} TrackOptions */

const UNTIL_READY = ["untouched", "silence"];
const OPENS_S = 0.01; // from silence to sound

// A microphone, its node, and the tracks that they feed.
class Session extends Guise {
  #ownsContext;
  #source;

  /**
   * @param {MediaStreamTrack} microphone
   * @param {AudioContext} context
   * @param {boolean} ownsContext
   * @param {Denoiser} node
   * @param {string} untilReady of UNTIL_READY
   */
  constructor(microphone, context, ownsContext, node, untilReady) {
    const source = new MediaStreamAudioSourceNode(context, { mediaStream: new MediaStream([microphone]) });
    super(microphone, () => {
      const { latency_algorithm_ms, latency_transport_ms } = node.stats();
      return { sampleRate: context.sampleRate, latency: (latency_algorithm_ms + latency_transport_ms) / 1000 };
    });
    this.context = context;
    this.node = node;
    this.#ownsContext = ownsContext;
    this.#source = source;
    const out = new MediaStreamAudioDestinationNode(context, { channelCount: 1 });
    this.gate = untilReady === "silence" ? new GainNode(context, { gain: 0 }) : null;
    if (this.gate) node.connect(this.gate).connect(out);
    else node.connect(out);
    source.connect(node);
    this.track = this.dress(out.stream.getAudioTracks()[0]);
    const { gone: signal } = this;
    context.addEventListener("statechange", () => context.state === "closed" && this.follow("ended"), { signal });
    node.addEventListener("stats", () => this.look(node.stats()), { signal });
    // A call goes on with the microphone as it is, rather than without.
    node.addEventListener("error", () => node.isSilent && source.connect(this.gate ?? out), { signal });
  }

  // A track that its owner stops ends without an event; so does the microphone's, of which the statistics' beat tells then.
  /** @param {import("./pyenhance.d.ts").Stats} stats */
  look({ state, latency_algorithm_ms, latency_transport_ms }) {
    if (this.microphone.readyState === "ended") return this.follow("ended");
    if (!this.gate || (state !== "running" && state !== "bypassed")) return;
    const { gain } = this.gate;
    // What is heard until then was not enhanced yet.
    const opens = this.context.currentTime + (latency_algorithm_ms + latency_transport_ms) / 1000;
    gain.setValueAtTime(0, opens).linearRampToValueAtTime(1, opens + OPENS_S);
    this.gate = null;
  }

  dispose() {
    if (this.gone.aborted) return;
    super.dispose();
    this.#source.disconnect();
    this.node.dispose();
    if (this.#ownsContext && this.context.state !== "closed") this.context.close();
  }
}

/** @param {MediaStreamTrack} track */
function mustBeLiveAudio(track) {
  if (!(track instanceof MediaStreamTrack)) throw new TypeError(`the track is ${track}; accepted: a MediaStreamTrack`);
  if (track.kind !== "audio") throw new TypeError(`the track's kind is "${track.kind}"; accepted: "audio"`);
  if (track.readyState !== "live") throw new Error("the track has ended; accepted: one that is live");
}

// The microphone's track, enhanced, as a track; with its node, and what ends both but leaves the microphone alone. To stop the
// track, and its clones, stops the microphone. Without a context it has one of its own.
/**
 * @param {MediaStreamTrack} microphone
 * @param {TrackOptions} [options]
 */
export async function denoiseTrack(microphone, { context, untilReady = "untouched", ...options } = {}) {
  mustBeLiveAudio(microphone);
  if (!UNTIL_READY.includes(untilReady))
    throw new RangeError(`untilReady is ${JSON.stringify(untilReady)}; accepted: ${UNTIL_READY.join(", ")}`);
  const used = context ?? new AudioContext({ sampleRate: SAMPLE_RATE });
  let node;
  try {
    node = await createDenoiser(used, options);
    mustBeLiveAudio(microphone); // still
    const session = new Session(microphone, used, !context, node, untilReady);
    return { track: session.track, node, dispose: () => session.dispose() };
  } catch (error) {
    node?.dispose();
    if (!context) used.close();
    throw error;
  }
}
