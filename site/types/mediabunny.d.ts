// What recording.js uses of Mediabunny (vendor/mediabunny.js).

export interface AudioSample {
  numberOfChannels: number;
  numberOfFrames: number;
  sampleRate: number;
  timestamp: number;
  copyTo(
    target: Float32Array,
    options: { planeIndex: number; format: "f32-planar"; frameOffset: number; frameCount: number },
  ): void;
  close(): void;
}

export interface AudioTrack {
  numberOfChannels: number;
  sampleRate: number;
  canDecode(): Promise<boolean>;
  getDurationFromMetadata(): Promise<number | null>;
  computeDuration(): Promise<number>;
}

export interface Mediabunny {
  ALL_FORMATS: unknown;
  AudioSampleSink: new (track: AudioTrack) => { samples(): AsyncIterable<AudioSample> };
  BlobSource: new (blob: Blob) => object;
  Input: new (options: { source: object; formats: unknown }) => {
    getFormat(): Promise<{ name: string }>;
    getPrimaryAudioTrack(): Promise<AudioTrack | null>;
  };
}
