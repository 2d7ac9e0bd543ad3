// The worker's door to pyenhance.lab: sounds go in and out as Float32Arrays.
export class Lab {
  constructor(pyodide) {
    this.pyodide = pyodide;
    this.module = pyodide.pyimport("pyenhance.lab");
  }

  // What the page asked for; returns the reply's fields.
  answer({ call, noisy, clean, model, step, bands, comb, name, source, sound, columns }) {
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
    if (call === "picture") {
      const samples = this.pyodide.toPy(sound);
      const picture = this.module.picture.callKwargs(samples, { columns });
      samples.destroy();
      return { picture: copyAndFree(picture, "u8") };
    }
    const stepped = this.bench.run.callKwargs(step, { bands, comb });
    const reply = { si_sdr: this.bench.si_sdr(stepped), picture: copyAndFree(this.module.picture(stepped), "u8") };
    return { ...reply, sound: copyAndFree(stepped, "f32") };
  }
}

function copyAndFree(array, type) {
  const view = array.getBuffer(type);
  const data = view.data.slice();
  const { shape } = view;
  view.release();
  array.destroy();
  return { data, shape };
}
