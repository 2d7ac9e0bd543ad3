// A model's stream in a WebAssembly instance of its own: the compiled code of the wheel, the model's image (pyenhance/backend/image.py
// explains it) and the weights file. It needs no Python, so sound is enhanced while Python still loads.
const STACK = 512; // where the stack ends is the image's base; nothing lies below these bytes
const PAGE = 65536;
const INTERLEAVED_ROWS = 4;
const INTERLEAVED_COLUMNS = 16;

// The JSON at the beginning of a file, and what follows it. lengthBytes: of the little-endian length in front.
function split(file, lengthBytes) {
  const length = new DataView(file.buffer, file.byteOffset).getUint32(0, true);
  const end = lengthBytes + length;
  if (!(end <= file.length)) throw new Error(`a header of ${length} bytes in a file of ${file.length}`);
  return {
    header: JSON.parse(new TextDecoder().decode(file.subarray(lengthBytes, end))),
    rest: file.subarray(end),
  };
}

// Rows of weights as the compiled code reads them: padded; four rows in turn, sixteen weights of each.
function layOut(memory, { address, outputs, inputs, rows, columns, turns }, weights) {
  const to = new Int8Array(memory, address, rows * columns);
  for (let row = 0; row < outputs; row++) {
    const from = weights.subarray(row * inputs, (row + 1) * inputs);
    if (!turns) {
      to.set(from, row * columns);
      continue;
    }
    const block = (row - (row % INTERLEAVED_ROWS)) * columns + (row % INTERLEAVED_ROWS) * INTERLEAVED_COLUMNS;
    for (let k = 0; k < inputs; k += INTERLEAVED_COLUMNS) {
      to.set(from.subarray(k, Math.min(k + INTERLEAVED_COLUMNS, inputs)), block + k * INTERLEAVED_ROWS);
    }
  }
}

export class Instance {
  // library: a WebAssembly.Module; image, weights: Uint8Arrays of the two files. Throws where they do not belong together.
  constructor(library, image, weights) {
    const { header, rest } = split(image, 4);
    const tensors = split(weights, 8);
    const sum = tensors.header.__metadata__?.sha256;
    if (sum !== header.sha256) throw new Error(`weights with the sum ${sum}; the image is for ${header.sha256}`);
    const memory = new WebAssembly.Memory({ initial: Math.ceil((header.base + header.size) / PAGE) });
    const { exports } = new WebAssembly.Instance(library, {
      env: {
        memory,
        __stack_pointer: new WebAssembly.Global({ value: "i32", mutable: true }, header.base),
        __memory_base: new WebAssembly.Global({ value: "i32", mutable: false }, STACK),
        __table_base: new WebAssembly.Global({ value: "i32", mutable: false }, 0),
      },
    });
    if (exports.layout() !== header.layout) {
      throw new Error(`compiled code for structures ${exports.layout()}; the image has ${header.layout}`);
    }
    let at = 0;
    for (const [address, size] of header.segments) {
      new Uint8Array(memory.buffer, address, size).set(rest.subarray(at, (at += size)));
    }
    const codes = new Int8Array(tensors.rest.buffer, tensors.rest.byteOffset, tensors.rest.length);
    for (const matrix of header.weights) {
      layOut(memory.buffer, matrix, codes.subarray(...tensors.header[matrix.tensor].data_offsets));
    }
    this.process = exports.process;
    this.memory = memory.buffer; // it never grows
    this.header = header;
    this.maxHops = header.max_hops;
    this.latency = header.latency_samples; // samples
    this.bands = header.num_bands;
    const floats = (address, length) => new Float32Array(this.memory, address, length);
    this.input = floats(header.input, header.max_hops * header.hop);
    this.output = floats(header.output, header.max_hops * header.hop);
    this.facts = floats(header.facts, 3 + header.num_bands); // pitch period, its correlation, voice activity, gains
    this.dry = floats(header.dry, 1);
  }

  // Enhance the first hops of `input` into `output`.
  run(hops) {
    if (this.process(this.header.stream, hops)) throw new RangeError(`${hops} hops; accepted: 1 to ${this.maxHops}`);
  }

  // Everything that the stream remembers: Uint8Arrays by name, which are this instance's own memory.
  state() {
    const entries = Object.entries(this.header.state);
    return Object.fromEntries(entries.map(([name, [at, size]]) => [name, new Uint8Array(this.memory, at, size)]));
  }
}
