// The microphone's track in, an enhanced one out: it fits whatever takes a track. Here it is played.
import { denoiseTrack } from "../engine/pyenhance.js";
import { CALL } from "../other_strings.js";

const [start, status, far] = ["start", "status", "far"].map((id) => /** @type {any} */ (document.getElementById(id)));
const audio = { noiseSuppression: false, echoCancellation: true, autoGainControl: true };

start.onclick = async () => {
  const stream = await navigator.mediaDevices.getUserMedia({ audio });
  start.disabled = true;
  const { track, node } = await denoiseTrack(stream.getAudioTracks()[0]);
  status.textContent = CALL.untouched;
  node.ready.then(() => (status.textContent = CALL.heard));
  far.srcObject = new MediaStream([track]);
  far.play();
};
