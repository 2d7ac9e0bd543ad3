// What the pages of test_extension.py do with microphones; their policies allow scripts of their own host alone.

// Of a stream's sound: dB of the power of the last 0.7 s.
globalThis.levelOf = (stream) => {
  const context = new AudioContext({ sampleRate: 48000 });
  const analyser = new AnalyserNode(context, { fftSize: 32768 });
  new MediaStreamAudioSourceNode(context, { mediaStream: stream }).connect(analyser);
  const samples = new Float32Array(analyser.fftSize);
  return () => {
    analyser.getFloatTimeDomainData(samples);
    return 10 * Math.log10(samples.reduce((sum, x) => sum + x * x, 0) / samples.length + 1e-12);
  };
};

globalThis.open = async (audio = true) => {
  globalThis.asked = performance.now();
  globalThis.stream = await navigator.mediaDevices.getUserMedia({ audio });
  globalThis.level = levelOf(stream);
};

// The far end of a call with ourselves, by the browser's own connections.
globalThis.call = async () => {
  const [near, far] = [new RTCPeerConnection(), new RTCPeerConnection()];
  near.onicecandidate = ({ candidate }) => candidate && far.addIceCandidate(candidate);
  far.onicecandidate = ({ candidate }) => candidate && near.addIceCandidate(candidate);
  const heard = new Promise((resolve) => (far.ontrack = ({ streams }) => resolve(streams[0])));
  for (const track of stream.getTracks()) near.addTrack(track, stream);
  await near.setLocalDescription();
  await far.setRemoteDescription(near.localDescription);
  await far.setLocalDescription();
  await near.setRemoteDescription(far.localDescription);
  const far_stream = await heard;
  const audio = Object.assign(new Audio(), { srcObject: far_stream, muted: true });
  await audio.play();
  globalThis.level = levelOf(far_stream);
};
