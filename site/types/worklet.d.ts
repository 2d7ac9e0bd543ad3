// The audio thread's own names, which TypeScript's DOM library does not have.

declare abstract class AudioWorkletProcessor {
  readonly port: MessagePort;
}

declare function registerProcessor(
  name: string,
  processor: new (options: {
    processorOptions: { buffer?: SharedArrayBuffer; delay: number; latency: number };
  }) => AudioWorkletProcessor,
): void;

declare const sampleRate: number;
