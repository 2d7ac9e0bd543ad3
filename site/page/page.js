// What both pages do alike.
import { $, toDb } from "./elements.js";
import { Engine, SAMPLE_RATE } from "./engine/pyenhance.js";
import { TEXT } from "./strings.js";
import { loadVerified as verified } from "./verified.js";

export { $, toDb };

const STAGES = { python: 0.75, numpy: 0.85, model: 0.95 }; // how far the bar is; before them, the download

/** An engine whose loading the progress bar follows. @param {(text: string) => void} say shows a sentence @param {string} [model] */
export function openEngine(say, model) {
  const bar = $("progress");
  bar.classList.remove("done");
  const engine = new Engine({
    model,
    onProgress: ({ stage, done, total }) => {
      say(TEXT.loading[stage](done, total));
      bar.value = stage === "download" ? 0.7 * (done / total) : STAGES[stage];
    },
  });
  const finish = () => bar.classList.add("done");
  engine.ready.then(finish, finish);
  return engine;
}

/** Channels of a recording, at 48 kHz: a context of that rate decodes to it, whatever the file's own. @param {ArrayBuffer} data */
export async function decodeSound(data) {
  const sound = await new OfflineAudioContext(1, 1, SAMPLE_RATE).decodeAudioData(data);
  return Array.from({ length: sound.numberOfChannels }, (_, c) => sound.getChannelData(c).slice());
}

/** See verified.js. @param {string} name @param {string[]} imports */
export async function loadVerified(name, ...imports) {
  try {
    return await verified(name, ...imports);
  } catch (cause) {
    throw new Error(TEXT.scriptFailed(name), { cause });
  }
}

/** Hand a file to the browser, to be kept. @param {Blob} blob @param {string} name */
export function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
}

/** Why there is no microphone, in words that help. @param {unknown} error */
export function explainMicrophone(error) {
  const { name, message } = /** @type {Error} */ (error);
  /** @type {Record<string, string>} */
  const known = {
    NotAllowedError: TEXT.denied,
    NotFoundError: TEXT.absent,
    OverconstrainedError: TEXT.absent,
    NotReadableError: TEXT.busy,
  };
  return known[name] ?? TEXT.failed(message);
}
