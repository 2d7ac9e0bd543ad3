// What this site uses of Pyodide, its inner parts too (snapshot.js): they are those of the version that versions.env names.

export interface PyBuffer {
  data: Float32Array;
  release(): void;
}

/** Anything in Python, by its attributes. */
export interface PyProxy {
  (...values: unknown[]): unknown;
  destroy(): void;
  toJs(options: object): unknown;
  getBuffer(type: string): PyBuffer;
  // eslint-disable-next-line @typescript-eslint/no-explicit-any
  [attribute: string]: any;
}

export interface EmscriptenFs {
  readdir(folder: string): string[];
  readFile(path: string): Uint8Array;
  writeFile(path: string, data: Uint8Array, options: object): void;
  mkdirTree(path: string): void;
  stat(path: string): { mode: number };
  isDir(mode: number): boolean;
  analyzePath(path: string): { exists: boolean };
}

export interface DynamicLibrary {
  name: string;
  exports: Record<string, unknown>;
  refcount?: number;
  global?: boolean;
}

/** Emscripten's module, as Pyodide builds it. */
export interface Module {
  HEAPU8: Uint8Array;
  HEAPU32: Uint32Array;
  FS: EmscriptenFs;
  LDSO: { loadedLibsByName: Record<string, DynamicLibrary>; loadedLibsByHandle: Record<string, DynamicLibrary> };
  wasmTable: WebAssembly.Table;
  GOTHandler: ProxyHandler<Set<string>>;
  growMemory(size: number): void;
  getDylinkMetadata(module: WebAssembly.Module): { weakImports: Set<string> };
  resolveGlobalSymbol(symbol: string): { sym?: unknown };
  updateTableMap(base: number, size: number): void;
  relocateExports(exports: WebAssembly.Exports, base: number): Record<string, (...values: unknown[]) => unknown>;
  updateGOT(exports: object): void;
  reportUndefinedSymbols(): void;
}

export interface Pyodide {
  version: string;
  FS: EmscriptenFs;
  ffi: { PyProxy: new () => PyProxy };
  loadedPackages: Record<string, string>;
  _module: Module;
  _api: { config: { _loadSnapshot?: Uint8Array } };
  pyimport(name: string): PyProxy;
  toPy(value: unknown): PyProxy;
  loadPackage(name: string): Promise<{ name: string }[]>;
  makeMemorySnapshot(): Uint8Array;
}
