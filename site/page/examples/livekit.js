// LiveKit's microphone with an enhancer as its processor. In a call it would go on to room.localParticipant.publishTrack(microphone),
// and the room would bring the audio context; without a room the page does.
import { PyenhanceProcessor } from "../engine/pyenhance.js";
import { CALL } from "../other_strings.js";

/** @template {keyof import("../../types/elements").Elements} Id @param {Id} id @returns {import("../../types/elements").Elements[Id]} */
const $ = (id) => /** @type {any} */ (document.getElementById(id));
/** @type {{ context: AudioContext, microphone: import("./livekit-client.esm.mjs").LocalAudioTrack, processor: PyenhanceProcessor } | null} */
let call = null;

async function start() {
  $("start").disabled = true;
  const context = new AudioContext({ sampleRate: 48000 });
  let microphone;
  try {
    const { createLocalAudioTrack } = await import("./livekit-client.esm.mjs");
    microphone = await createLocalAudioTrack({ noiseSuppression: false, echoCancellation: true });
    const processor = new PyenhanceProcessor();
    await microphone.setAudioContext(context); // before setProcessor, which needs one
    await microphone.setProcessor(processor);
    microphone.attach($("far"));
    call = { context, microphone, processor };
    Object.assign(window, { call });
    $("status").textContent = CALL.untouched;
    processor.node?.ready.then(() => ($("status").textContent = CALL.heard));
    $("toggle").disabled = $("end").disabled = false;
  } catch (error) {
    microphone?.stop();
    context.close();
    $("status").textContent = CALL.failed(/** @type {Error} */ (error).message);
    $("start").disabled = false;
  }
}

function end() {
  if (!call) return;
  call.microphone.stop(); // and with it the processor
  call.context.close();
  call = null;
  $("status").textContent = CALL.ended;
  $("start").disabled = false;
  $("toggle").disabled = $("end").disabled = true;
}

$("start").addEventListener("click", start);
$("end").addEventListener("click", end);
$("toggle").addEventListener("click", async () => {
  if (!call) return;
  const { microphone } = call;
  await (microphone.isMuted ? microphone.unmute() : microphone.mute());
  $("toggle").setAttribute("aria-pressed", String(microphone.isMuted));
});
