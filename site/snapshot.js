// Python as it was once everything had been imported, kept on this device: the next start takes up from there instead of starting
// Python, unpacking wheels and importing modules again.
//
// Pyodide can write its memory down and start from it, but alone: files and dynamic libraries (numpy's, and our kernels') are not part
// of that memory. So they are kept beside it, and the libraries are put back where they were, in memory and in the table of functions,
// before the memory is. Whatever does not fit throws, and the worker starts as on a first visit.

const ENTRY = "/snapshot";
const TRIED = "/tried"; // there while a start from it has not succeeded: one that hangs is not tried again
const PAGE = 65536;
const FOLDER = "/lib/python3.14/site-packages";

// The name of the cache; not one of those that sw.js tidies away.
const place = (build, base) => `memory-of-pyenhance ${new URL(base).pathname} ${build}`;

// The snapshot of this build, or null where there is none that can be used.
export async function read(build, base) {
  const cache = await caches.open(place(build, base));
  const [reply, tried] = await Promise.all([cache.match(ENTRY), cache.match(TRIED)]);
  if (!reply || tried) return null;
  await cache.put(TRIED, new Response());
  const bytes = new Uint8Array(await reply.arrayBuffer());
  const [length] = new Uint32Array(bytes.buffer, 0, 1);
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

// A snapshot, as a Blob, of a Python that was loaded with _makeSnapshot.
export function take(pyodide) {
  const packages = { ...pyodide.loadedPackages }; // Pyodide would not expect any
  for (const name in packages) delete pyodide.loadedPackages[name];
  const memory = pyodide.makeMemorySnapshot();
  Object.assign(pyodide.loadedPackages, packages);
  let used = memory.length;
  while (used >= PAGE && memory.subarray(used - PAGE, used).every((byte) => byte === 0)) used -= PAGE;
  const files = [...walk(pyodide.FS, FOLDER)].map((path) => [path, pyodide.FS.readFile(path)]);
  const facts = {
    libraries: libraries(pyodide._module),
    files: files.map(([path, data]) => [path, data.length]),
    memory: memory.length,
    used,
  };
  const text = new TextEncoder().encode(JSON.stringify(facts));
  return new Blob([Uint32Array.of(text.length), text, ...files.map(([, data]) => data), memory.subarray(0, used)]);
}

// Keep it for the next start; those of other builds go.
export async function keep(snapshot, build, base) {
  await forget(base);
  await (await caches.open(place(build, base))).put(ENTRY, new Response(snapshot));
}

// The start from it has succeeded.
export async function worked(build, base) {
  await (await caches.open(place(build, base))).delete(TRIED);
}

// Drop all snapshots of the site at `base`.
export async function forget(base) {
  for (const name of await caches.keys()) if (name.startsWith(place("", base))) await caches.delete(name);
}

// What loadPyodide needs to start from a snapshot. createModule: the default export of pyodide.asm.mjs.
export function options({ libraries, files, memory }, createModule) {
  const modules = libraries.map(({ name }) => WebAssembly.compile(files.get(name))); // while other things are fetched
  for (const module of modules) module.catch(() => {});
  return {
    _loadSnapshot: memory,
    createPyodideModule: async (settings) => {
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

function* walk(fs, folder) {
  for (const name of fs.readdir(folder)) {
    const path = `${folder}/${name}`;
    if (name === "." || name === "..") continue;
    if (fs.isDir(fs.stat(path).mode)) yield* walk(fs, path);
    else yield path;
  }
}

// The dynamic libraries in the order in which they were loaded, and where each lies: Emscripten keeps a record of it.
function libraries(module) {
  const { HEAPU32, LDSO, wasmTable } = module;
  const places = new Map(Array.from({ length: wasmTable.length }, (_, at) => [wasmTable.get(at), at]));
  return Object.values(LDSO.loadedLibsByName)
    .filter(({ name }) => name !== "__main__")
    .map((library) => {
      const handle = Number(
        Object.keys(LDSO.loadedLibsByHandle).find((key) => LDSO.loadedLibsByHandle[key] === library),
      );
      const [memoryBase, tableBase, tableSize] = [12, 20, 24].map((at) => HEAPU32[(handle + at) >>> 2]);
      const functions = Object.entries(library.exports).filter(([, value]) => places.has(value));
      const exported = functions.map(([symbol, value]) => [symbol, places.get(value)]);
      return { name: library.name, handle, memoryBase, tableBase, tableSize, exported };
    });
}

// Load a library to the very place that it had, as Emscripten's loadWebAssemblyModule does, less what the memory will bring: its
// relocations, and what its constructors did.
async function putBack(module, { name, handle, memoryBase, tableBase, tableSize, exported }, compiled) {
  const { LDSO, wasmTable } = module;
  const upTo = (length) => wasmTable.length < length && wasmTable.grow(length - wasmTable.length);
  if (tableSize) {
    upTo(tableBase);
    if (wasmTable.length !== tableBase)
      throw new Error(`${name}'s functions were at ${tableBase}, not ${wasmTable.length}`);
    wasmTable.grow(tableSize);
  }
  let own;
  const globals = new Proxy(module.getDylinkMetadata(compiled).weakImports, module.GOTHandler);
  const find = (late, symbol) => {
    if (symbol === "__memory_base") return memoryBase;
    if (symbol === "__table_base") return tableBase;
    return module.resolveGlobalSymbol(symbol).sym ?? (late[symbol] ??= (...values) => own[symbol](...values));
  };
  const env = new Proxy({}, { get: find });
  const imports = { env, wasi_snapshot_preview1: env, "GOT.mem": globals, "GOT.func": globals };
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
