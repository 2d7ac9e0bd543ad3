// Events that tell of what stays so, as "ready": whoever listens hears of it once, also who comes later.

/**
 * EventTargets of which some news lasts: `last(event)` dispatches it, and tells it to each later listener by itself.
 * @template {new (...given: any[]) => EventTarget} Base
 * @param {Base} base
 */
export function lasting(base) {
  return class extends base {
    /** @type {Map<string, { event: Event, told: Set<EventListenerOrEventListenerObject> }>} */
    #news = new Map();
    /** @type {Map<string, Set<EventListenerOrEventListenerObject>>} who listens, by type */
    #listeners = new Map();

    /** @param {Event} event */
    last(event) {
      this.#news.set(event.type, { event, told: new Set(this.#listeners.get(event.type)) });
      this.dispatchEvent(event);
    }

    /**
     * @param {string} type
     * @param {EventListenerOrEventListenerObject | null} listener
     * @param {boolean | AddEventListenerOptions} [options]
     */
    addEventListener(type, listener, options) {
      super.addEventListener(type, listener, options);
      const { signal, once } = /** @type {AddEventListenerOptions} */ (typeof options === "object" ? options : {});
      if (!listener || signal?.aborted) return;
      const listeners = this.#listeners.get(type) ?? new Set();
      this.#listeners.set(type, listeners.add(listener));
      const news = this.#news.get(type);
      if (!news || news.told.has(listener)) return;
      news.told.add(listener);
      queueMicrotask(() => {
        if (!listeners.has(listener) || signal?.aborted) return; // it has thought better of it
        if (once) this.removeEventListener(type, listener);
        Object.defineProperty(news.event, "target", { value: this, configurable: true });
        if (typeof listener === "function") listener.call(this, news.event);
        else listener.handleEvent(news.event);
      });
    }

    /**
     * @param {string} type
     * @param {EventListenerOrEventListenerObject | null} listener
     * @param {boolean | EventListenerOptions} [options]
     */
    removeEventListener(type, listener, options) {
      super.removeEventListener(type, listener, options);
      if (listener) this.#listeners.get(type)?.delete(listener);
    }
  };
}
