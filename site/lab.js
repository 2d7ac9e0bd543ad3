// The worker's door to pyenhance.lab: sounds go in and out as Float32Arrays.
export class Lab {
  constructor(pyodide) {
    this.pyodide = pyodide;
    this.module = pyodide.pyimport("pyenhance.lab");
  }

  // What the page asked for; returns the reply's fields.
  answer({ call, noisy, clean, model, step, bands, comb, name, source }) {
    if (call === "open") {
      const [y, x] = [noisy, clean].map((sound) => this.pyodide.toPy(sound));
      const opened = this.module.Lab(y, x, model);
      y.destroy();
      x.destroy();
      this.bench?.destroy();
      this.bench = opened;
      return {};
    }
    if (call === "source") return { source: this.bench.source(name) };
    if (call === "edit") {
      this.bench.edit(name, source);
      return {};
    }
    const sound = this.bench.run.callKwargs(step, { bands, comb });
    const picture = this.module.picture(sound);
    const reply = { sound: copy(sound, "f32"), picture: copy(picture, "u8"), si_sdr: this.bench.si_sdr(sound) };
    picture.destroy();
    sound.destroy();
    return reply;
  }
}

function copy(array, type) {
  const view = array.getBuffer(type);
  const data = view.data.slice();
  const { shape } = view;
  view.release();
  return { data, shape };
}
