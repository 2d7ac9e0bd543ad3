// What lies below the voice: what dsp.rumble does with numpy. Spectra are complex float32.

// rumble.take_out, one hop: x -> out. filtered[0] is whether the filter was in at the end of the hop before,
// filtered[1] becomes whether it is in at the end of this one.
static void take_out(const struct signal *g, double *sections, double *rumble, int32_t *filtered, const float *x,
                     float *out) {
  double mean = 0, power = 0, memory = g->rumble_memory, removed[HOP], section[2 * SECTIONS];
  for (int i = 0; i < 2 * SECTIONS; i++) section[i] = sections[i];
  for (int n = 0; n < HOP; n++) {
    double sample = x[n];
    mean += sample / HOP;
    power += sample * sample / HOP;
    removed[n] = (1 - g->direct) * sample;
    for (int i = 0; i < 2 * SECTIONS; i += 2) {
      const double *pole = g->poles + i, *part = g->shares + i;
      double re = pole[0] * section[i] - pole[1] * section[i + 1] + sample;
      section[i + 1] = pole[0] * section[i + 1] + pole[1] * section[i];
      section[i] = re;
      removed[n] -= part[0] * re - part[1] * section[i + 1];
    }
  }
  for (int i = 0; i < 2 * SECTIONS; i++) sections[i] = section[i];
  rumble[0] = memory * rumble[0] + (1 - memory) * mean * mean;
  rumble[1] = memory * rumble[1] + (1 - memory) * power;
  double much = filtered[0] ? g->rumble_goes_out : g->rumble_comes_in;
  filtered[1] = rumble[0] > much * (rumble[1] + g->rumble_floor);
  copy(out, x, HOP);
  if (filtered[0] | filtered[1])
    for (int n = 0; n < HOP; n++)
      out[n] = (float)(x[n] - (filtered[0] + (filtered[1] - filtered[0]) * ((n + 1) / (double)HOP)) * removed[n]);
}

// rumble.mend, one frame.
static void mend(const struct signal *g, float *spectrum) {
  float low[2 * MENDED] = {0};
  for (int i = 0; i < 2 * MENDED; i++)
    for (int j = 0; j < 2 * MENDED; j++) low[j] += spectrum[i] * g->mend_low[2 * MENDED * i + j];
  copy(spectrum, low, 2 * MENDED);
  for (int k = 0; k < BINS - MENDED; k++) {
    float *bin = spectrum + 2 * (MENDED + k), re = bin[0], im = bin[1];
    const float *factor = g->mend + 2 * k;
    bin[0] = re * factor[0] - im * factor[1];
    bin[1] = re * factor[1] + im * factor[0];
  }
}
