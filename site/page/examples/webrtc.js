// The enhanced microphone as a WebRTC track. Both ends of the call are in this page; a real call has its own signalling.
import { createDenoiser } from "../engine/pyenhance.js";

const $ = (id) => document.getElementById(id);
const AUDIO = { noiseSuppression: false, echoCancellation: true, autoGainControl: true };
let call = null;

async function enhancedMicrophone() {
  const microphone = await navigator.mediaDevices.getUserMedia({ audio: AUDIO });
  const context = new AudioContext({ sampleRate: 48000 });
  const source = new MediaStreamAudioSourceNode(context, { mediaStream: microphone });
  const denoiser = await createDenoiser(context);
  const out = new MediaStreamAudioDestinationNode(context, { channelCount: 1 });
  source.connect(denoiser).connect(out);
  return { microphone, context, denoiser, stream: out.stream };
}

async function connect(stream, onTrack) {
  const near = new RTCPeerConnection();
  const far = new RTCPeerConnection();
  near.onicecandidate = ({ candidate }) => far.addIceCandidate(candidate);
  far.onicecandidate = ({ candidate }) => near.addIceCandidate(candidate);
  far.ontrack = ({ streams }) => onTrack(streams[0]);
  for (const track of stream.getAudioTracks()) near.addTrack(track, stream);
  await near.setLocalDescription();
  await far.setRemoteDescription(near.localDescription);
  await far.setLocalDescription();
  await near.setRemoteDescription(far.localDescription);
  return { near, far };
}

async function start() {
  $("call").disabled = true;
  try {
    const own = await enhancedMicrophone();
    const peers = await connect(own.stream, (stream) => {
      $("far").srcObject = stream;
      $("far").play();
    });
    call = { ...own, ...peers };
    window.call = call;
    $("status").textContent = "Connected. The enhancer is loading; until then the untouched sound is sent.";
    own.denoiser.addEventListener("ready", () => ($("status").textContent = "Connected, and enhanced."));
    own.denoiser.addEventListener("error", ({ error }) => ($("status").textContent = `Not enhanced: ${error.message}`));
    $("toggle").disabled = $("end").disabled = false;
  } catch (error) {
    $("status").textContent = `No call: ${error.message}`;
    $("call").disabled = false;
  }
}

function hangUp() {
  call.near.close();
  call.far.close();
  call.denoiser.dispose();
  call.microphone.getTracks().forEach((track) => track.stop());
  call.context.close();
  call = null;
  $("status").textContent = "Not connected.";
  $("call").disabled = false;
  $("toggle").disabled = $("end").disabled = true;
}

$("call").addEventListener("click", start);
$("end").addEventListener("click", hangUp);
$("toggle").addEventListener("click", () => {
  const { denoiser } = call;
  denoiser.bypass = !denoiser.bypass;
  $("toggle").setAttribute("aria-pressed", String(!denoiser.bypass));
  $("toggle").textContent = denoiser.bypass ? "Enhancement off" : "Enhancement on";
});
