// The enhanced microphone as a WebRTC track. Both ends of the call are in this page; a real call has its own signalling.
import { createDenoiser } from "../engine/pyenhance.js";
import { CALL, TEXT } from "../strings.js";

/** @template {keyof import("../../types/elements").Elements} Id @param {Id} id @returns {import("../../types/elements").Elements[Id]} */
const $ = (id) => /** @type {any} */ (document.getElementById(id));
const AUDIO = { noiseSuppression: false, echoCancellation: true, autoGainControl: true };
/** @type {{ microphone: MediaStream, context: AudioContext, denoiser: import("../engine/pyenhance.js").Denoiser, near: RTCPeerConnection, far: RTCPeerConnection } | null} */
let call = null;

async function enhancedMicrophone() {
  const microphone = await navigator.mediaDevices.getUserMedia({ audio: AUDIO });
  const context = new AudioContext({ sampleRate: 48000 });
  try {
    const source = new MediaStreamAudioSourceNode(context, { mediaStream: microphone });
    const denoiser = await createDenoiser(context);
    const out = new MediaStreamAudioDestinationNode(context, { channelCount: 1 });
    source.connect(denoiser).connect(out);
    return { microphone, context, denoiser, stream: out.stream };
  } catch (error) {
    release({ microphone, context });
    throw error;
  }
}

/** What was acquired; the denoiser goes with its context. @param {{ microphone: MediaStream, context: AudioContext }} acquired */
function release({ microphone, context }) {
  microphone.getTracks().forEach((track) => track.stop());
  context.close();
}

/** @param {MediaStream} stream @param {(stream: MediaStream) => void} onTrack */
async function connect(stream, onTrack) {
  const near = new RTCPeerConnection();
  const far = new RTCPeerConnection();
  near.onicecandidate = ({ candidate }) => candidate && far.addIceCandidate(candidate);
  far.onicecandidate = ({ candidate }) => candidate && near.addIceCandidate(candidate);
  far.ontrack = ({ streams }) => onTrack(streams[0]);
  for (const track of stream.getAudioTracks()) near.addTrack(track, stream);
  const described = (/** @type {RTCPeerConnection} */ peer) =>
    /** @type {RTCSessionDescription} */ (peer.localDescription);
  await near.setLocalDescription();
  await far.setRemoteDescription(described(near));
  await far.setLocalDescription();
  await near.setRemoteDescription(described(far));
  return { near, far };
}

async function start() {
  $("call").disabled = true;
  /** @type {Awaited<ReturnType<typeof enhancedMicrophone>> | undefined} */
  let own;
  try {
    own = await enhancedMicrophone();
    const peers = await connect(own.stream, (stream) => {
      $("far").srcObject = stream;
      $("far").play();
    });
    call = { ...own, ...peers };
    Object.assign(window, { call });
    $("status").textContent = CALL.loading;
    own.denoiser.addEventListener("ready", () => ($("status").textContent = CALL.enhanced));
    own.denoiser.addEventListener("error", ({ error }) => ($("status").textContent = CALL.notEnhanced(error.message)));
    $("toggle").disabled = $("end").disabled = false;
  } catch (error) {
    if (own) release(own);
    $("status").textContent = CALL.failed(/** @type {Error} */ (error).message);
    $("call").disabled = false;
  }
}

function hangUp() {
  if (!call) return;
  call.near.close();
  call.far.close();
  call.denoiser.dispose();
  release(call);
  call = null;
  $("status").textContent = CALL.ended;
  $("call").disabled = false;
  $("toggle").disabled = $("end").disabled = true;
}

$("call").addEventListener("click", start);
$("end").addEventListener("click", hangUp);
$("toggle").addEventListener("click", () => {
  if (!call) return;
  const { denoiser } = call;
  denoiser.bypass = !denoiser.bypass;
  $("toggle").setAttribute("aria-pressed", String(!denoiser.bypass));
  $("toggle").textContent = denoiser.bypass ? TEXT.enhancementOff : TEXT.enhancementOn;
});
