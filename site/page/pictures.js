// Live pictures, scrolling: the sound before and after on the ERB-rate scale with the pitch on it, and the band gains.
import { SAMPLE_RATE } from "./engine/pyenhance.js";
import { PALETTE, context as pen } from "./palette.js";

const ROWS = 96;
const STEP_MS = 20; // time of a column
const TOP_HZ = 20000;
const FLOOR_DB = -100;
const CORNER_HZ = 24.7 * 9.265; // of the ERB-rate scale (Glasberg and Moore, 1990)
const REST_AFTER_MS = 10000; // of digital silence, in and out: then there is a look at it now and then
const REST_MS = 250;
const VOICED = 0.5;
const OPEN = 0.15; // mean gain: below it nobody speaks, whatever the lasting voice activity says

const rateOf = (/** @type {number} */ hz) => Math.log1p(hz / CORNER_HZ) / Math.log1p(TOP_HZ / CORNER_HZ);
const rowOf = (/** @type {number} */ hz) => ROWS - 1 - Math.round(rateOf(hz) * (ROWS - 1));

export class Pictures {
  /**
   * The node's source is heard before its output by what its statistics tell.
   * @param {AudioContext} context
   * @param {AudioNode} source
   * @param {import("./engine/pyenhance.js").Denoiser} node
   * @param {{ before: HTMLCanvasElement, after: HTMLCanvasElement, gains: HTMLCanvasElement }} canvases
   */
  constructor(context, source, node, canvases) {
    this.node = node;
    this.canvases = canvases;
    this.delay = new DelayNode(context, { maxDelayTime: 1, delayTime: 0 });
    this.before = new AnalyserNode(context, {
      fftSize: 2048,
      smoothingTimeConstant: 0,
      minDecibels: -100,
      maxDecibels: 0,
    });
    this.after = new AnalyserNode(context, {
      fftSize: 2048,
      smoothingTimeConstant: 0,
      minDecibels: -100,
      maxDecibels: 0,
    });
    this.source = source;
    source.connect(this.delay).connect(this.before);
    node.connect(this.after);
    this.spectrum = new Float32Array(this.before.frequencyBinCount);
    this.column = new ImageData(1, ROWS);
    // Each row shows the strongest of its bins.
    const binHz = SAMPLE_RATE / 2048;
    this.edges = Array.from(
      { length: ROWS + 1 },
      (_, i) => (CORNER_HZ * Math.expm1(((i - 0.5) / (ROWS - 1)) * Math.log1p(TOP_HZ / CORNER_HZ))) / binHz,
    );
    for (const canvas of Object.values(canvases)) {
      canvas.width = Math.max(200, Math.min(800, Math.round(canvas.clientWidth)));
      canvas.height = ROWS;
      pen(canvas).fillRect(0, 0, canvas.width, ROWS);
    }
    this.last = this.sounded = performance.now();
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    this.timer = undefined;
    this.frame = requestAnimationFrame(() => this.draw());
  }

  draw() {
    const now = performance.now();
    const stats = this.node.stats();
    if (stats.peak_in > 0 || stats.peak_out > 0) this.sounded = now;
    if (now - this.sounded > REST_AFTER_MS) {
      this.timer = setTimeout(() => this.draw(), REST_MS);
      return;
    }
    this.frame = requestAnimationFrame(() => this.draw());
    const columns = Math.min(10, Math.floor((now - this.last) / STEP_MS));
    if (!columns) return;
    this.last = now - ((now - this.last) % STEP_MS);
    const { before, after, gains } = this.canvases;
    if (!before.clientWidth) return; // folded away
    this.delay.delayTime.value = (stats.latency_algorithm_ms + stats.latency_transport_ms) / 1000;
    const analysis = this.node.analysis();
    this.spectrumColumn(this.before);
    this.put(before, columns);
    this.spectrumColumn(this.after);
    const open = analysis.gains.reduce((sum, gain) => sum + gain, 0) / analysis.gains.length > OPEN;
    if (open && analysis.voice > VOICED && analysis.pitch_hz) this.mark(rowOf(analysis.pitch_hz));
    this.put(after, columns);
    this.gainsColumn(analysis.gains);
    this.put(gains, columns);
  }

  /** @param {number} row @param {number} level */
  set(row, level) {
    for (let c = 0; c < 4; c++) this.column.data[4 * row + c] = PALETTE[4 * level + c];
  }

  /** @param {AnalyserNode} analyser */
  spectrumColumn(analyser) {
    analyser.getFloatFrequencyData(this.spectrum);
    for (let i = 0; i < ROWS; i++) {
      const low = Math.max(0, Math.round(this.edges[i]));
      const high = Math.max(low + 1, Math.round(this.edges[i + 1]));
      let db = FLOOR_DB;
      for (let bin = low; bin < high; bin++) db = Math.max(db, this.spectrum[bin]);
      this.set(ROWS - 1 - i, Math.max(0, Math.min(255, Math.round(255 * (1 - db / FLOOR_DB)))));
    }
  }

  /** @param {Float32Array} values one a band; none before the model is there */
  gainsColumn(values) {
    for (let i = 0; i < ROWS; i++) {
      this.set(ROWS - 1 - i, Math.round(255 * Math.min(1, values[Math.floor((i * values.length) / ROWS)] ?? 0)));
    }
  }

  /** @param {number} row */
  mark(row) {
    for (const at of [row - 1, row]) if (at >= 0 && at < ROWS) this.column.data.set([255, 120, 90, 255], 4 * at);
  }

  /** Shift the canvas and add the column at its right edge. @param {HTMLCanvasElement} canvas @param {number} columns */
  put(canvas, columns) {
    const context = pen(canvas);
    context.drawImage(canvas, -columns, 0);
    for (let k = columns; k > 0; k--) context.putImageData(this.column, canvas.width - k, 0);
  }

  stop() {
    cancelAnimationFrame(this.frame);
    clearTimeout(this.timer);
    this.source.disconnect(this.delay);
    this.delay.disconnect();
    this.node.disconnect(this.after);
  }
}
