// Types of pyenhance.js.

export interface Progress {
  /** download counts bytes; the others follow it, one after another. */
  stage: "download" | "python" | "numpy" | "model";
  done: number;
  total: number;
}

export interface Stats {
  state: "loading" | "running" | "bypassed" | "failed" | "ended";
  hops: number;
  /** Of these: done on the lean path, and passed on untouched. */
  lean_hops: number;
  dropped_hops: number;
  us_mean: number;
  us_p50: number;
  us_p99: number;
  us_max: number;
  /** Share of one core: mean time a hop over the hop's 10 ms. */
  real_time_factor: number;
  /** Microphone to loudspeaker, as far as the browser tells, and its parts. */
  latency_ms: number;
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
  load_ms: number | null;
  model: string;
  kernel: string | null;
}

export interface Analysis {
  /** 0 before the first hop. */
  pitch_hz: number;
  /** Voice activity in [0, 1]. */
  voice: number;
  /** 34 band gains in [0, 1]. */
  gains: Float32Array;
}

/** The Python engine in its worker; serves any number of denoisers and recordings. */
export class Engine extends EventTarget {
  /** remember (true): keep some 45 MB on the device, from which the next start takes a third of the time. */
  constructor(options?: { model?: string; onProgress?: (progress: Progress) => void; remember?: boolean });
  readonly ready: Promise<{
    load_ms: number;
    model: string;
    kernel: string;
    weights: number;
    numpy_origin: string;
    /** The start took up from what the last visit kept. */
    started_again?: boolean;
  }>;
  /**
   * A recording in pieces: process() for each, Float32Arrays at 48 kHz, one a channel, a multiple of 480 samples long but for the
   * last. It resolves to what is ready: in all as many samples as were given, the delay removed. end() frees it.
   */
  recording(options?: { strengthDb?: number | null }): {
    process(channels: Float32Array[], last: boolean): Promise<Float32Array[]>;
    end(): void;
  };
  /** A whole recording: Float32Arrays at 48 kHz, one a channel. Resolves to the enhanced channels, to null when cancelled. */
  enhance(
    channels: Float32Array[],
    options?: { strengthDb?: number | null; onProgress?: (share: number) => void; signal?: AbortSignal },
  ): Promise<Float32Array[] | null>;
  dispose(): void;
}

export interface DenoiserEventMap {
  /** From now on sound is enhanced; before, it passes untouched. */
  ready: Event;
  stats: Event & { stats: Stats };
  /** The machine is too slow: some seconds pass untouched. */
  overload: Event;
  recovered: Event;
  error: Event & { error: Error };
}

export interface Denoiser extends AudioWorkletNode {
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

/** An AudioNode that enhances speech. Best at 48 kHz; other whole rates from 8 kHz are converted. RangeError for any other rate, Error without AudioWorklet. */
export function createDenoiser(
  context: AudioContext | OfflineAudioContext,
  options?: {
    model?: string;
    strengthDb?: number | null;
    onProgress?: (progress: Progress) => void;
    /** As for Engine. */
    remember?: boolean;
    /** Share one engine between several nodes; it is then yours to dispose. */
    engine?: Engine;
  },
): Promise<Denoiser>;
