// Models fitted to users, on their own device: made of two recordings, and kept as diffs, a profile for each room and microphone.
import * as kept from "./kept.js";
import { Resampler } from "./resampler.js";
import { SAMPLE_RATE } from "./ring.js";

/** @typedef {import("./pyenhance.d.ts").Profile} Profile */
/** @typedef {import("./updates.js").Versions} Versions */

/**
 * See Engine.adapt.
 * @param {Versions} engine
 * @param {import("./pyenhance.d.ts").AdaptOptions} options
 * @returns {Promise<import("./pyenhance.d.ts").Adaptation>}
 */
export async function adapt(
  engine,
  { voice, noise, model = engine.model, sampleRate = SAMPLE_RATE, onProgress, signal },
) {
  signal?.throwIfAborted();
  const begin = performance.now();
  const adaptation = engine.number();
  const sounds = { voice: converted(voice, sampleRate), noise: converted(noise, sampleRate) };
  const heard = (/** @type {{ done: number, total: number }} */ { done, total }) =>
    signal?.aborted || onProgress?.(done / total);
  const asked = engine.ask("adapt", { adaptation, model, ...sounds }, heard);
  const { figures, ...made } = await orAborted(asked, signal, () => engine.send("end-adapting", { adaptation }));
  return { model, kept: true, seconds: (performance.now() - begin) / 1000, ...figures, ...made };
}

/** @param {Float32Array} sound @param {number} rate */
function converted(sound, rate) {
  return rate === SAMPLE_RATE ? sound : new Resampler(rate, SAMPLE_RATE).process(sound).slice();
}

/** @template T @param {Promise<T>} asked @param {AbortSignal | undefined} signal @param {() => void} end @returns {Promise<T>} */
function orAborted(asked, signal, end) {
  return new Promise((resolve, reject) => {
    const stop = () => {
      end();
      reject(signal?.reason);
    };
    signal?.addEventListener("abort", stop);
    asked.then(resolve, reject).finally(() => signal?.removeEventListener("abort", stop));
  });
}

/** See pyenhance.d.ts. */
export class Profiles {
  #folder;
  #versions;
  #inTurn;

  /**
   * @param {URL} folder of the library's files
   * @param {() => Promise<Versions>} versions
   * @param {<T>(work: () => Promise<T>) => Promise<T>} inTurn one change after the other
   */
  constructor(folder, versions, inTurn) {
    this.#folder = folder;
    this.#versions = versions;
    this.#inTurn = inTurn;
  }

  async list() {
    const engine = await this.#versions();
    const profiles = await kept.profiles(this.#folder);
    return Promise.all(
      profiles.map(async (profile) => ({
        ...profile,
        fits: profile.base === (await versionOf(engine, profile.model)),
      })),
    );
  }

  /** @param {{ name: string, microphone?: string, model?: string, diff: Uint8Array }} given @returns {Promise<Profile>} */
  async keep({ name, microphone = "", model, diff }) {
    if (!name) throw new RangeError("the profile has no name; accepted: any text");
    const engine = await this.#versions();
    const of = model ?? engine.model;
    const { sha256 } = await engine.ask("update", { model: of, diffs: [diff] }); // which checks all that can be wrong
    const base = await versionOf(engine, of);
    const profile = { name, microphone, model: of, base, sha256, bytes: diff.length, active: true };
    await kept.writeProfile(profile, diff, this.#folder);
    await this.activate(name, true);
    return profile;
  }

  /** @param {string | null} name */
  use(name) {
    return this.#inTurn(async () => {
      const engine = await this.#versions();
      if (name === null) return engine.goOnWith();
      const { profile, diff } = await this.#read(name);
      const made = await engine.ask("update", { model: profile.model, diffs: [diff] });
      return engine.goOnWith(made, `${profile.model}-fitted-${made.sha256.slice(0, 8)}`, profile);
    });
  }

  /** @param {string} name @param {boolean} active */
  async activate(name, active) {
    const { profile: chosen } = await this.#read(name);
    for (const { microphone, model, ...rest } of await kept.profiles(this.#folder)) {
      const others = rest.name !== name;
      if (microphone !== chosen.microphone || model !== chosen.model || (others && !(active && rest.active))) continue;
      const { profile, diff } = await this.#read(rest.name);
      await kept.writeProfile({ ...profile, active: active && !others }, diff, this.#folder);
    }
  }

  /** @param {string} microphone @returns {Promise<Profile | null>} */
  async chosen(microphone) {
    const { model } = await this.#versions();
    const fitting = (await this.list()).filter((profile) => profile.active && profile.fits && profile.model === model);
    const of = (/** @type {string} */ label) => fitting.find((profile) => isSame(profile.microphone, label));
    const found = of(microphone) ?? of("");
    if (!found) return null;
    const { fits: _, ...profile } = found;
    return profile;
  }

  /** @param {string} name @returns {Promise<Uint8Array>} */
  async diff(name) {
    return (await this.#read(name)).diff;
  }

  /** @param {string} name @param {{ clip?: number, noiseMultiplier?: number }} [terms] */
  async share(name, { clip = 1, noiseMultiplier = 1 } = {}) {
    const engine = await this.#versions();
    const { profile, diff } = await this.#read(name);
    const terms = { clip, noise_multiplier: noiseMultiplier };
    const { update, facts } = await engine.ask("share", { model: profile.model, diff, ...terms });
    return { update, ...facts };
  }

  /** @param {string} name */
  async forget(name) {
    await this.#read(name);
    const { profile } = await this.#versions();
    if (profile?.name === name) await this.use(null);
    await kept.forgetProfile(name, this.#folder);
  }

  /** @param {string} name */
  async #read(name) {
    const found = await kept.readProfile(name, this.#folder);
    if (found) return found;
    const names = (await kept.profiles(this.#folder)).map((profile) => profile.name);
    throw new RangeError(`profile ${JSON.stringify(name)} is not kept here; accepted: ${names.join(", ") || "none"}`);
  }
}

/** Of a model, the sum of the version that is in use here, or would be. @param {Versions} engine @param {string} model */
async function versionOf({ model: used, sha256, manifest, folder }, model) {
  if (model === used) return sha256;
  const { weights } = manifest.models[model] ?? {};
  return (await kept.version(model, kept.codeOf(manifest), folder)) ?? manifest.files[weights]?.sha256 ?? "";
}

/** Chromium puts a word of the user's language before the label of the system's choice. @param {string} one @param {string} other */
function isSame(one, other) {
  return one === other || (one && other && (one.endsWith(` - ${other}`) || other.endsWith(` - ${one}`)));
}
