// Types of pyenhance.js.

/** Samples of a hop, 10 ms. */
export const HOP: number;
/** Of all sound inside, Hz. */
export const SAMPLE_RATE: number;
/** A good size for the pieces of a recording: ten seconds. */
export const PIECE_SAMPLES: number;

export interface Progress {
  /** download counts bytes; the others follow it, one after another. */
  stage: "download" | "python" | "numpy" | "model";
  done: number;
  total: number;
}

export interface LiveFacts {
  load_ms: number;
  model: string;
  /** Of its weights file: its version. */
  sha256: string;
  /** What computes the network, and the signal path: numpy, simd or relaxed. */
  kernel: string;
  signal_kernel: string;
  /** Why a faster one does not run here, by its name. */
  why_not: Record<string, string>;
  /** By which the model's output is late, without the transport. */
  latency_samples: number;
  num_bands: number;
}

export interface EngineFacts extends LiveFacts {
  weights: number;
  numpy_origin: string;
  /** The start took up from what the last visit kept. */
  started_again: boolean;
}

export interface Update {
  /** SHA-256 of the weights files; the same where there was nothing newer. */
  from: string;
  to: string;
  /** Loaded for it. */
  bytes: number;
  /** The result is the site's newest version, to the last bit. Anything else is an error, and the old version stays. */
  verified: boolean;
}

/** A model as the site has it now. */
export interface ModelListed {
  /** Of the newest weights file, and its size. */
  sha256: string;
  bytes: number;
  weights: string;
  /** Of the release gate, in words; empty where there is none. */
  verdict: string;
  diffs: { file: string; from: string; to: string; bytes: number }[];
}

/** What fitting a model to a user is judged by, means over the clips that were held out. */
export interface AdaptationFigures {
  /** Of the gains against the ideal ones. */
  gain_loss: number;
  /** dB of voice over all that is not voice. */
  si_sdr: number;
  /** The gain loss of other people's voices and rooms. */
  public_gain_loss: number;
}

/** A model that was fitted to a user. */
export interface Adaptation {
  /** That it was made of. */
  model: string;
  /** From that model's weights file to this one: what `profiles().keep` takes. */
  diff: Uint8Array;
  /** The weights file, for `setModel`, and its sum. */
  weights: Uint8Array;
  sha256: string;
  /** It is better on what was held out of the recordings. Anything else is an error, and nothing has changed. */
  kept: boolean;
  before: AdaptationFigures;
  after: AdaptationFigures;
  /** Clips that were held out; of these, better ones in SI-SDR, and ones that fell by more than the release gate's margin. */
  clips: number;
  better: number;
  fell: number;
  seconds: number;
  /** A mix that was held out, at 48 kHz, and what each model makes of it, the delay removed. */
  sounds: Record<"noisy" | "before" | "after", Float32Array>;
}

export interface AdaptOptions {
  /** The user, reading in quiet with the microphone that will be used: half a minute is good. */
  voice: Float32Array;
  /** The room while nobody speaks: twenty seconds are good. */
  noise: Float32Array;
  /** The model in use. */
  model?: string;
  /** Hz, of both; 48 kHz if not given. */
  sampleRate?: number;
  onProgress?: (share: number) => void;
  /** Ends it between two steps; it rejects with the signal's reason. */
  signal?: AbortSignal;
}

/** A model that was fitted to a user, as it is kept on this device: a diff. */
export interface Profile {
  name: string;
  /** Label of the microphone that it is for; empty: any. */
  microphone: string;
  /** That it was made of, and the sum of that one's weights file. */
  model: string;
  base: string;
  sha256: string;
  bytes: number;
  /** To be chosen when the microphone is used: one of those of a microphone and a model. */
  active: boolean;
}

/** What may leave the device of a profile: a clipped and noised change of the model's last layers. */
export interface SharedUpdate {
  /** The file, for `pyenhance federated aggregate`. No sound, no time, no amount and no name is in it. */
  update: Uint8Array;
  bytes: number;
  numbers: number;
  /** Largest norm that the change had before the noise, and the noise's standard deviation in units of it. */
  clip: number;
  noise_multiplier: number;
  /** What this file alone costs of privacy; null without noise. Another file made of the same recordings costs it again. */
  epsilon: number | null;
  delta: number;
  /** Sum of the weights file that it is for. */
  base: string;
}

export interface Profiles {
  /** By name. fits: it is for the version of its model that is in use here. */
  list(): Promise<(Profile & { fits: boolean })[]>;
  /**
   * Keep a diff, one of `adapt` or one that was exported, under a name, and have it chosen for its microphone. Rejects where it is
   * changed, cut, or for another model or version, and what had that name stays.
   */
  keep(profile: { name: string; microphone?: string; model?: string; diff: Uint8Array }): Promise<Profile>;
  /** Have live sound go on with it, without a click; null: with the model as it ships. */
  use(name: string | null): Promise<LiveFacts>;
  /** Have it chosen for its microphone, or not. */
  activate(name: string, active: boolean): Promise<void>;
  /** What is to be used with a microphone and the model in use; null: no profile. */
  chosen(microphone: string): Promise<Profile | null>;
  /** The diff, to be kept elsewhere. */
  diff(name: string): Promise<Uint8Array>;
  /** What may leave the device of it; nothing is sent. Rejects where the profile is for another version of its model. */
  share(name: string, terms?: { clip?: number; noiseMultiplier?: number }): Promise<SharedUpdate>;
  /** Live sound that uses it goes back to the model as it ships. */
  forget(name: string): Promise<void>;
}

export interface Stats {
  state: "loading" | "running" | "bypassed" | "failed" | "ended";
  hops: number;
  /** Of these: enhanced by lean frames, which a model with lean layers has by turns and where hops wait, or with held gains. */
  lean_hops: number;
  /** Of those: because hops waited. */
  hurried_hops: number;
  /** Passed on untouched. */
  dropped_hops: number;
  /** Share of the hops on which all of the network ran: of a model with lean layers a third, as long as it keeps up. */
  full_share: number;
  us_mean: number;
  us_p50: number;
  us_p99: number;
  us_max: number;
  /** Share of one core: mean time a hop over the hop's 10 ms. */
  real_time_factor: number;
  /** Microphone to loudspeaker, as far as the browser tells, and its parts. */
  latency_ms: number;
  /** Of what is heard now: the model's, or before it has loaded what it is declared to have. */
  latency_algorithm_ms: number;
  latency_transport_ms: number;
  /** In Firefox without the device's own part, which cannot be asked for safely. */
  latency_device_ms: number;
  in_fill: number;
  out_fill: number;
  /** Times, and samples, that enhanced sound came too late and the untouched sound was played. */
  underruns: number;
  underrun_samples: number;
  overruns: number;
  peak_in: number;
  peak_out: number;
  heap_bytes: number;
  block_samples: number;
  shared_memory: boolean;
  /** Where sound is enhanced; null while it is not. On the audio thread us_* are those of a trial: there is no clock. */
  thread: "audio" | "worker" | null;
  load_ms: number | null;
  model: string;
  kernel: string | null;
  signal_kernel: string | null;
  /** Why a faster one does not run here; empty where the fastest does. */
  why_not: string;
}

export interface Analysis {
  /** 0 before the first hop. */
  pitch_hz: number;
  /** Voice activity in [0, 1]. */
  voice: number;
  /** The model's band gains in [0, 1]; none before it has loaded. */
  gains: Float32Array;
}

/** Microseconds of a hop, its share of a call with k of them. */
export interface BenchRow {
  engine: string;
  model: string;
  weights: number;
  kernel: string;
  k: number;
  us_mean: number;
  us_p50: number;
  us_p99: number;
  us_max: number;
  real_time_factor: number;
  breakdown_us: Record<string, number>;
}

/** Levels, row by row, the highest frequency first: 255 = 0 dB, 0 = -90 dB. */
export interface Spectrogram {
  data: Uint8Array;
  /** Rows and columns. */
  shape: number[];
}

/** The steps of pyenhance.lab, on one sound at a time. */
export interface Lab {
  /** Put noisy and clean sound on the bench: aligned Float32Arrays at 48 kHz. */
  open(sounds: { noisy: Float32Array; clean: Float32Array; model: string }): Promise<void>;
  /** The sound after a step, its picture, and its SI-SDR in dB. */
  run(
    step: string,
    settings: { bands: number; comb: number },
  ): Promise<Spectrogram & { sound: Float32Array; si_sdr: number }>;
  /** Python source of a function that can be edited. */
  source(name: string): Promise<string>;
  edit(name: string, source: string): Promise<void>;
}

export interface EngineEventMap {
  ready: Event;
  error: Event & { error: Error };
  /** The model was brought to its newest version, or why not. */
  update: Event & { update?: Update; error?: Error };
}

/** A worker of live sound, and one with Python for recordings and all else; serves any number of both. */
export class Engine extends EventTarget {
  /**
   * remember (true): keep some 50 MB on the device, from which the next start takes a third of the time; and bring the model to its
   * newest version once ready.
   * kernel (null, the fastest): "numpy" has Python compute live sound too, by numpy alone.
   * base (where this module lies): in a bundle, the address of the folder that pyenhance-assets has filled; relative to the page, or
   * on another origin that allows it (CORS). Error where a bundle has none, TypeError for what is no address.
   */
  constructor(options?: {
    model?: string;
    onProgress?: (progress: Progress) => void;
    remember?: boolean;
    kernel?: string | null;
    base?: string | URL;
  });
  /** Of the library's files: workers, worklet, compiled code, models. */
  readonly folder: URL;
  readonly model: string;
  /**
   * Go on with another model, a name or the bytes of a weights file: live sound in the middle of it, without a click, as soon as the new
   * one has heard what the old one heard of late; recordings that begin after. Resolves once all of it is there; rejects where there is
   * no such model, or it does not run here, and nothing has changed then.
   */
  setModel(model: string | Uint8Array): Promise<LiveFacts>;
  /**
   * Bring the model in use to the site's newest version, live sound included. Loads no more than the diffs where they lead there from
   * what is kept. Rejects where that cannot be: the old version stays. By itself an engine does this once, where it may remember.
   */
  update(): Promise<Update>;
  /** Go back to the version before the last update; it is not taken again by itself. */
  undo(): Promise<Update>;
  /**
   * Fit a model to a voice and a room, on this device alone. Takes some seconds, in Python's worker. Rejects with one message, what was
   * measured and what is accepted, where a recording is too noisy, clipped, short or silent, or the result would not be better.
   */
  adapt(options: AdaptOptions): Promise<Adaptation>;
  profiles(): Promise<Profiles>;
  /** That the model in use was fitted by; null where it is as it ships. */
  readonly profile: Profile | null;
  /** The site's models as they are now, by name. */
  models(): Promise<Record<string, ModelListed>>;
  readonly ready: Promise<EngineFacts>;
  /** Live sound can be enhanced: by compiled code in a worker of its own; where that does not run, or numpy is asked for, by Python. */
  readonly live: Promise<LiveFacts>;
  /** From "live" on: of the model that live sound is enhanced by. */
  readonly liveFacts: LiveFacts | undefined;
  /** Of the model that was asked for at the start. From "ready" on: recordings, benchmarks and the article's steps can be asked for. */
  readonly facts: EngineFacts | undefined;
  readonly disposed: boolean;
  /** Samples of latency that the model has, or before it has loaded is declared to have; 0 where nobody knows. */
  latency(): Promise<number>;
  /**
   * A recording in pieces: process() for each, Float32Arrays at 48 kHz, one a channel, a multiple of 480 samples long but for the
   * last. It resolves to what is ready: in all as many samples as were given, the delay removed. end() frees it. model: also one
   * that hears whole recordings, such as "studio", which is loaded with the first of them and gives back half a minute at a time.
   */
  recording(options?: { model?: string; strengthDb?: number | null }): {
    process(channels: Float32Array[], last: boolean): Promise<Float32Array[]>;
    end(): void;
  };
  /** A whole recording: Float32Arrays at 48 kHz, one a channel. Resolves to the enhanced channels, to null when cancelled. */
  enhance(
    channels: Float32Array[],
    options?: {
      model?: string;
      strengthDb?: number | null;
      onProgress?: (share: number) => void;
      signal?: AbortSignal;
    },
  ): Promise<Float32Array[] | null>;
  /** Measure; kernel: "numpy", "simd", "relaxed" or null, the fastest. */
  bench(options?: { model?: string; k?: number; seconds?: number; kernel?: string | null }): Promise<BenchRow>;
  picture(sound: Float32Array, columns: number): Promise<Spectrogram>;
  readonly lab: Lab;
  addEventListener<K extends keyof EngineEventMap>(
    type: K,
    listener: (event: EngineEventMap[K]) => void,
    options?: boolean | AddEventListenerOptions,
  ): void;
  dispose(): void;
}

export interface DenoiserEventMap {
  /** From now on sound is enhanced; before, it passes untouched. Each listener hears it once, also one that comes later. */
  ready: Event;
  stats: Event & { stats: Stats };
  /** The machine is too slow: some seconds pass untouched. */
  overload: Event;
  recovered: Event;
  /** That the engine could not be loaded is told to later listeners, too. */
  error: Event & { error: Error };
}

export interface Denoiser extends AudioWorkletNode {
  /** Its own, or the one that it was given. */
  readonly engine: Engine;
  /** Sound is enhanced from now on; rejects where the engine fails, or the node is disposed before. The event "ready" tells the same. */
  readonly ready: Promise<void>;
  /** true: the untouched sound, at the same delay. */
  bypass: boolean;
  /** Largest attenuation in dB: 0 = untouched, null = no limit. RangeError for anything else. */
  strengthDb: number | null;
  stats(): Stats;
  analysis(): Analysis;
  /** Stop for good: worker, memory and listeners go. */
  dispose(): void;
  addEventListener<K extends keyof DenoiserEventMap>(
    type: K,
    listener: (event: DenoiserEventMap[K]) => void,
    options?: boolean | AddEventListenerOptions,
  ): void;
}

export interface DenoiserOptions {
  model?: string;
  strengthDb?: number | null;
  onProgress?: (progress: Progress) => void;
  /** As for Engine. */
  remember?: boolean;
  kernel?: string | null;
  /** As for Engine. */
  base?: string | URL;
  /**
   * Where live sound is enhanced. null: on the audio thread where a hop takes little there, 10 ms late for its sake; else in a worker,
   * 20 ms late.
   */
  thread?: "audio" | "worker" | null;
  /** Share one engine between several nodes; it is then yours to dispose. */
  engine?: Engine;
}

/** An AudioNode that enhances speech. Best at 48 kHz; other whole rates from 8 kHz are converted. RangeError for any other rate, Error without AudioWorklet. */
export function createDenoiser(
  context: AudioContext | OfflineAudioContext,
  options?: DenoiserOptions,
): Promise<Denoiser>;

export interface TrackOptions extends DenoiserOptions {
  /** One that is open; it stays yours, and is not closed. Without it the track has one of its own, at 48 kHz. */
  context?: AudioContext;
  /**
   * What is heard until the node is ready: the untouched sound, or silence, which goes on where it never will be. Without compiled code
   * and without anything kept that can take some seconds.
   */
  untilReady?: "untouched" | "silence";
}

export interface EnhancedMicrophone {
  /**
   * To use in the microphone's place: its label, settings (but channels, sample rate and latency, which are those of the enhanced sound),
   * constraints, enabled, mute and ended are the microphone's. stop() stops the microphone too, once all clones have been stopped.
   */
  readonly track: MediaStreamTrack;
  readonly node: Denoiser;
  /** End track and node; the microphone goes on. */
  dispose(): void;
}

/**
 * Enhance a microphone's track. TypeError for what is no audio track, RangeError for an option that is none, Error for a track that has
 * ended; and all that createDenoiser says. Where it fails the microphone goes on, and nothing else does.
 */
export function denoiseTrack(microphone: MediaStreamTrack, options?: TrackOptions): Promise<EnhancedMicrophone>;

/** What LiveKit gives a processor of audio; it has no audio context before it connects, unless a track is told by setAudioContext. */
export interface ProcessorGiven {
  track: MediaStreamTrack;
  audioContext: AudioContext;
}

/** LiveKit's TrackProcessor: localAudioTrack.setProcessor(new PyenhanceProcessor()). */
export class PyenhanceProcessor {
  constructor(options?: Omit<TrackOptions, "context">);
  name: string;
  processedTrack?: MediaStreamTrack;
  /** From init to destroy; of the microphone that there is now. */
  node?: Denoiser;
  /** Error without an audio context. */
  init(given: ProcessorGiven): Promise<void>;
  /** With another microphone, or another context: one engine goes on for all. */
  restart(given: ProcessorGiven): Promise<void>;
  destroy(): Promise<void>;
}

/** Sample-rate conversion in pieces, by an exact ratio: for sound that is not at 48 kHz. */
export class Resampler {
  /** Hz, whole numbers. */
  constructor(from: number, to: number);
  /** Input samples on either side of an output that it is made of. */
  readonly half: number;
  /** Samples by which the output is late, at its own rate. */
  readonly delay: number;
  /** All that n more samples make possible; valid until the next call. */
  process(x: Float32Array, n?: number): Float32Array;
}
