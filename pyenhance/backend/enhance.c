// The enhancer as compiled code: the signal path and the network, each as a call of its own and all together as one.
//
// Freestanding: no libc, no Python. Built for a browser's SIMD and relaxed SIMD by wasm/build_kernel.sh and for the
// machine itself by library.py. Every structure is defined, and its fields are explained, in structures.py.
#include "structures.h"

#define API __attribute__((visibility("default")))

static inline void copy(float *restrict to, const float *restrict from, int n) {
  for (int i = 0; i < n; i++) to[i] = from[i];
}

// Towards the beginning, where the two may overlap.
static inline void move_back(float *to, const float *from, int n) {
  for (int i = 0; i < n; i++) to[i] = from[i];
}

// A sample that is too loud, or no number, counts as silence: a live stream must go on.
static void silence_what_is_no_sound(float *x, int n, float loudest) {
  for (int i = 0; i < n; i++) x[i] = x[i] >= -loudest && x[i] <= loudest ? x[i] : 0;
}

#include "network.c"
#include "rumble.c"
#include "signal.c"

// What the library was made from: it must be what the caller was made from.
API int32_t layout(void) { return LAYOUT; }

static int fits(const struct stream *s, int frames) {
  return s->size == (int32_t)sizeof(struct stream) && s->signal->size == (int32_t)sizeof(struct signal) &&
         frames >= 1 && frames <= BLOCK_HOPS;
}

// Each returns 0, or -1 for a structure or a number of frames that it does not know.
API int32_t analyse(struct stream *s, int32_t frames) {
  if (!fits(s, frames)) return -1;
  analyse_frames(s, frames);
  return 0;
}

API int32_t estimate(const struct network *n, float *memory, int32_t frames, float backlog, int32_t effort) {
  if (n->size != (int32_t)sizeof(struct network) || frames < 1 || frames > BLOCK_HOPS) return -1;
  run_layers(n, memory, frames, backlog, effort);
  return 0;
}

API int32_t synthesise(struct stream *s, int32_t frames, int32_t with_comb, int32_t with_postfilter) {
  if (!fits(s, frames)) return -1;
  synthesise_frames(s, frames, with_comb, with_postfilter);
  return 0;
}

// `frames` hops of s->input -> s->output, and the facts of the last.
API int32_t process(struct stream *s, int32_t frames) {
  if (!fits(s, frames)) return -1;
  silence_what_is_no_sound(s->input, frames * HOP, (float)s->signal->loudest);
  if (analyse(s, frames) || estimate(s->network, s->memory, frames, s->backlog, s->effort)) return -1;
  const struct signal *g = s->signal;
  int bands = g->bands, last = frames - 1;
  s->full_frames = 0;
  for (int k = 0; k < frames; k++) {
    s->full_frames += s->network->full[k];
    copy(g->gain + k * bands, s->gain->out + k * s->gain->stride, bands);
    copy(g->strength + k * bands, s->strength->out + k * s->strength->stride, bands);
    copy(s->recent + (s->heard[0] % RECENT_HOPS) * HOP, s->input + k * HOP, HOP);
    s->heard[0] = (s->heard[0] + 1) & 0x7fffffff;
  }
  s->facts[0] = (float)g->period[last];
  s->facts[1] = g->correlation[last];
  s->facts[2] = s->vad->out[last * s->vad->stride];
  copy(s->facts + 3, g->gain + last * bands, bands);
  copy(s->held_gain, g->gain + last * bands, bands);
  synthesise_frames(s, frames, 1, 1);
  return 0;
}
