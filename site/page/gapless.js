// What containers say that a decoder does not heed: where the sound lies between silence that the encoder put before and after it, and
// where a file that was cut off ends.

const DECODER_DELAY = 529; // samples by which every MP3 decoder is late (LAME's technical FAQ)
const SEARCH_BYTES = 65536; // for the first frame, behind the tags
const LAYER_3 = 1; // as a frame's header has it
const OGG_PAGE = 0x4f676753; // "OggS"
const TAIL_BYTES = 1 << 20; // some pages of at most 64 KB

/** @typedef {{ skip: number, frames: number }} Gapless samples to leave out in front, and how many the sound has */

/** @param {DataView} view @param {number} at @param {number} length */
const text = (view, at, length) =>
  at + length <= view.byteLength
    ? String.fromCharCode(...new Uint8Array(view.buffer, view.byteOffset + at, length))
    : "";

/**
 * What LAME and those who write its tag say of an MP3; null where nobody does.
 * @param {Blob} file
 * @returns {Promise<Gapless | null>}
 */
export async function gaplessMp3(file) {
  let begin = 0;
  for (;;) {
    const tag = new DataView(await file.slice(begin, begin + 10).arrayBuffer());
    if (text(tag, 0, 3) !== "ID3" || tag.byteLength < 10) break;
    const size = [6, 7, 8, 9].reduce((sum, at) => (sum << 7) | (tag.getUint8(at) & 0x7f), 0);
    begin += 10 + size + (tag.getUint8(5) & 0x10 ? 10 : 0);
  }
  const view = new DataView(await file.slice(begin, begin + SEARCH_BYTES).arrayBuffer());
  for (let at = 0; at + 4 <= view.byteLength; at++) {
    const header = view.getUint32(at);
    const layer = (header >>> 17) & 3;
    if (header >>> 21 !== 0x7ff || layer !== LAYER_3) continue;
    return lameTag(view, at, header);
  }
  return null;
}

/** @param {DataView} view @param {number} frame where the first one begins @param {number} header its first four bytes */
function lameTag(view, frame, header) {
  const mpeg1 = ((header >>> 19) & 3) === 3;
  const mono = ((header >>> 6) & 3) === 3;
  let at = frame + 4 + (mpeg1 ? (mono ? 17 : 32) : mono ? 9 : 17);
  if (!["Xing", "Info"].includes(text(view, at, 4))) return null;
  const flags = view.getUint32(at + 4);
  at += 8;
  if (!(flags & 1)) return null; // it does not say how many frames there are
  const count = view.getUint32(at);
  at += 4 + (flags & 2 ? 4 : 0) + (flags & 4 ? 100 : 0) + (flags & 8 ? 4 : 0);
  if (!/^(LAME|Lav[fc])/.test(text(view, at, 4)) || at + 24 > view.byteLength) return null;
  const delays = view.getUint32(at + 20) & 0xffffff; // its first byte is another field's
  const delay = delays >>> 12;
  const padding = delays & 0xfff;
  const frames = count * (mpeg1 ? 1152 : 576) - delay - padding;
  return frames > 0 ? { skip: delay + DECODER_DELAY, frames } : null;
}

/**
 * An Ogg file without a beginning of a packet whose end is missing: an interrupted download, a recorder that was switched off.
 * @param {Blob} file
 */
export async function wholeOgg(file) {
  const from = Math.max(0, file.size - TAIL_BYTES);
  const view = new DataView(await file.slice(from).arrayBuffer());
  let end = 0;
  for (let at = 0; at + 27 <= view.byteLength; at++) {
    if (view.getUint32(at) !== OGG_PAGE) continue;
    const segments = view.getUint8(at + 26);
    const body = at + 27 + segments;
    if (body > view.byteLength) break;
    let next = body;
    for (let k = at + 27; k < body; k++) next += view.getUint8(k);
    if (next > view.byteLength) break;
    if (segments && view.getUint8(body - 1) < 255) end = next; // no packet goes on in the next page
    at = next - 1;
  }
  return end ? file.slice(0, from + end, file.type) : file;
}
