// The built site's modules under Node, whose fetch knows no files.
import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

/** @param {string} site folder @returns how to load a module of its engine, its manifest and its models */
export async function openSite(site) {
  globalThis.fetch = async (url) => {
    const bytes = readFileSync(new URL(url));
    return {
      ok: true,
      url,
      arrayBuffer: async () => bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length),
    };
  };
  const engine = `${site}/engine`;
  const load = (name) => import(pathToFileURL(`${engine}/${name}`).href);
  const manifest = JSON.parse(readFileSync(`${engine}/manifest.json`, "utf8"));
  const { Models } = await load("models.js");
  return { engine, load, manifest, models: new Models(manifest) };
}
