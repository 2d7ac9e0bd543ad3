// Live pictures, scrolling: the sound before and after on the ERB-rate scale with the pitch on it, and the band gains; and by how
// much the noise is lowered.
import { SAMPLE_RATE } from "./engine/pyenhance.js";
import { Lowered } from "./lowered.js";
import { PALETTE, context as pen } from "./palette.js";
import { TEXT } from "./strings.js";

const ROWS = 96;
const STEP_MS = 20; // time of a column
const TOP_HZ = 20000;
const FLOOR_DB = -100;
const CORNER_HZ = 24.7 * 9.265; // of the ERB-rate scale (Glasberg and Moore, 1990)
const REST_AFTER_MS = 10000; // of digital silence, in and out: then there is a look at it now and then
const REST_MS = 250;
const VOICED = 0.5;
const OPEN = 0.15; // mean gain: below it nobody speaks, whatever the lasting voice activity says

const HZ = [100, 300, 1000, 3000, 10000]; // of the axis
const SECONDS = 5; // from one mark of the axis to the next
const SAVED = { left: 70, top: 28, bottom: 24, height: 2 * ROWS }; // pixels around and of each picture, in the one that is saved

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
    this.sound = new Float32Array(this.before.fftSize);
    this.lowered = new Lowered();
    this.column = new ImageData(1, ROWS);
    // Each row shows the strongest of its bins.
    const binHz = SAMPLE_RATE / 2048;
    this.edges = Array.from(
      { length: ROWS + 1 },
      (_, i) => (CORNER_HZ * Math.expm1(((i - 0.5) / (ROWS - 1)) * Math.log1p(TOP_HZ / CORNER_HZ))) / binHz,
    );
    for (const canvas of Object.values(canvases)) {
      canvas.width = Math.max(200, Math.min(1600, Math.round(canvas.clientWidth)));
      canvas.height = ROWS;
      pen(canvas).fillRect(0, 0, canvas.width, ROWS);
      label(canvas, canvas === canvases.gains ? [] : HZ);
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
    this.lowered.add(this.powerOf(this.before), this.powerOf(this.after));
    this.spectrumColumn(this.before);
    this.put(before, columns);
    this.spectrumColumn(this.after);
    const open = analysis.gains.reduce((sum, gain) => sum + gain, 0) / analysis.gains.length > OPEN;
    if (open && analysis.voice > VOICED && analysis.pitch_hz) this.mark(rowOf(analysis.pitch_hz));
    this.put(after, columns);
    this.gainsColumn(analysis.gains);
    this.put(gains, columns);
  }

  /** Mean square of the newest samples. @param {AnalyserNode} analyser */
  powerOf(analyser) {
    analyser.getFloatTimeDomainData(this.sound);
    return this.sound.reduce((sum, value) => sum + value * value, 0) / this.sound.length;
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

// Where the marks of a picture stand: [share of its height from below, text], and [share of its width from the right, text].
/** @param {number[]} hz */
const heights = (hz) => hz.map((value) => /** @type {[number, string]} */ ([rateOf(value), TEXT.hz(value)]));
/** @param {HTMLCanvasElement} canvas */
function times(canvas) {
  const length = (canvas.width * STEP_MS) / 1000;
  /** @type {[number, string][]} */
  const marks = [];
  for (let t = 0; t < length; t += SECONDS) marks.push([t / length, TEXT.ago(t)]);
  return marks;
}

/** Axes beside and below a picture. @param {HTMLCanvasElement} canvas @param {number[]} hz */
function label(canvas, hz) {
  const frame = /** @type {HTMLElement} */ (canvas.parentElement);
  for (const old of frame.querySelectorAll("span")) old.remove();
  /** @param {string} kind @param {"bottom" | "right"} side @param {number} share @param {string} text */
  const add = (kind, side, share, text) => {
    const mark = Object.assign(document.createElement("span"), { className: kind, textContent: text });
    mark.style[side] = `${100 * share}%`;
    mark.setAttribute("aria-hidden", "true");
    frame.append(mark);
  };
  for (const [share, text] of heights(hz)) add("hz", "bottom", share, text);
  for (const [share, text] of times(canvas)) add(share ? "seconds" : "seconds now", "right", share, text);
}

/** Both pictures with their axes, as they are now. @param {HTMLCanvasElement[]} canvases @param {string[]} titles @returns {Promise<Blob>} PNG */
export function picture(canvases, titles) {
  const { left, top, bottom, height } = SAVED;
  const one = top + height + bottom;
  const whole = Object.assign(document.createElement("canvas"), {
    width: left + canvases[0].width + 20,
    height: canvases.length * one,
  });
  const context = pen(whole);
  context.fillStyle = "#ffffff";
  context.fillRect(0, 0, whole.width, whole.height);
  context.fillStyle = "#16211f";
  canvases.forEach((canvas, i) => {
    const base = i * one + top;
    context.drawImage(canvas, left, base, canvas.width, height);
    context.font = "600 15px system-ui, sans-serif";
    context.textAlign = "left";
    context.fillText(titles[i], left, base - 9);
    context.font = "12px system-ui, sans-serif";
    context.textAlign = "right";
    for (const [share, text] of heights(HZ)) context.fillText(text, left - 6, base + height * (1 - share) + 4);
    context.textAlign = "center";
    for (const [share, text] of times(canvas))
      context.fillText(text, left + canvas.width * (1 - share), base + height + 16);
  });
  return new Promise((resolve, reject) =>
    whole.toBlob((blob) => (blob ? resolve(blob) : reject(new Error(TEXT.noPicture))), "image/png"),
  );
}
