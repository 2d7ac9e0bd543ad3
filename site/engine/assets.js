#!/usr/bin/env node
// pyenhance-assets FOLDER: put what a page loads at run time (workers, worklet, compiled code, models) where it is served from, in a
// folder that has the build's name. Those of earlier builds go.
import { cp, readFile, readdir, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { argv, exit } from "node:process";
import { fileURLToPath } from "node:url";

const PACKAGE = fileURLToPath(new URL("./", import.meta.url));

/** The build whose files a folder holds; undefined where it holds none. @param {string} folder @returns {Promise<string | undefined>} */
async function buildIn(folder) {
  try {
    return JSON.parse(await readFile(join(folder, "manifest.json"), "utf8")).build;
  } catch {
    return undefined;
  }
}

/** @param {string} folder */
async function fill(folder) {
  const build = await buildIn(PACKAGE);
  if (!build) throw new Error(`no manifest.json in ${PACKAGE}; accepted: a package that was built`);
  if ((await buildIn(join(folder, build))) !== build) {
    const part = join(folder, `${build}.part`);
    try {
      await cp(PACKAGE, part, { recursive: true });
      await rename(part, join(folder, build)); // whole or not there
    } catch (error) {
      await rm(part, { recursive: true, force: true });
      throw error;
    }
  }
  for (const name of await readdir(folder))
    if (name !== build && (await buildIn(join(folder, name))) === name)
      await rm(join(folder, name), { recursive: true });
  return join(folder, build);
}

const [folder, ...more] = argv.slice(2);
if (!folder || folder.startsWith("-") || more.length) {
  console.error(
    `pyenhance-assets: ${argv.slice(2).join(" ") || "no folder"}; accepted: FOLDER, one that the page's server serves`,
  );
  exit(2);
}
try {
  console.log(await fill(folder));
} catch (error) {
  console.error(`pyenhance-assets: ${error instanceof Error ? error.message : error}`);
  exit(1);
}
