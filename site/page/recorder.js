// What is heard now, enhanced or not, as a file.

export class Recorder {
  /** @type {(() => void) | null} */
  #end = null;

  /**
   * @param {(blob: Blob) => void} onDone takes what was recorded, a little after `stop`
   * @param {MediaRecorderOptions} [options]
   */
  constructor(onDone, options = { audioBitsPerSecond: 192000 }) {
    this.onDone = onDone;
    this.options = options;
  }

  get running() {
    return this.#end !== null;
  }

  /** Throws where the browser cannot record. @param {AudioContext} context @param {AudioNode} node */
  start(context, node) {
    const end = new MediaStreamAudioDestinationNode(context);
    node.connect(end);
    const leave = () => node.disconnect(end);
    try {
      const recorder = new MediaRecorder(end.stream, this.options);
      /** @type {Blob[]} */
      const pieces = [];
      recorder.ondataavailable = ({ data }) => pieces.push(data);
      recorder.onstop = () => this.onDone(new Blob(pieces, { type: pieces[0]?.type }));
      recorder.start();
      this.#end = () => {
        if (recorder.state !== "inactive") recorder.stop();
        leave();
      };
    } catch (error) {
      leave();
      throw error;
    }
  }

  stop() {
    this.#end?.();
    this.#end = null;
  }
}
