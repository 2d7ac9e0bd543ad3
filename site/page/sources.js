// Where live sound comes from: a microphone, or the sample that the site brings along.
import { $ } from "./page.js";
import { TEXT } from "./strings.js";

// Two channels: a microphone may live on either of them, and the node mixes what carries sound.
const MICROPHONE = { echoCancellation: false, noiseSuppression: false, autoGainControl: false, channelCount: 2 };

/** @typedef {import("./switch.js").Holding} Holding */

/** @param {AudioContext} context @param {Holding} held */
export async function microphone(context, held) {
  const chosen = $("device").value;
  const deviceId = chosen ? { deviceId: { exact: chosen } } : {};
  const coming = navigator.mediaDevices.getUserMedia({ audio: { ...MICROPHONE, ...deviceId } });
  const stream = await held.acquire(coming, (stream) => stream.getTracks().forEach((track) => track.stop()));
  listDevices(); // their names are known once one was allowed
  return new MediaStreamAudioSourceNode(context, { mediaStream: stream });
}

/** Show the microphones that have a name. Returns all, the default one included. */
export async function listDevices() {
  if (!navigator.mediaDevices) return [];
  const devices = (await navigator.mediaDevices.enumerateDevices()).filter(({ kind }) => kind === "audioinput");
  const named = devices.filter(({ deviceId }) => deviceId && deviceId !== "default");
  const chosen = $("device").value;
  $("device").replaceChildren(
    new Option(TEXT.defaultDevice, ""),
    ...named.map(({ deviceId, label }) => new Option(label, deviceId)),
  );
  if (named.some(({ deviceId }) => deviceId === chosen)) $("device").value = chosen;
  $("device-row").hidden = named.length < 1;
  return devices;
}

/** @param {AudioContext} context @param {Holding} held */
export async function noisySample(context, held) {
  const reply = await fetch("sample.flac");
  if (!reply.ok) throw new Error(`sample.flac: ${reply.status}`);
  const buffer = await context.decodeAudioData(await reply.arrayBuffer());
  const node = new AudioBufferSourceNode(context, { buffer, loop: true });
  node.start();
  held.add(() => node.stop());
  return node;
}
