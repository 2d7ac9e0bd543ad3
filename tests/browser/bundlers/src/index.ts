// A project that uses the library as its README says. Its page's address says where the other files are and which thread enhances.
import { denoiseTrack, type EnhancedMicrophone, type LiveFacts, type Stats, type TrackOptions } from "pyenhance";

declare global {
  interface Window {
    start(): Promise<LiveFacts>;
    stats(): Stats;
    noise(seconds: number): Promise<number[]>;
    loaded(): Promise<string>;
  }
}

const asked = new URLSearchParams(location.search);
const options: TrackOptions = {
  base: asked.get("base") ?? undefined,
  thread: asked.get("thread") === "worker" ? "worker" : "audio",
};
let microphone: MediaStreamTrack;
let denoised: EnhancedMicrophone;

window.start = async () => {
  const audio = { noiseSuppression: false, echoCancellation: false, autoGainControl: false };
  [microphone] = (await navigator.mediaDevices.getUserMedia({ audio })).getAudioTracks();
  denoised = await denoiseTrack(microphone, options);
  await denoised.node.ready;
  return denoised.node.engine.live;
};

window.stats = () => denoised.node.stats();

// Python, too: its version of numpy.
window.loaded = async () => (await denoised.node.engine.ready).numpy_origin;

// Levels in dB before and after: those of the quietest tenth of the time, where nobody speaks.
window.noise = async (seconds) => {
  const context = new AudioContext();
  const analysers = [microphone, denoised.track].map((track) => {
    const analyser = context.createAnalyser();
    context.createMediaStreamSource(new MediaStream([track])).connect(analyser);
    return analyser;
  });
  const levels: number[][] = [[], []];
  const samples = new Float32Array(analysers[0].fftSize);
  for (const end = performance.now() + 1000 * seconds; performance.now() < end;) {
    await new Promise((resolve) => setTimeout(resolve, 20));
    analysers.forEach((analyser, i) => {
      analyser.getFloatTimeDomainData(samples);
      const power = samples.reduce((sum, sample) => sum + sample ** 2, 0) / samples.length;
      levels[i].push(10 * Math.log10(power + 1e-12));
    });
  }
  return levels.map((of) => of.sort((a, b) => a - b)[Math.floor(of.length / 10)]);
};
