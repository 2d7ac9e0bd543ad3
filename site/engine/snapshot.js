// Python as it was once everything had been imported, kept on this device: the next start takes up from there instead of starting
// Python, unpacking wheels and importing modules again.
//
// Pyodide can write its memory down and start from it, but alone: files and dynamic libraries (numpy's, and our kernels') are not part
// of that memory. So they are kept beside it, and the libraries are put back where they were, in memory and in the table of functions,
// before the memory is. Whatever does not fit throws, and the worker starts as on a first visit.
//
// All of this is about Pyodide's and Emscripten's inner parts, so it is for one version. To take another: read what has changed in
// Pyodide's snapshots and in Emscripten's libdylink.js, set PYODIDE, and see tests/browser/test_start.py pass.

import { home } from "./place.js";

/** The version of Pyodide that this was written for. */
export const PYODIDE = "314.0.7";

/** Whether snapshots of a version of Pyodide can be used. @param {string} version */
export const knows = (version) => version === PYODIDE;

const ENTRY = "/snapshot";
const TRIED = "/tried"; // there while a start from it has not succeeded: one that hangs is not tried again
const PAGE = 65536;
const FOLDER = "/lib/python3.14/site-packages";

// The name of the cache; not one of those that sw.js tidies away.
const place = (/** @type {string} */ build, /** @type {URL} */ base) => `memory-of-pyenhance ${home(base)} ${build}`;

/** @typedef {{ name: string, handle: number, memoryBase: number, tableBase: number, tableSize: number, exported: [string, number][] }} Library */
/** @typedef {{ libraries: Library[], files: Map<string, Uint8Array<ArrayBuffer>>, memory: Uint8Array<ArrayBuffer> }} Snapshot */
/** @typedef {{ libraries: Library[], files: [string, number][], memory: number, used: number }} Facts */

/**
 * The snapshot of this build, or null where there is none that can be used.
 * @param {string} build
 * @param {URL} base
 * @returns {Promise<Snapshot | null>}
 */
export async function read(build, base) {
  const cache = await caches.open(place(build, base));
  const [reply, tried] = await Promise.all([cache.match(ENTRY), cache.match(TRIED)]);
  if (!reply || tried) return null;
  await cache.put(TRIED, new Response());
  const bytes = new Uint8Array(await reply.arrayBuffer());
  const [length] = new Uint32Array(bytes.buffer, 0, 1);
  /** @type {Facts} */
  const facts = JSON.parse(new TextDecoder().decode(bytes.subarray(4, 4 + length)));
  const whole = facts.files.reduce((sum, [, size]) => sum + size, 4 + length + facts.used);
  if (bytes.length !== whole) throw new Error(`the snapshot has ${bytes.length} bytes instead of ${whole}`);
  const memory = new Uint8Array(facts.memory);
  memory.set(bytes.subarray(bytes.length - facts.used));
  const contents = bytes.slice(4 + length, bytes.length - facts.used); // a copy: files stay, the rest may go
  let at = 0;
  const files = new Map(facts.files.map(([path, size]) => [path, contents.subarray(at, (at += size))]));
  return { libraries: facts.libraries, files, memory };
}

/** A snapshot, as a Blob, of a Python that was loaded with _makeSnapshot. @param {import("../types/pyodide").Pyodide} pyodide */
export function take(pyodide) {
  if (!knows(pyodide.version)) throw new Error(`Pyodide's version is ${pyodide.version}; accepted: ${PYODIDE}`);
  const packages = { ...pyodide.loadedPackages }; // Pyodide would not expect any
  for (const name in packages) delete pyodide.loadedPackages[name];
  const memory = pyodide.makeMemorySnapshot();
  Object.assign(pyodide.loadedPackages, packages);
  let used = memory.length;
  while (used >= PAGE && memory.subarray(used - PAGE, used).every((byte) => byte === 0)) used -= PAGE;
  const files = [...walk(pyodide.FS, FOLDER)].map((path) => ({ path, data: pyodide.FS.readFile(path) }));
  /** @type {Facts} */
  const facts = {
    libraries: libraries(pyodide._module),
    files: files.map(({ path, data }) => [path, data.length]),
    memory: memory.length,
    used,
  };
  const text = new TextEncoder().encode(JSON.stringify(facts));
  const parts = [Uint32Array.of(text.length), text, ...files.map(({ data }) => data), memory.subarray(0, used)];
  return new Blob(/** @type {BlobPart[]} */ (parts));
}

/** Keep it for the next start; those of other builds go. @param {Blob} snapshot @param {string} build @param {URL} base */
export async function keep(snapshot, build, base) {
  await forget(base);
  await (await caches.open(place(build, base))).put(ENTRY, new Response(snapshot));
}

/** The start from it has succeeded. @param {string} build @param {URL} base */
export async function worked(build, base) {
  await (await caches.open(place(build, base))).delete(TRIED);
}

/** Drop all snapshots of the site at `base`. @param {URL} base */
export async function forget(base) {
  for (const name of await caches.keys()) if (name.startsWith(place("", base))) await caches.delete(name);
}

/**
 * What loadPyodide needs to start from a snapshot. createModule: the default export of pyodide.asm.mjs.
 * @param {Snapshot} snapshot
 * @param {(settings: object) => Promise<import("../types/pyodide").Module>} createModule
 */
export function options({ libraries, files, memory }, createModule) {
  const code = ({ name = "" }) => files.get(name) ?? new Uint8Array();
  const modules = libraries.map((library) => WebAssembly.compile(code(library))); // while other things are fetched
  for (const module of modules) module.catch(() => {});
  return {
    _loadSnapshot: memory,
    createPyodideModule: async (/** @type {object} */ settings) => {
      const module = await createModule(settings);
      for (const [path, data] of files) {
        module.FS.mkdirTree(path.slice(0, path.lastIndexOf("/")));
        module.FS.writeFile(path, data, { canOwn: true });
      }
      const [, header] = new Uint32Array(memory.buffer, 0, 2); // bytes before the memory itself
      const size = memory.length - header;
      if (module.HEAPU8.length < size) module.growMemory(size);
      for (let i = 0; i < libraries.length; i++) await putBack(module, libraries[i], await modules[i]);
      return module;
    },
  };
}

/** @param {import("../types/pyodide").EmscriptenFs} fs @param {string} folder @returns {Generator<string>} */
function* walk(fs, folder) {
  for (const name of fs.readdir(folder)) {
    const path = `${folder}/${name}`;
    if (name === "." || name === "..") continue;
    if (fs.isDir(fs.stat(path).mode)) yield* walk(fs, path);
    else yield path;
  }
}

/**
 * The dynamic libraries in the order in which they were loaded, and where each lies: Emscripten keeps a record of it.
 * @param {import("../types/pyodide").Module} module
 * @returns {Library[]}
 */
function libraries(module) {
  const { HEAPU32, LDSO, wasmTable } = module;
  /** @type {Map<unknown, number>} */
  const places = new Map(Array.from({ length: wasmTable.length }, (_, at) => [wasmTable.get(at), at]));
  return Object.values(LDSO.loadedLibsByName)
    .filter(({ name }) => name !== "__main__")
    .map((library) => {
      const handle = Number(
        Object.keys(LDSO.loadedLibsByHandle).find((key) => LDSO.loadedLibsByHandle[key] === library),
      );
      const [memoryBase, tableBase, tableSize] = [12, 20, 24].map((at) => HEAPU32[(handle + at) >>> 2]);
      const functions = Object.entries(library.exports).filter(([, value]) => places.has(value));
      const exported = functions.map(
        ([symbol, value]) => /** @type {[string, number]} */ ([symbol, places.get(value)]),
      );
      return { name: library.name, handle, memoryBase, tableBase, tableSize, exported };
    });
}

/**
 * Load a library to the very place that it had, as Emscripten's loadWebAssemblyModule does, less what the memory will bring: its
 * relocations, and what its constructors did.
 * @param {import("../types/pyodide").Module} module
 * @param {Library} library
 * @param {WebAssembly.Module} compiled
 */
async function putBack(module, { name, handle, memoryBase, tableBase, tableSize, exported }, compiled) {
  const { LDSO, wasmTable } = module;
  const upTo = (/** @type {number} */ length) => wasmTable.length < length && wasmTable.grow(length - wasmTable.length);
  if (tableSize) {
    upTo(tableBase);
    if (wasmTable.length !== tableBase)
      throw new Error(`${name}'s functions were at ${tableBase}, not ${wasmTable.length}`);
    wasmTable.grow(tableSize);
  }
  /** @type {Record<string, (...values: unknown[]) => unknown>} */
  let own;
  const globals = new Proxy(module.getDylinkMetadata(compiled).weakImports, module.GOTHandler);
  const find = (/** @type {Record<string, unknown>} */ late, /** @type {string} */ symbol) => {
    if (symbol === "__memory_base") return memoryBase;
    if (symbol === "__table_base") return tableBase;
    return (
      module.resolveGlobalSymbol(symbol).sym ??
      (late[symbol] ??= (/** @type {unknown[]} */ ...values) => own[symbol](...values))
    );
  };
  const env = new Proxy({}, { get: (late, symbol) => find(late, String(symbol)) });
  const imports = /** @type {WebAssembly.Imports} */ (
    /** @type {unknown} */ ({ env, wasi_snapshot_preview1: env, "GOT.mem": globals, "GOT.func": globals })
  );
  const instance = await WebAssembly.instantiate(compiled, imports);
  module.updateTableMap(tableBase, tableSize);
  own = module.relocateExports(instance.exports, memoryBase);
  module.updateGOT(own);
  module.reportUndefinedSymbols();
  for (const [symbol, at] of exported) {
    upTo(at + 1);
    if (wasmTable.get(at) !== own[symbol]) wasmTable.set(at, own[symbol]);
  }
  LDSO.loadedLibsByName[name] = LDSO.loadedLibsByHandle[handle] = {
    refcount: Infinity,
    name,
    exports: own,
    global: false,
  };
}
