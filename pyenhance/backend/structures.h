// Made by `python -m pyenhance.backend.structures`; the fields are explained there.
#include <stdint.h>

enum {
  HOP = 480,
  WINDOW = 960,
  BINS = 481,
  MAX_BANDS = 64,
  BLOCK_HOPS = 64,
  RECENT_HOPS = 64,
  DECIMATION = 4,
  TAPS = 64,
  MIN_LAG = 24,
  MAX_LAG = 192,
  CORRELATED = 320,
  REACH = 12,
  MIN_PERIOD = 96,
  MAX_PERIOD = 768,
  REFINE = 4,
  REFINED = 1440,
  ORDER = 5,
  SECTIONS = 3,
  MENDED = 8,
  FULL_EVERY = 3,
  AT_ONCE = 2,
};
enum { DENSE, CONV, GRU, BAND_CONV, BAND_GRU };
enum { NONE, CLAMP, TANH, SIGMOID };
enum { FULL, LEAN, AUTO };

struct signal {
  int32_t size;
  int32_t bands;
  int32_t ahead;
  int32_t fine;
  int32_t history;
  double loudest;
  double jump;
  double norm_floor;
  double level_memory;
  double level_floor;
  double energy_floor;
  double beta;
  double rumble_memory;
  double rumble_floor;
  double rumble_comes_in;
  double rumble_goes_out;
  double direct;
  const double *poles;
  const double *shares;
  const float *mend_low;
  const float *mend;
  const float *window;
  const float *roots;
  const float *filter;
  const float *bias;
  const float *step_cost;
  const float *taps;
  const int32_t *peak;
  float *spectra;
  float *untouched;
  float *energies;
  float *comb_spectra;
  float *coherence;
  int32_t *period;
  float *correlation;
  float *features;
  float *gain;
  float *strength;
  float *shaped;
  int32_t feature_stride;
};

struct affine {
  const int8_t *weight;
  const float *scale;
  const float *bias;
  int32_t rows;
  int32_t columns;
};

struct source {
  const float *from;
  int32_t width;
  int32_t stride;
};

struct layer {
  int32_t kind;
  int32_t activation;
  int32_t floats;
  int32_t frames;
  int32_t bands;
  int32_t reach;
  int32_t inputs;
  int32_t units;
  int32_t lean;
  int32_t stride;
  int32_t num_sources;
  const struct source *sources;
  const struct affine *affines;
  int32_t memory;
  int32_t full_frame;
  float *out;
};

struct network {
  int32_t size;
  int32_t num_layers;
  const struct layer *layers;
  void *seen;
  void *second;
  int32_t *sums;
  float *gates;
  int32_t *full;
  int32_t turn;
};

struct stream {
  int32_t size;
  const struct signal *signal;
  const struct network *network;
  const struct layer *gain;
  const struct layer *strength;
  const struct layer *vad;
  float *samples;
  float *spectra;
  float *energies;
  float *decimated;
  float *score;
  int32_t *previous;
  double *level;
  float *tail;
  double *sections;
  double *rumble;
  int32_t *filtered;
  float *raw;
  float *memory;
  float *held_gain;
  float *recent;
  int32_t *heard;
  float *input;
  float *output;
  float *facts;
  float dry;
  float backlog;
  int32_t effort;
  int32_t full_frames;
};

enum { LAYOUT = 1441591425 };
