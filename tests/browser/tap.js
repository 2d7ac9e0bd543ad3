// The recorder of tap.py: two sounds of the same moments, in blocks of 4096 samples each, posted from the audio thread.
const BLOCK = 4096;

class Tap extends AudioWorkletProcessor {
  constructor() {
    super();
    this.filled = 0;
    this.block = new Float32Array(2 * BLOCK);
  }

  process(inputs) {
    let n = 128;
    for (let i = 0; i < 2; i++) {
      if (!inputs[i].length) continue; // nothing comes: silence
      this.block.set(inputs[i][0], i * BLOCK + this.filled);
      n = inputs[i][0].length;
    }
    this.filled += n;
    if (this.filled === BLOCK) {
      this.port.postMessage(this.block, [this.block.buffer]);
      this.block = new Float32Array(2 * BLOCK);
      this.filled = 0;
    }
    return true;
  }
}

registerProcessor("tap", Tap);
