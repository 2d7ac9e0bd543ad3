// A zip archive of blobs, stored without compression (APPNOTE.TXT 6.3, sections 4.3 and 4.4). Names are UTF-8.
import { TEXT } from "./strings.js";

const TABLE = Uint32Array.from({ length: 256 }, (_, n) => {
  for (let bit = 0; bit < 8; bit++) n = n & 1 ? 0xedb88320 ^ (n >>> 1) : n >>> 1;
  return n;
});
const UTF8 = 0x0800;
const MAX_BYTES = 0xffffffff;

/** @param {Blob} blob */
async function crc32(blob) {
  let sum = -1;
  const reader = blob.stream().getReader();
  for (let part = await reader.read(); !part.done; part = await reader.read()) {
    for (const byte of part.value) sum = TABLE[(sum ^ byte) & 255] ^ (sum >>> 8);
  }
  return ~sum >>> 0;
}

/** Little-endian fields: [bytes, value] pairs. @param {[number, number][]} fields */
function pack(...fields) {
  const view = new DataView(new ArrayBuffer(fields.reduce((sum, [bytes]) => sum + bytes, 0)));
  let at = 0;
  for (const [bytes, value] of fields) {
    if (bytes === 2) view.setUint16(at, value, true);
    else view.setUint32(at, value, true);
    at += bytes;
  }
  return view.buffer;
}

/** An archive. Two files of one name get a number. RangeError above 4 GB. @param {{ name: string, blob: Blob }[]} files */
export async function zip(files) {
  /** @type {BlobPart[]} */
  const parts = [];
  /** @type {(ArrayBuffer | Uint8Array<ArrayBuffer>)[]} */
  const directory = [];
  const taken = new Set();
  let at = 0;
  for (const { name, blob } of files) {
    let unique = name;
    for (let n = 2; taken.has(unique); n++) unique = name.replace(/(\.[^.]*)?$/, ` (${n})$1`);
    taken.add(unique);
    const title = new TextEncoder().encode(unique);
    const sum = await crc32(blob);
    /** @type {[number, number][]} */
    const common = [
      [2, 20],
      [2, UTF8],
      [2, 0],
      [2, 0],
      [2, 0x21],
      [4, sum],
      [4, blob.size],
      [4, blob.size],
      [2, title.length],
      [2, 0],
    ];
    parts.push(pack([4, 0x04034b50], ...common), title, blob);
    directory.push(pack([4, 0x02014b50], [2, 20], ...common, [2, 0], [2, 0], [2, 0], [4, 0], [4, at]), title);
    at += 30 + title.length + blob.size;
    if (at > MAX_BYTES) throw new RangeError(TEXT.tooLargeForZip(at));
  }
  const size = directory.reduce((sum, part) => sum + part.byteLength, 0);
  const end = pack([4, 0x06054b50], [2, 0], [2, 0], [2, files.length], [2, files.length], [4, size], [4, at], [2, 0]);
  return new Blob([...parts, ...directory, end], { type: "application/zip" });
}
