// Firefox alone: there the extension's world sees through "Xray wrappers" what belongs to the page. For this world alone it mends
// the two things that the library relies on and that are not so then: objects of classes that extend the browser's have the methods
// of their classes, and what arrives at a port is ours.

globalThis.AudioWorkletNode = class extends AudioWorkletNode {
  /** @param {BaseAudioContext} context @param {string} name @param {AudioWorkletNodeOptions} [options] */
  constructor(context, name, options) {
    super(context, name, cloneInto(options, window));
    Object.setPrototypeOf(this, new.target.prototype);
  }
};

/** @type {WeakMap<MessagePort, (event: MessageEvent) => void>} */
const listeners = new WeakMap();

Object.defineProperty(MessagePort.prototype, "onmessage", {
  /** @this {MessagePort} @param {((event: { data: unknown }) => void) | null} listener */
  set(listener) {
    const before = listeners.get(this);
    if (before) this.removeEventListener("message", before);
    if (!listener) return;
    const heard = (/** @type {MessageEvent} */ { data }) => listener({ data: cloneInto(data, globalThis) });
    listeners.set(this, heard);
    this.addEventListener("message", heard);
    this.start();
  },
});
