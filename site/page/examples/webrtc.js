// The enhanced microphone as a WebRTC track. Both ends of the call are in this page; a real call has its own signalling.
import { denoiseTrack } from "../engine/pyenhance.js";
import { CALL } from "../other_strings.js";
import { TEXT } from "../strings.js";

/** @template {keyof import("../../types/elements").Elements} Id @param {Id} id @returns {import("../../types/elements").Elements[Id]} */
const $ = (id) => /** @type {any} */ (document.getElementById(id));
const AUDIO = { noiseSuppression: false, echoCancellation: true, autoGainControl: true };
/** @type {(import("../engine/pyenhance.js").EnhancedMicrophone & { near: RTCPeerConnection, far: RTCPeerConnection }) | null} */
let call = null;

async function enhancedMicrophone() {
  const [microphone] = (await navigator.mediaDevices.getUserMedia({ audio: AUDIO })).getAudioTracks();
  try {
    return await denoiseTrack(microphone);
  } catch (error) {
    microphone.stop();
    throw error;
  }
}

/** @param {MediaStreamTrack} track @param {(stream: MediaStream) => void} onTrack */
async function connect(track, onTrack) {
  const near = new RTCPeerConnection();
  const far = new RTCPeerConnection();
  near.onicecandidate = ({ candidate }) => candidate && far.addIceCandidate(candidate);
  far.onicecandidate = ({ candidate }) => candidate && near.addIceCandidate(candidate);
  far.ontrack = (event) => onTrack(new MediaStream([event.track]));
  const { sender } = near.addTransceiver("audio", { direction: "sendonly" });
  await sender.replaceTrack(track); // so it is in a call that goes on already
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
    const peers = await connect(own.track, (stream) => {
      $("far").srcObject = stream;
      $("far").play();
    });
    call = { ...own, ...peers };
    Object.assign(window, { call });
    $("status").textContent = CALL.loading;
    own.node.addEventListener("ready", () => ($("status").textContent = CALL.enhanced));
    own.node.addEventListener("error", ({ error }) => ($("status").textContent = CALL.notEnhanced(error.message)));
    $("toggle").disabled = $("end").disabled = false;
  } catch (error) {
    own?.track.stop();
    $("status").textContent = CALL.failed(/** @type {Error} */ (error).message);
    $("call").disabled = false;
  }
}

function hangUp() {
  if (!call) return;
  call.near.close();
  call.far.close();
  call.track.stop(); // and with it the microphone and the node
  call = null;
  $("status").textContent = CALL.ended;
  $("call").disabled = false;
  $("toggle").disabled = $("end").disabled = true;
}

$("call").addEventListener("click", start);
$("end").addEventListener("click", hangUp);
$("toggle").addEventListener("click", () => {
  if (!call) return;
  const { node } = call;
  node.bypass = !node.bypass;
  $("toggle").setAttribute("aria-pressed", String(!node.bypass));
  $("toggle").textContent = node.bypass ? TEXT.enhancementOff : TEXT.enhancementOn;
});
