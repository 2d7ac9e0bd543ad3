// What the pages of test_extension.py do with microphones; their policies allow scripts of their own host alone.

// Of a stream's sound: dB of the power of the last 0.7 s, once there is so much; seconds so far.
globalThis.listenTo = (stream) => {
  const context = new AudioContext({ sampleRate: 48000 });
  const analyser = new AnalyserNode(context, { fftSize: 32768 });
  new MediaStreamAudioSourceNode(context, { mediaStream: stream }).connect(analyser);
  const samples = new Float32Array(analyser.fftSize);
  globalThis.seconds = () => context.currentTime;
  globalThis.level = () => {
    analyser.getFloatTimeDomainData(samples);
    const full = context.currentTime > (2 * samples.length) / context.sampleRate;
    return full ? 10 * Math.log10(samples.reduce((sum, x) => sum + x * x, 0) / samples.length + 1e-12) : null;
  };
};

globalThis.AUDIO = { autoGainControl: false, echoCancellation: false };

globalThis.open = async (audio = AUDIO) => {
  globalThis.stream = await navigator.mediaDevices.getUserMedia({ audio });
  globalThis.track = stream.getAudioTracks()[0];
  listenTo(stream);
};

// The far end of a call with ourselves, by the browser's own connections.
globalThis.call = async () => {
  const [near, far] = [new RTCPeerConnection(), new RTCPeerConnection()];
  near.onicecandidate = ({ candidate }) => candidate && far.addIceCandidate(candidate);
  far.onicecandidate = ({ candidate }) => candidate && near.addIceCandidate(candidate);
  const heard = new Promise((resolve) => (far.ontrack = ({ streams }) => resolve(streams[0])));
  near.addTrack(track, stream);
  await near.setLocalDescription();
  await far.setRemoteDescription(near.localDescription);
  await far.setLocalDescription();
  await near.setRemoteDescription(far.localDescription);
  const farStream = await heard;
  await Object.assign(new Audio(), { srcObject: farStream, muted: true }).play(); // else nothing is decoded
  listenTo(farStream);
};

// A call between two pages, by simple-peer: an end begins, the other one answers, and hears what arrives.
const told = (peer) => new Promise((resolve) => peer.once("signal", (data) => resolve(JSON.stringify(data))));
const options = { trickle: false, config: { iceServers: [] } };

globalThis.begin = () => {
  globalThis.peer = new SimplePeer({ ...options, initiator: true, stream });
  return told(peer);
};

globalThis.answer = (offer) => {
  globalThis.peer = new SimplePeer(options);
  globalThis.arrived = new Promise((resolve) => peer.once("stream", resolve));
  peer.signal(offer);
  return told(peer);
};

globalThis.hear = async () => {
  const stream = await arrived;
  await Object.assign(new Audio(), { srcObject: stream, muted: true }).play();
  listenTo(stream);
};
