// Which frames of a model with lean layers are full is decided in its compiled stream, by turns and by the hops that wait. What that
// needs is written into the stream's structure before a call, and how many were full is read from it afterwards.

/**
 * Addresses in bytes, and the number of each effort.
 * @typedef {{ backlog: number, effort: number, full_frames: number, efforts: Record<Effort, number> }} Places
 * @typedef {"full" | "lean" | "auto"} Effort
 */

export class Lean {
  #backlog;
  #effort;
  #fullFrames;
  #efforts;

  /** @param {ArrayBufferLike} memory in which the structure lies @param {Places} places */
  constructor(memory, { backlog, effort, full_frames, efforts }) {
    this.memory = memory;
    this.#backlog = new Float32Array(memory, backlog, 1);
    this.#effort = new Int32Array(memory, effort, 1);
    this.#fullFrames = new Int32Array(memory, full_frames, 1);
    this.#efforts = efforts;
  }

  /** Of the calls from now on. @param {Effort} effort @param {number} [waiting] hops that wait behind theirs */
  ask(effort, waiting = 0) {
    this.#effort[0] = this.#efforts[effort];
    this.#backlog[0] = waiting;
  }

  /** Of the last call: frames on which all of the network ran. */
  get fullFrames() {
    return this.#fullFrames[0];
  }
}
