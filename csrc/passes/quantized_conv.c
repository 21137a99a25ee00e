/* quantized_conv.c - convolutions in 8 bits: direct, by Winograd's method, and depthwise. */
#include <string.h>

#include "base/memory.h"
#include "passes/passes.h"
#include "passes/quantized.h"
#include "passes/quantized_internal.h"

enum {
  TILE = 4, /* output pixels of a tile along a side */
  ELEMENTS = 36,
  TILES = 56,             /* of a block, about: whole register tiles, whose elements stay in the L2 cache */
  LARGE_WEIGHT = 1 << 19, /* bytes from which on each thread has channels of its own, whose weights stay in its cache */
};

static int64_t panels(int64_t k) { return tx_ceil_div(k, tx_kernels.panel); }
static bool is_depthwise(const tx_qconv *conv) {
  return conv->groups > 1 && conv->c == conv->groups && conv->k == conv->groups;
}

/* Weights of the places along a row of the kernel are side by side where the pixels are, too. */
static bool rows_are_whole(const tx_qconv *conv) { return conv->dilation[1] == 1 && conv->groups == 1; }
static int64_t tap_count(const tx_qconv *conv) { return rows_are_whole(conv) ? conv->r : conv->r * conv->s; }
static int64_t tap_bytes(const tx_qconv *conv) {
  const int64_t c = conv->c / conv->groups;
  return rows_are_whole(conv) ? conv->s * c : c;
}
static int64_t depth_of(const tx_qconv *conv) { return (tap_bytes(conv) + 3) / 4 * 4; }

/* Bytes of the packed weights of a panel. */
static int64_t panel_bytes(const tx_qconv *conv) {
  if (conv->winograd) return ELEMENTS * conv->c * tx_kernels.panel * 2;
  return tap_count(conv) * depth_of(conv) * tx_kernels.panel;
}

/* -- packing ------------------------------------------------------------------------------------------------------------ */

static tx_status pack_winograd(tx_qconv *conv, const uint8_t *weight, const float *factor, const float *shift) {
  const int64_t c = conv->c, k = conv->k, panel = tx_kernels.panel;
  int16_t *packed = tx_alloc_array(panels(k), (size_t)panel_bytes(conv));
  int16_t *one = tx_alloc_array(c * panel, sizeof *one);
  conv->weight = packed;
  conv->factor = tx_alloc_array(ELEMENTS * k, sizeof(float));
  conv->shift = tx_alloc_array(k, sizeof(float));
  if (packed == NULL || one == NULL || conv->factor == NULL || conv->shift == NULL) {
    tx_dealloc(one);
    return TX_ENOMEM;
  }
  float *to = conv->factor;
  for (int64_t k0 = 0; k0 < k; k0 += panel) {
    const int64_t n = tx_min(panel, k - k0);
    for (int64_t p = 0; p < ELEMENTS; p++) {
      for (int64_t d = 0; d < c; d++) {
        for (int64_t j = 0; j < n; j++) {
          one[d * n + j] = (int16_t)(uint16_t)tx_load_le(weight + ((p * c + d) * k + k0 + j) * 2, 2);
        }
      }
      tx_kernels.pack_i16_weight(c, n, one, packed);
      packed += c * panel;
      memcpy(to, factor + p * k + k0, (size_t)n * sizeof(float));
      to += n;
    }
  }
  memcpy(conv->shift, shift, (size_t)k * sizeof(float));
  tx_dealloc(one);
  return TX_OK;
}

/* What the sums of channel k begin with: the zeros of the input, all multiplied, taken away. */
static int32_t start_of(const tx_qconv *conv, const uint8_t *weight, int32_t zero, int64_t k) {
  const int64_t places = conv->r * conv->s * (conv->c / conv->groups);
  int32_t sum = 0;
  for (int64_t i = 0; i < places; i++) sum += (int8_t)weight[i * conv->k + k];
  return -zero * sum;
}

static tx_status pack_direct(tx_qconv *conv, const uint8_t *weight, const float *factor, const float *shift,
                             int32_t zero) {
  const int64_t k = conv->k, taps = tap_count(conv), bytes = tap_bytes(conv), depth = depth_of(conv);
  const int64_t n = k / conv->groups, group_bytes = panels(n) * panel_bytes(conv);
  int8_t *packed = tx_alloc_array(conv->groups, (size_t)group_bytes);
  int8_t *one = tx_alloc_array(taps * depth, (size_t)n);
  conv->weight = packed;
  conv->start = tx_alloc_array(k, sizeof(int32_t));
  conv->factor = tx_alloc_array(k, sizeof(float));
  conv->shift = tx_alloc_array(k, sizeof(float));
  if (packed == NULL || one == NULL || conv->start == NULL || conv->factor == NULL || conv->shift == NULL) {
    tx_dealloc(one);
    return TX_ENOMEM;
  }
  for (int64_t g = 0; g < conv->groups; g++) {
    memset(one, 0, (size_t)(taps * depth * n));
    for (int64_t t = 0; t < taps; t++) {
      for (int64_t d = 0; d < bytes; d++) {
        memcpy(one + (t * depth + d) * n, weight + (t * bytes + d) * k + g * n, (size_t)n);
      }
    }
    tx_kernels.pack_u8_weight(taps, depth, n, one, packed + g * group_bytes);
  }
  for (int64_t j = 0; j < k; j++) conv->start[j] = start_of(conv, weight, zero, j);
  memcpy(conv->factor, factor, (size_t)k * sizeof(float));
  memcpy(conv->shift, shift, (size_t)k * sizeof(float));
  tx_dealloc(one);
  return TX_OK;
}

/* Depthwise weights stay {R,S,K}. */
static tx_status pack_depthwise(tx_qconv *conv, const uint8_t *weight, const float *factor, const float *shift,
                                int32_t zero) {
  const int64_t k = conv->k;
  conv->weight = tx_alloc_array(conv->r * conv->s, (size_t)k);
  conv->start = tx_alloc_array(k, sizeof(int32_t));
  conv->factor = tx_alloc_array(k, sizeof(float));
  conv->shift = tx_alloc_array(k, sizeof(float));
  if (conv->weight == NULL || conv->start == NULL || conv->factor == NULL || conv->shift == NULL) return TX_ENOMEM;
  memcpy(conv->weight, weight, (size_t)(conv->r * conv->s * k));
  for (int64_t j = 0; j < k; j++) conv->start[j] = start_of(conv, weight, zero, j);
  memcpy(conv->factor, factor, (size_t)k * sizeof(float));
  memcpy(conv->shift, shift, (size_t)k * sizeof(float));
  return TX_OK;
}

tx_status tx_qconv_pack(tx_qconv *conv, const uint8_t *weight, const float *factor, const float *shift, int32_t zero) {
  if (conv->winograd) return pack_winograd(conv, weight, factor, shift);
  if (is_depthwise(conv)) return pack_depthwise(conv, weight, factor, shift, zero);
  return pack_direct(conv, weight, factor, shift, zero);
}

void tx_qconv_release(tx_qconv *conv) {
  tx_dealloc(conv->weight);
  tx_dealloc(conv->start);
  tx_dealloc(conv->factor);
  tx_dealloc(conv->shift);
}

/* -- parts -------------------------------------------------------------------------------------------------------------- */

void tx_qconv_border(const tx_qconv *conv, const tx_qlayout *x, int64_t p, int64_t q, tx_qlayout *wanted) {
  int64_t rows = (p - 1) * conv->stride[0] + (conv->r - 1) * conv->dilation[0] + 1;
  int64_t columns = (q - 1) * conv->stride[1] + (conv->s - 1) * conv->dilation[1] + 1;
  if (conv->winograd) {
    rows = tx_ceil_div(p, TILE) * TILE + 2;
    columns = tx_ceil_div(q, TILE) * TILE + 2;
  }
  wanted->top = tx_max(wanted->top, conv->top);
  wanted->left = tx_max(wanted->left, conv->left);
  wanted->bottom = tx_max(wanted->bottom, rows - conv->top - x->h);
  wanted->right = tx_max(wanted->right, columns - conv->left - x->w);
}

static int64_t tile_rows(const tx_qlayout *y) { return tx_ceil_div(y->h, TILE); }
static int64_t tile_columns(const tx_qlayout *y) { return tx_ceil_div(y->w, TILE); }

tx_qparts tx_qconv_parts(const tx_qconv *conv, const tx_qlayout *y, int64_t images, int threads) {
  const int64_t per_image = conv->winograd ? tile_rows(y) : y->h * y->w == 1 ? 1 : y->h, rows = images * per_image;
  const int64_t all = panels(conv->k / conv->groups);
  tx_qparts parts = {.rows = 1, .channels = 1, .row_block = rows, .panel_block = all};
  if (threads > 1) {
    const bool by_channels = (panel_bytes(conv) * all > LARGE_WEIGHT || rows < threads) && conv->groups == 1;
    if (by_channels) {
      parts.panel_block = tx_ceil_div(all, threads);
      parts.channels = tx_ceil_div(all, parts.panel_block);
    } else {
      parts.row_block = tx_ceil_div(rows, threads);
    }
  }
  if (conv->winograd) parts.row_block = tx_min(parts.row_block, tx_max(1, TILES / tile_columns(y)));
  parts.rows = tx_ceil_div(rows, parts.row_block);
  return parts;
}

/* The most tiles of a part, and the bytes of one element of all its tiles: a line more than these hold, or the elements of a
 * tile, a power of two apart, would all fall into the same few sets of the cache. */
static int64_t most_tiles(const tx_qlayout *y) { return tx_max(1, TILES / tile_columns(y)) * tile_columns(y); }
static int64_t element_bytes(int64_t tiles, int64_t channels, size_t size) {
  enum { LINE = 64 };
  return tiles * channels * (int64_t)size + LINE;
}

int64_t tx_qconv_scratch(const tx_qconv *conv, const tx_qlayout *y) {
  if (conv->winograd) {
    const int64_t tiles = most_tiles(y);
    return ELEMENTS *
           (element_bytes(tiles, conv->c, sizeof(int16_t)) + element_bytes(tiles, tx_kernels.panel, sizeof(int32_t)));
  }
  if (is_depthwise(conv)) return conv->k * (int64_t)sizeof(int32_t);
  return tap_count(conv) * (int64_t)sizeof(int64_t);
}

static tx_requantize after_of(const tx_qconv *conv, tx_qvalue residual, const tx_qlayout *y, bool floats) {
  return (tx_requantize){
      .relu = conv->relu,
      .residual_last = conv->residual_last,
      .zero = floats ? 0 : (float)y->zero,
      .residual_zero = residual.data == NULL ? 0 : (float)residual.layout->zero,
      .residual_factor = conv->residual_factor,
  };
}

/* -- direct ------------------------------------------------------------------------------------------------------------- */

/* Rows of the output, of one panel: with outputs of one pixel, all images are the rows. */
static void direct_rows(const tx_qconv *conv, tx_gemm_u8 *g, tx_requantize *after, tx_range rows, int64_t channel,
                        int64_t group, tx_qvalue x, tx_qvalue residual, tx_qvalue y, float *floats) {
  const tx_qlayout *out = y.layout;
  const bool single = out->h * out->w == 1;
  const int64_t c0 = group * (conv->c / conv->groups);
  g->m = single ? rows.count : out->w;
  g->a_row = single ? x.layout->image : conv->stride[1] * x.layout->c;
  g->y_row = floats != NULL ? conv->k : single ? out->image : out->c;
  for (int64_t i = 0; i < (single ? 1 : rows.count); i++) {
    const int64_t image = single ? rows.first : (rows.first + i) / out->h, p = single ? 0 : (rows.first + i) % out->h;
    g->a = tx_qpixel(x, image, p * conv->stride[0] - conv->top, -conv->left) + c0;
    after->residual = residual.data == NULL ? NULL : tx_qpixel(residual, image, p, 0) + channel;
    if (floats != NULL) {
      g->floats = floats + image * conv->k + channel;
    } else {
      g->y = tx_qpixel(y, image, p, 0) + channel;
    }
    tx_kernels.gemm_u8(g);
  }
}

static void direct_part(const tx_qconv *conv, tx_range rows, tx_range columns, tx_qvalue x, tx_qvalue residual,
                        tx_qvalue y, float *floats, int64_t *offset) {
  const int64_t n = conv->k / conv->groups, panel = tx_kernels.panel, bytes = panel_bytes(conv);
  const bool whole = rows_are_whole(conv);
  for (int64_t t = 0; t < tap_count(conv); t++) {
    const int64_t r = whole ? t : t / conv->s, s = whole ? 0 : t % conv->s;
    offset[t] = r * conv->dilation[0] * x.layout->row + s * conv->dilation[1] * x.layout->c;
  }
  tx_requantize after = after_of(conv, residual, y.layout, floats != NULL);
  tx_gemm_u8 g = {.taps = tap_count(conv), .depth = depth_of(conv), .offset = offset, .after = &after};
  for (int64_t group = 0; group < conv->groups; group++) {
    for (int64_t j = columns.first; j < columns.first + columns.count; j++) {
      const int64_t channel = group * n + j * panel;
      g.n = tx_min(panel, n - j * panel);
      g.b = (const int8_t *)conv->weight + (group * panels(n) + j) * bytes;
      g.start = conv->start + channel;
      after.factor = conv->factor + channel;
      after.shift = conv->shift + channel;
      direct_rows(conv, &g, &after, rows, channel, group, x, residual, y, floats);
    }
  }
}

/* -- depthwise ---------------------------------------------------------------------------------------------------------- */

static void depthwise_pixel(const tx_qconv *conv, const uint8_t *x, int64_t row, int64_t c, int32_t *restrict sum) {
  memcpy(sum, conv->start, (size_t)c * sizeof *sum);
  for (int64_t r = 0; r < conv->r; r++) {
    for (int64_t s = 0; s < conv->s; s++) {
      const uint8_t *restrict at = x + r * conv->dilation[0] * row + s * conv->dilation[1] * c;
      const int8_t *restrict w = (const int8_t *)conv->weight + (r * conv->s + s) * c;
      for (int64_t d = 0; d < c; d++) sum[d] += at[d] * w[d];
    }
  }
}

static void depthwise_part(const tx_qconv *conv, tx_range rows, tx_qvalue x, tx_qvalue residual, tx_qvalue y,
                           int32_t *sum) {
  const tx_qlayout *out = y.layout;
  tx_requantize after = after_of(conv, residual, out, false);
  after.residual = residual.data;
  for (int64_t i = rows.first; i < rows.first + rows.count; i++) {
    const int64_t image = i / out->h, p = i % out->h;
    for (int64_t q = 0; q < out->w; q++) {
      const uint8_t *from = tx_qpixel(x, image, p * conv->stride[0] - conv->top, q * conv->stride[1] - conv->left);
      depthwise_pixel(conv, from, x.layout->row, out->c, sum);
      const uint8_t *own = residual.data == NULL ? NULL : tx_qpixel(residual, image, p, q);
      uint8_t *to = tx_qpixel(y, image, p, q);
      for (int64_t d = 0; d < out->c; d++) {
        const float scaled = (float)sum[d] * conv->factor[d];
        to[d] = tx_qnearest(tx_qfollow(&after, scaled + conv->shift[d], own == NULL ? 0 : own[d]), after.zero);
      }
    }
  }
}

/* -- Winograd ----------------------------------------------------------------------------------------------------------- */

static void winograd_part(const tx_qconv *conv, tx_range rows, tx_range columns, tx_qvalue x, tx_qvalue residual,
                          tx_qvalue y, char *scratch) {
  const tx_qlayout *out = y.layout;
  const int64_t across = tile_columns(out), down = tile_rows(out), tiles = rows.count * across;
  const int64_t c = conv->c, panel = tx_kernels.panel;
  const int64_t v_element = element_bytes(tiles, c, sizeof(int16_t)) / (int64_t)sizeof(int16_t);
  int16_t *v = (int16_t *)scratch;
  int32_t *m = (int32_t *)(v + ELEMENTS * v_element);
  tx_winograd_u8_input input = {
      .tiles = across, .c = c, .x_row = x.layout->row, .zero = x.layout->zero, .v_element = v_element, .v_tile = c};
  for (int64_t i = 0; i < rows.count; i++) {
    const int64_t image = (rows.first + i) / down, p = (rows.first + i) % down * TILE;
    input.x = tx_qpixel(x, image, p - conv->top, -conv->left);
    input.v = v + i * across * c;
    tx_kernels.winograd_u8_input(&input);
  }
  tx_requantize after = after_of(conv, residual, out, false);
  for (int64_t j = columns.first; j < columns.first + columns.count; j++) {
    const int64_t channel = j * panel, n = tx_min(panel, conv->k - channel);
    const int64_t m_element = element_bytes(tiles, n, sizeof(int32_t)) / (int64_t)sizeof(int32_t);
    tx_gemm_i16 g = {.m = tiles, .n = n, .depth = c, .a_row = c, .c_row = n};
    for (int64_t p = 0; p < ELEMENTS; p++) {
      g.a = v + p * v_element;
      g.b = (const int16_t *)conv->weight + (j * ELEMENTS + p) * c * panel;
      g.c = m + p * m_element;
      tx_kernels.gemm_i16(&g);
    }
    after.shift = conv->shift + channel;
    tx_winograd_u8_output output = {.columns = out->w,
                                    .n = n,
                                    .m_element = m_element,
                                    .m_tile = n,
                                    .factor = conv->factor + ELEMENTS * channel,
                                    .after = &after,
                                    .y_row = out->row,
                                    .y_pixel = out->c};
    for (int64_t i = 0; i < rows.count; i++) {
      const int64_t image = (rows.first + i) / down, p = (rows.first + i) % down * TILE;
      after.residual = residual.data == NULL ? NULL : tx_qpixel(residual, image, p, 0) + channel;
      output.rows = tx_min(TILE, out->h - p);
      output.m = m + i * across * n;
      output.y = tx_qpixel(y, image, p, 0) + channel;
      tx_kernels.winograd_u8_output(&output);
    }
  }
}

void tx_qconv_part(const tx_qconv *conv, const tx_qparts *parts, int64_t part, int64_t images, tx_qvalue x,
                   tx_qvalue residual, tx_qvalue y, float *floats, void *scratch) {
  const tx_qlayout *out = y.layout;
  const bool single = !conv->winograd && out->h * out->w == 1;
  const int64_t step = conv->winograd ? TILE : 1, per_image = single ? 1 : conv->winograd ? tile_rows(out) : out->h;
  const tx_range rows = tx_block_range(images * per_image, parts->row_block, part % parts->rows);
  const tx_range columns = tx_block_range(panels(conv->k / conv->groups), parts->panel_block, part / parts->rows);
  if (conv->winograd) {
    winograd_part(conv, rows, columns, x, residual, y, scratch);
  } else if (is_depthwise(conv)) {
    depthwise_part(conv, rows, x, residual, y, scratch);
  } else {
    direct_part(conv, rows, columns, x, residual, y, floats, scratch);
  }
  if (floats != NULL || columns.first > 0) return;
  for (int64_t i = rows.first; i < rows.first + rows.count; i++) {
    const int64_t first = i % per_image * step;
    tx_qfill_border(y, i / per_image, first, tx_min(first + step, out->h));
  }
}
