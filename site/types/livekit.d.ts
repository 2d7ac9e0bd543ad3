// What examples/livekit.js uses of LiveKit's client (npm's livekit-client).

declare module "*/livekit-client.esm.mjs" {
  export interface LocalAudioTrack {
    readonly isMuted: boolean;
    setAudioContext(context: AudioContext): Promise<void>;
    setProcessor(processor: import("../engine/pyenhance.js").PyenhanceProcessor): Promise<void>;
    attach(element: HTMLMediaElement): HTMLMediaElement;
    mute(): Promise<LocalAudioTrack>;
    unmute(): Promise<LocalAudioTrack>;
    stop(): void;
  }
  export function createLocalAudioTrack(options: MediaTrackConstraints): Promise<LocalAudioTrack>;
}
