// Real-time speech enhancement as an audio node. See the README for a 20-line example.
//
//   import { createDenoiser } from "./engine/pyenhance.js";
//   const node = await createDenoiser(audioContext, { strengthDb: null, onProgress });
//   source.connect(node).connect(destination);
//
// Or, for calls, a track in, a track out: const { track } = await denoiseTrack(microphoneTrack);
//
// The node passes sound through, untouched, until its engine has loaded ("ready"). Input channels are mixed to one; every output
// channel carries the enhanced sound.
export { Engine, PIECE_SAMPLES } from "./engine.js";
export { createDenoiser } from "./node.js";
export { Resampler } from "./resampler.js";
export { HOP, SAMPLE_RATE } from "./ring.js";
export { PyenhanceProcessor, denoiseTrack } from "./calls.js";
