/* fabric.c - synthetic textile: chooses cloth, pose and defect of each image, paints, photographs. */
#include "fabric/fabric.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "base/integers.h"
#include "base/memory.h"
#include "base/threads.h"
#include "data/blur.h"
#include "fabric/parts.h"

const char *const tx_defect_names[TX_DEFECT_COUNT + 1] = {
    "good", "color", "cut", "hole", "thread", "metal_contamination", NULL};
const char *const tx_weave_names[TX_WEAVE_COUNT + 1] = {"plain", "twill", "satin", "knit", NULL};

/* Streams of random numbers; the number of a cloth or of an image is mixed in. */
enum { STREAM_CLOTH = 0xC107, STREAM_POSE, STREAM_HAIRS, STREAM_DEFECT, STREAM_NOISE };

enum { LONGEST_SIDE = 1 << 15 };

/* -- what is in the picture ------------------------------------------------------------------------------------------ */

static tx_cloth choose_cloth(const tx_fabric_options *o, int64_t source) {
  tx_rng rng = tx_rng_make(o->seed, tx_mix(STREAM_CLOTH, (uint64_t)source));
  tx_weave possible[TX_WEAVE_COUNT];
  int n = 0;
  for (int w = 0; w < TX_WEAVE_COUNT; w++)
    if ((o->weaves & (1u << w)) != 0) possible[n++] = (tx_weave)w;
  tx_cloth c = {.weave = possible[source % n], .key = tx_rng_u32(&rng)};
  float yarn = tx_rangef(&rng, o->yarn[0], o->yarn[1]), sun = tx_rangef(&rng, 0, 6.2831853),
        low = tx_rangef(&rng, 0.15, 0.5);
  float albedo = tx_rangef(&rng, 0.45, 0.51);
  c.pitch[0] = yarn;
  c.pitch[1] = yarn * tx_rangef(&rng, 0.78, 0.95);
  for (int d = 0; d < 2; d++) {
    c.fill[d] = tx_rangef(&rng, 0.62, 0.74);
    c.albedo[d] = albedo * tx_rangef(&rng, 0.95, 1.05);
    c.twist[d] = tx_rangef(&rng, -0.3, 0.3);
  }
  c.jitter = tx_rangef(&rng, 0.07, 0.18);
  c.stray = tx_rangef(&rng, 0, 14);
  c.fuzz = expf(tx_rangef(&rng, -1.1, 1.4));
  c.mottle = tx_rangef(&rng, 0.1, 0.22);
  c.fibre = tx_rangef(&rng, 0.45, 0.7);
  c.gap = tx_rangef(&rng, 0.06, 0.09);
  c.sun[0] = low * cosf(sun);
  c.sun[1] = low * sinf(sun);
  c.sun[2] = sqrtf(1.0f - low * low);
  c.blur = tx_rangef(&rng, 0.6, 0.9);
  c.noise = tx_rangef(&rng, 0.003, 0.007);
  if (c.weave == TX_WEAVE_TWILL || c.weave == TX_WEAVE_SATIN) { /* denser cloths */
    for (int d = 0; d < 2; d++) c.fill[d] = tx_rangef(&rng, 0.82, 0.92);
  } else if (c.weave == TX_WEAVE_KNIT) {
    c.fill[0] = tx_rangef(&rng, 0.86, 1.0);
  }
  return c;
}

static tx_pose choose_pose(const tx_fabric_options *o, int64_t image, double angle) {
  tx_rng rng = tx_rng_make(o->seed, tx_mix(STREAM_POSE, (uint64_t)image));
  float turn = (float)(angle / 180.0 * 3.14159265358979 + tx_rng_range(&rng, -0.03, 0.03));
  float skewed = turn + tx_rangef(&rng, -0.06, 0.06);
  return (tx_pose){.cosine = {cosf(turn), cosf(skewed)},
                   .sine = {sinf(turn), sinf(skewed)},
                   .u = tx_rangef(&rng, -20000, 20000),
                   .v = tx_rangef(&rng, -20000, 20000)};
}

static tx_fabric_record choose_record(const tx_fabric_options *o, int64_t image, tx_rng *rng) {
  /* classes take turns; in each turn comes another angle and another cloth, all cloths before one comes again, each time
   * shifted against the angles */
  int64_t turn = image / o->n_classes;
  uint64_t shift = tx_mix(o->seed, (uint64_t)(turn / o->sources)) % (uint64_t)o->sources;
  tx_fabric_record r = {.label = image % o->n_classes,
                        .source = (turn + (int64_t)shift) % o->sources,
                        .angle = 20.0 * (double)(turn % TX_FABRIC_ANGLES),
                        .severity = NAN,
                        .size = NAN,
                        .row = NAN,
                        .col = NAN};
  if (o->classes[r.label] == TX_DEFECT_GOOD) return r;
  r.severity = tx_rng_range(rng, o->severity[0], o->severity[1]);
  r.size = tx_rng_range(rng, o->defect_size[0], o->defect_size[1]);
  r.row = (double)o->height * tx_rng_range(rng, 0.25, 0.75);
  r.col = (double)o->width * tx_rng_range(rng, 0.25, 0.75);
  return r;
}

/* -- the camera ------------------------------------------------------------------------------------------------------ */

/* Light that falls off across the picture, differently in each. */
static void light_scene(tx_canvas *canvas, tx_rng *rng) {
  float turn = tx_rangef(rng, 0, 6.2831853), fall = tx_rangef(rng, 0, 0.12), level = tx_rangef(rng, 0.96, 1.04);
  float longest = (float)(tx_max(canvas->height, canvas->width));
  float dx = fall * cosf(turn) / longest, dy = fall * sinf(turn) / longest;
  for (int64_t row = 0; row < canvas->height; row++)
    for (int64_t column = 0; column < canvas->width; column++)
      canvas->light[row * canvas->width + column] *=
          level + dx * ((float)column - 0.5f * (float)canvas->width) + dy * ((float)row - 0.5f * (float)canvas->height);
}

static void spread_line(const uint8_t *from, uint8_t *to, int64_t n, int64_t step, int64_t reach) {
  int64_t last = -reach - 1;
  for (int64_t i = 0; i < n; i++) {
    if (from[i * step] != 0) last = i;
    to[i * step] = i - last <= reach;
  }
  last = n + reach + 1;
  for (int64_t i = n - 1; i >= 0; i--) {
    if (from[i * step] != 0) last = i;
    if (last - i <= reach) to[i * step] = 1;
  }
}

/* What the defect may have touched grows by the lens' reach. */
static void spread_mask(const tx_canvas *canvas, int64_t reach, uint8_t *mask) {
  uint8_t *rows = (uint8_t *)canvas->side;
  for (int64_t row = 0; row < canvas->height; row++)
    spread_line(canvas->mask + row * canvas->width, rows + row * canvas->width, canvas->width, 1, reach);
  for (int64_t column = 0; column < canvas->width; column++)
    spread_line(rows + column, mask + column, canvas->height, canvas->width, reach);
}

/* To 8 bits, with the sensor's noise: the sum of four bytes of one random word is close to a normal number. */
static void expose(const tx_canvas *canvas, float noise, uint64_t seed, uint64_t stream, uint8_t *image) {
  int64_t pixels = canvas->height * canvas->width;
  float step = 255.0f * noise / 147.8f; /* 147.8: standard deviation of the sum */
  for (int64_t i = 0; i < pixels; i += 4) {
    uint32_t word[4];
    tx_philox(seed, stream, (uint64_t)i, word);
    for (int64_t k = 0; k < 4 && i + k < pixels; k++) {
      uint32_t w = word[k];
      float sum = (float)((w & 255u) + ((w >> 8) & 255u) + ((w >> 16) & 255u) + (w >> 24)) - 510.0f;
      image[i + k] = (uint8_t)tx_clampf(255.0f * canvas->light[i + k] + step * sum + 0.5f, 0.0f, 255.0f);
    }
  }
}

/* -- all of them ----------------------------------------------------------------------------------------------------- */

typedef struct job {
  const tx_fabric_options *options;
  uint8_t *images, *masks;
  tx_fabric_record *records;
  char *scratch; /* one part per worker */
  size_t part;
} job;

static size_t aligned(size_t bytes) { return (size_t)tx_ceil_div((int64_t)bytes, TX_ALIGNMENT) * TX_ALIGNMENT; }

/* Fibres that stand out of the yarns everywhere, here one, there a tuft. */
static void paint_stray_fibres(tx_canvas *canvas, const tx_cloth *cloth, tx_rng *rng) {
  int64_t tufts = (int64_t)((float)(canvas->height * canvas->width) / 900.0f * cloth->fuzz);
  for (int64_t i = 0; i < tufts; i++) {
    float x = tx_rangef(rng, 0, (double)canvas->width), y = tx_rangef(rng, 0, (double)canvas->height);
    int count = 1 + (int)tx_rng_below(rng, 4);
    tx_paint_hairs(canvas, rng, count, x, y, 5.0f, 20.0f, cloth->albedo[0] * tx_rangef(rng, 0.7, 1.1));
  }
}

static void make_image(void *context, int64_t image, int worker) {
  const job *j = context;
  const tx_fabric_options *o = j->options;
  size_t pixels = (size_t)(o->height * o->width), floats = aligned(pixels * sizeof(float));
  char *scratch = j->scratch + (size_t)worker * j->part;
  tx_canvas canvas = {.height = o->height,
                      .width = o->width,
                      .light = (float *)scratch,
                      .side = (float *)(scratch + floats),
                      .along = (float *)(scratch + 2 * floats),
                      .mask = (uint8_t *)(scratch + 3 * floats)};
  void *crossings = scratch + 3 * floats + aligned(pixels);

  tx_rng defect_rng = tx_rng_make(o->seed, tx_mix(STREAM_DEFECT, (uint64_t)image));
  tx_rng rng = tx_rng_make(o->seed, tx_mix(STREAM_HAIRS, (uint64_t)image));
  tx_fabric_record record = choose_record(o, image, &defect_rng);
  tx_defect defect = o->classes[record.label];
  tx_cloth cloth = choose_cloth(o, record.source);
  tx_pose pose = choose_pose(o, image, record.angle);
  tx_opening opening;
  record.weave = cloth.weave;
  bool opened = tx_defect_opening(defect, &record, &defect_rng, &opening);

  memset(canvas.mask, 0, pixels);
  tx_paint_cloth(&canvas, &cloth, &pose, opened ? &opening : NULL, crossings);
  tx_canvas unmarked = canvas; /* fibres belong to the cloth */
  unmarked.mask = NULL;
  paint_stray_fibres(&unmarked, &cloth, &rng);
  tx_paint_defect(&canvas, defect, &cloth, &pose, &record, &opening, &defect_rng);
  light_scene(&canvas, &rng);
  if (j->masks != NULL) spread_mask(&canvas, tx_blur_reach((double)cloth.blur), j->masks + (size_t)image * pixels);
  tx_blur(canvas.light, canvas.side, o->height, o->width, 1, (double)cloth.blur);
  expose(&canvas, cloth.noise, o->seed, tx_mix(STREAM_NOISE, (uint64_t)image), j->images + (size_t)image * pixels);
  j->records[image] = record;
}

static tx_status check_range(const char *name, const double range[2], double low, double high) {
  if (range[0] >= low && range[1] <= high && range[0] <= range[1]) return TX_OK;
  return tx_fail(TX_EINVAL, "fabric: %s {%g,%g} is not a range within %g..%g", name, range[0], range[1], low, high);
}

tx_status tx_fabric_check(const tx_fabric_options *o) {
  if (o->count < 1) return tx_fail(TX_EINVAL, "fabric: count is %" PRId64 ", 1 or more wanted", o->count);
  if (o->height < 8 || o->width < 8 || o->height > LONGEST_SIDE || o->width > LONGEST_SIDE)
    return tx_fail(TX_EINVAL, "fabric: size {%" PRId64 ",%" PRId64 "} is not within 8..%d", o->height, o->width,
                   LONGEST_SIDE);
  if (o->sources < 1) return tx_fail(TX_EINVAL, "fabric: sources is %" PRId64 ", 1 or more wanted", o->sources);
  if (o->n_classes < 1 || o->weaves == 0) return tx_fail(TX_EINVAL, "fabric: no class or no weave given");
  TX_TRY(check_range("severity", o->severity, 0, 1));
  TX_TRY(check_range("defect_size", o->defect_size, 2, LONGEST_SIDE));
  return check_range("yarn", o->yarn, 4, 1024);
}

tx_status tx_fabric_generate(const tx_fabric_options *o, uint8_t *images, uint8_t *masks, tx_fabric_record *records) {
  TX_TRY(tx_fabric_check(o));
  size_t pixels = (size_t)(o->height * o->width);
  job j = {.options = o, .images = images, .masks = masks, .records = records};
  j.part = 3 * aligned(pixels * sizeof(float)) + aligned(pixels) + aligned(tx_cloth_scratch(o));
  size_t bytes;
  TX_TRY(tx_size_mul(j.part, (size_t)tx_num_threads(), &bytes));
  j.scratch = tx_alloc(bytes);
  if (j.scratch == NULL) return TX_ENOMEM;
  tx_parallel(o->count, make_image, &j);
  tx_dealloc(j.scratch);
  return TX_OK;
}
