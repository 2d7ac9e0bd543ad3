// What engine/assets.js uses of Node.

declare module "node:fs/promises" {
  export function cp(from: string, to: string, options: { recursive: true }): Promise<void>;
  export function readFile(path: string, encoding: "utf8"): Promise<string>;
  export function readdir(path: string): Promise<string[]>;
  export function rename(from: string, to: string): Promise<void>;
  export function rm(path: string, options: { recursive: true; force?: boolean }): Promise<void>;
}
declare module "node:path" {
  export function join(...parts: string[]): string;
}
declare module "node:process" {
  export const argv: string[];
  export function exit(code: number): never;
}
declare module "node:url" {
  export function fileURLToPath(url: URL): string;
}
