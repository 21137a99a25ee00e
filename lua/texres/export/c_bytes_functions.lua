--- The functions in C that a quantized network is made of. Their arithmetic is that of csrc/kernels/quantized.h: whole
-- numbers in 32 bits, then floats, one operation after the other.

local functions = {}

-- What every such file begins with.
local HEAD = [[
#ifdef __FAST_MATH__
#error "-ffast-math changes what is rounded how: the scores would not be those of the library"
#endif
#if defined __GNUC__ && !defined __clang__
/* Products are rounded before they are added, in every mode of the compiler. (The other one: gcc 12 makes fused
 * instructions of sums and differences side by side, whatever it was told.) */
#pragma GCC optimize("fp-contract=off", "no-tree-slp-vectorize")
#else
#pragma STDC FP_CONTRACT OFF
#endif

#ifdef __GNUC__
#define ALIGNED __attribute__((aligned(64))) /* as vectors are loaded best */
#else
#define ALIGNED
#endif

/* A value is a byte q, worth scale * (q - zero). Sums of products are whole numbers; what follows them makes the next
 * byte. */
struct after {
  const float *factor, *shift; /* of each output */
  int relu, relu_first;        /* before the residual is added, else behind */
  float zero;
  const uint8_t *residual;     /* null: none */
  float residual_zero, residual_factor;
};

/* The nearest byte, halves to even: above 2^23 floats are whole numbers. */
static uint8_t nearest(float t)
{
  float up;
  t = t > 0 ? t : 0;
  t = t < 255 ? t : 255;
  up = t + 8388608.0f;
  return (uint8_t)(up - 8388608.0f);
}

]]

-- Name, what it stands on, and text; those stand in a file that its steps call, in this order.
local TEXTS = {
  { "sums", [[
static TEXRES_THREAD ALIGNED int32_t sums[@OUTPUTS@];
]] },
  { "finish", [[
/* From t, which holds factor and shift, to bytes y; residual: that of the first. */
static void finish(const struct after *a, int n, float *t, const uint8_t *residual, uint8_t *y)
{
  int k;
  if (a->relu && a->relu_first)
    for (k = 0; k < n; k++) t[k] = t[k] > 0 ? t[k] : 0;
  if (a->residual)
    for (k = 0; k < n; k++) {
      float r = ((float)residual[k] - a->residual_zero) * a->residual_factor;
      t[k] = t[k] + r;
    }
  if (a->relu && !a->relu_first)
    for (k = 0; k < n; k++) t[k] = t[k] > 0 ? t[k] : 0;
  for (k = 0; k < n; k++) y[k] = nearest(t[k] + a->zero);
}

]] },
  { "finish_sums", [[
static TEXRES_THREAD ALIGNED float scaled[@OUTPUTS@];

/* The bytes of n sums, of outputs from `first` on, which are at place `at` of y. */
static void finish_sums(const struct after *a, int n, int first, int at, uint8_t *y)
{
  int k;
  for (k = 0; k < n; k++) {
    float t = (float)sums[k] * a->factor[first + k];
    scaled[k] = t + a->shift[first + k];
  }
  finish(a, n, scaled, a->residual ? a->residual + at : 0, y + at);
}
]] },
  { "patch", [[
/* Compilers make products of bytes of this where there is an instruction for it, else of 16 bits. */
#if defined __AVX512VNNI__ || defined __AVXVNNI__ || defined __ARM_FEATURE_MATMUL_INT8
typedef uint8_t operand;
#else
typedef int16_t operand;
#endif

static TEXRES_THREAD ALIGNED operand patch[@PATCH@];
]] },
  { "dot", [[
/* The sums of `outputs` (of four at a time: there are zeros behind the last). weight is {output}{depth}. */
static void sum_patch(int outputs, int depth, const int8_t *weight, const int32_t *start)
{
  int k, d;
  for (k = 0; k < outputs; k += 4, weight += 4 * depth) {
    const int8_t *w0 = weight, *w1 = w0 + depth, *w2 = w1 + depth, *w3 = w2 + depth;
    int32_t s0 = start[k], s1 = start[k + 1], s2 = start[k + 2], s3 = start[k + 3];
    for (d = 0; d < depth; d++) {
      s0 += patch[d] * w0[d];
      s1 += patch[d] * w1[d];
      s2 += patch[d] * w2[d];
      s3 += patch[d] * w3[d];
    }
    sums[k] = s0;
    sums[k + 1] = s1;
    sums[k + 2] = s2;
    sums[k + 3] = s3;
  }
}
]] },
  { "window", [[
/* How a window moves over an image {rows, columns, channels}; what lies outside is worth 0. */
struct window {
  int rows, columns, channels;
  int kernel_rows, kernel_columns;
  int down, right;                     /* pixels from a window to the next */
  int top, left;                       /* the first begins as far outside */
  int dilation_down, dilation_right;
  int out_rows, out_columns;
  int zero;                            /* the byte that is worth 0 */
};
]] },
  { "gather", [[
/* What the window at (p, q) sees of `depth` channels, as one row. */
static void gather(const struct window *c, int p, int q, int depth, const uint8_t *image)
{
  operand *out = patch;
  int r, s, d;
  for (r = 0; r < c->kernel_rows; r++)
    for (s = 0; s < c->kernel_columns; s++, out += depth) {
      int row = p * c->down - c->top + r * c->dilation_down;
      int column = q * c->right - c->left + s * c->dilation_right;
      int inside = row >= 0 && row < c->rows && column >= 0 && column < c->columns;
      const uint8_t *x = inside ? image + (row * c->columns + column) * c->channels : 0;
      if (inside)
        for (d = 0; d < depth; d++) out[d] = x[d];
      else
        for (d = 0; d < depth; d++) out[d] = (operand)c->zero;
    }
}
]] },
  { "convolve", [[
/* A convolution. weight is {group}{output}{kernel row}{kernel column}{channel of the group}, in each group with zeros
 * to a multiple of four outputs; start holds what the zero of the image adds to all sums of an output. */
static void convolve(const struct window *c, int groups, int outputs, const uint8_t *image, const int8_t *weight,
                     const int32_t *start, const struct after *a, uint8_t *y)
{
  int depth = c->channels / groups, width = outputs / groups, n = c->kernel_rows * c->kernel_columns * depth;
  int p, q, g, filled = (width + 3) / 4 * 4;
  for (p = 0; p < c->out_rows; p++)
    for (q = 0; q < c->out_columns; q++)
      for (g = 0; g < groups; g++) {
        gather(c, p, q, depth, image + g * depth);
        sum_patch(width, n, weight + g * filled * n, start + g * filled);
        finish_sums(a, width, g * width, (p * c->out_columns + q) * outputs + g * width, y);
      }
}
]] },
  { "convolve_thin", [[
/* The same where few products make a sum: weight is {kernel row}{kernel column}{channel}{output}. */
static void convolve_thin(const struct window *c, int outputs, const uint8_t *image, const int8_t *weight,
                          const int32_t *start, const struct after *a, uint8_t *y)
{
  int n = c->kernel_rows * c->kernel_columns * c->channels, p, q, d, k;
  for (p = 0; p < c->out_rows; p++)
    for (q = 0; q < c->out_columns; q++) {
      gather(c, p, q, c->channels, image);
      for (k = 0; k < outputs; k++) sums[k] = start[k];
      for (d = 0; d < n; d++)
        for (k = 0; k < outputs; k++) sums[k] += patch[d] * weight[d * outputs + k];
      finish_sums(a, outputs, 0, (p * c->out_columns + q) * outputs, y);
    }
}
]] },
  { "convolve_each", [[
/* The same of each channel on its own: weight is {kernel row}{kernel column}{channel}. */
static void convolve_each(const struct window *c, const uint8_t *image, const int8_t *weight, const struct after *a,
                          uint8_t *y)
{
  int n = c->channels, p, q, r, s, k;
  for (p = 0; p < c->out_rows; p++)
    for (q = 0; q < c->out_columns; q++) {
      for (k = 0; k < n; k++) sums[k] = 0;
      for (r = 0; r < c->kernel_rows; r++)
        for (s = 0; s < c->kernel_columns; s++) {
          int row = p * c->down - c->top + r * c->dilation_down;
          int column = q * c->right - c->left + s * c->dilation_right;
          const int8_t *w = weight + (r * c->kernel_columns + s) * n;
          const uint8_t *x;
          if (row < 0 || row >= c->rows || column < 0 || column >= c->columns) continue;
          x = image + (row * c->columns + column) * n;
          for (k = 0; k < n; k++) sums[k] += (x[k] - c->zero) * w[k];
        }
      finish_sums(a, n, 0, (p * c->out_columns + q) * n, y);
    }
}
]] },
  { "winograd", [[
/* A convolution of 3x3 by Winograd's F(4x4, 3x3): products of 4x4 outputs at once. V = B^T x B of each tile of 6x6
 * pixels is exact in 16 bits; weight is U = G w G^T {36}{output}{channel}, with a factor {36}{output}. */
static TEXRES_THREAD ALIGNED int16_t tile[36 * @CHANNELS@], tiles[36 * @TILES@];
static TEXRES_THREAD ALIGNED int32_t products[36 * @PRODUCTS@];
static TEXRES_THREAD uint8_t outside[@CHANNELS@];

/* y = B^T x of six rows of n numbers, which lie `step` apart. */
static void input_axis(int n, const int16_t *x, int step, int16_t *y, int y_step)
{
  int d;
  for (d = 0; d < n; d++) {
    int x0 = x[d], x1 = x[d + step], x2 = x[d + 2 * step], x3 = x[d + 3 * step], x4 = x[d + 4 * step];
    int x5 = x[d + 5 * step];
    y[d] = (int16_t)(4 * x0 - 5 * x2 + x4);
    y[d + y_step] = (int16_t)(x3 + x4 - 4 * (x1 + x2));
    y[d + 2 * y_step] = (int16_t)(x4 - x3 + 4 * (x1 - x2));
    y[d + 3 * y_step] = (int16_t)(x4 - x2 + 2 * (x3 - x1));
    y[d + 4 * y_step] = (int16_t)(x4 - x2 - 2 * (x3 - x1));
    y[d + 5 * y_step] = (int16_t)(4 * x1 - 5 * x3 + x5);
  }
}

/* The tile whose first pixel is (row, column), to tiles {36}{count}{channel}. */
static void transform_tile(const struct window *c, int row, int column, int count, const uint8_t *image, int16_t *v)
{
  static TEXRES_THREAD int16_t pixels[36 * @CHANNELS@];
  int n = c->channels, i, j, d;
  for (i = 0; i < 6; i++)
    for (j = 0; j < 6; j++) {
      int inside = row + i >= 0 && row + i < c->rows && column + j >= 0 && column + j < c->columns;
      const uint8_t *x = inside ? image + ((row + i) * c->columns + column + j) * n : outside;
      for (d = 0; d < n; d++) pixels[(6 * i + j) * n + d] = (int16_t)(x[d] - c->zero);
    }
  for (j = 0; j < 6; j++) input_axis(n, pixels + j * n, 6 * n, tile + j * n, 6 * n);
  for (i = 0; i < 6; i++) input_axis(n, tile + 6 * i * n, n, v + 6 * i * count * n, count * n);
}

/* Products of one element of `count` tiles: {count}{output}. */
static void multiply_tiles(int count, int n, int outputs, const int16_t *v, const int16_t *u, int32_t *m)
{
  int t, k, d;
  for (k = 0; k < outputs; k += 4) {
    const int16_t *u0 = u + k * n, *u1 = u0 + n, *u2 = u1 + n, *u3 = u2 + n;
    for (t = 0; t < count; t++) {
      const int16_t *x = v + t * n;
      int32_t s0 = 0, s1 = 0, s2 = 0, s3 = 0;
      for (d = 0; d < n; d++) {
        s0 += x[d] * u0[d];
        s1 += x[d] * u1[d];
        s2 += x[d] * u2[d];
        s3 += x[d] * u3[d];
      }
      m[t * outputs + k] = s0;
      m[t * outputs + k + 1] = s1;
      m[t * outputs + k + 2] = s2;
      m[t * outputs + k + 3] = s3;
    }
  }
}

enum { STRIP = 16 }; /* outputs that are brought back at once */

/* y = A^T x: six rows of STRIP numbers, `step` apart, to the first four of them. */
static void output_axis(float *x, int step)
{
  int k;
  for (k = 0; k < STRIP; k++) {
    float x0 = x[k], x5 = x[k + 5 * step];
    float a = x[k + step] + x[k + 2 * step], b = x[k + step] - x[k + 2 * step];
    float c = x[k + 3 * step] + x[k + 4 * step], d = x[k + 3 * step] - x[k + 4 * step];
    float y0 = x0 + a, y3 = b + 8 * d;
    x[k] = y0 + c;
    x[k + step] = b + 2 * d;
    x[k + 2 * step] = a + 4 * c;
    x[k + 3 * step] = y3 + x5;
  }
}

/* STRIP outputs from `first` on of a tile whose first output is (p, q). */
static void finish_tile(const struct window *c, int p, int q, int first, int outputs, const int32_t *m, int m_step,
                        const struct after *a, uint8_t *y)
{
  float e[36 * STRIP];
  int i, j, k;
  for (i = 0; i < 36; i++)
    for (k = 0; k < STRIP; k++)
      e[i * STRIP + k] = (float)m[i * m_step + first + k] * a->factor[i * outputs + first + k];
  for (j = 0; j < 6; j++) output_axis(e + j * STRIP, 6 * STRIP);
  for (i = 0; i < 4; i++) output_axis(e + 6 * i * STRIP, STRIP);
  for (i = 0; i < 4 && p + i < c->out_rows; i++)
    for (j = 0; j < 4 && q + j < c->out_columns; j++) {
      int at = ((p + i) * c->out_columns + q + j) * outputs + first;
      float *t = e + (6 * i + j) * STRIP;
      for (k = 0; k < STRIP; k++) t[k] = t[k] + a->shift[first + k];
      finish(a, STRIP, t, a->residual ? a->residual + at : 0, y + at);
    }
}

static void winograd(const struct window *c, int outputs, const uint8_t *image, const int16_t *weight,
                     const struct after *a, uint8_t *y)
{
  int count = (c->out_columns + 3) / 4, n = c->channels, p, t, e, k;
  for (k = 0; k < n; k++) outside[k] = (uint8_t)c->zero;
  for (p = 0; p < c->out_rows; p += 4) {
    for (t = 0; t < count; t++) transform_tile(c, p - c->top, 4 * t - c->left, count, image, tiles + t * n);
    for (e = 0; e < 36; e++)
      multiply_tiles(count, n, outputs, tiles + e * count * n, weight + e * outputs * n,
                     products + e * count * outputs);
    for (t = 0; t < count; t++)
      for (k = 0; k < outputs; k += STRIP)
        finish_tile(c, p, 4 * t, k, outputs, products + t * outputs, count * outputs, a, y);
  }
}
]] },
  { "dense", [[
/* A dense layer; weight is {output}{input}, with zeros to a multiple of four outputs. */
static void dense(int inputs, int outputs, const uint8_t *x, const int8_t *weight, const int32_t *start)
{
  int i;
  for (i = 0; i < inputs; i++) patch[i] = x[i];
  sum_patch(outputs, inputs, weight, start);
}
]] },
  { "give_floats", [[
/* What sums are worth, as floats. */
static void give_floats(const struct after *a, int n, float *y)
{
  int k;
  for (k = 0; k < n; k++) {
    float t = (float)sums[k] * a->factor[k];
    t = t + a->shift[k];
    y[k] = a->relu && !(t > 0) ? 0 : t;
  }
}
]] },
  { "max_pool", [[
/* The largest value of each window. */
static void max_pool(const struct window *c, const uint8_t *image, uint8_t *y)
{
  int p, q, r, s, k;
  for (p = 0; p < c->out_rows; p++)
    for (q = 0; q < c->out_columns; q++, y += c->channels) {
      for (k = 0; k < c->channels; k++) y[k] = 0;
      for (r = 0; r < c->kernel_rows; r++)
        for (s = 0; s < c->kernel_columns; s++) {
          int row = p * c->down - c->top + r, column = q * c->right - c->left + s;
          const uint8_t *x;
          if (row < 0 || row >= c->rows || column < 0 || column >= c->columns) continue;
          x = image + (row * c->columns + column) * c->channels;
          for (k = 0; k < c->channels; k++)
            if (x[k] > y[k]) y[k] = x[k];
        }
    }
}
]] },
  { "mean_pool", [[
/* The mean of each window; factor[n] is for one of n pixels. `all`: pixels outside count. */
static void mean_pool(const struct window *c, int all, const float *factor, float zero, const uint8_t *image,
                      uint8_t *y)
{
  int p, q, r, s, k;
  for (p = 0; p < c->out_rows; p++)
    for (q = 0; q < c->out_columns; q++)
      for (k = 0; k < c->channels; k++) {
        int32_t sum = 0, count = 0;
        float t;
        for (r = 0; r < c->kernel_rows; r++)
          for (s = 0; s < c->kernel_columns; s++) {
            int row = p * c->down - c->top + r, column = q * c->right - c->left + s;
            if (row < 0 || row >= c->rows || column < 0 || column >= c->columns) continue;
            sum += image[(row * c->columns + column) * c->channels + k] - c->zero;
            count++;
          }
        t = (float)sum * factor[all ? c->kernel_rows * c->kernel_columns : count];
        *y++ = nearest(t + zero);
      }
}
]] },
  { "mean_of_all", [[
/* The mean of each channel. */
static void mean_of_all(int pixels, int channels, int zero, float factor, float out_zero, const uint8_t *x, uint8_t *y)
{
  int i, k;
  for (k = 0; k < channels; k++) {
    int32_t sum = -pixels * zero;
    float t;
    for (i = 0; i < pixels; i++) sum += x[i * channels + k];
    t = (float)sum * factor;
    y[k] = nearest(t + out_zero);
  }
}
]] },
  { "max_of_all", [[
/* The largest value of each channel. */
static void max_of_all(int pixels, int channels, const uint8_t *x, uint8_t *y)
{
  int i, k;
  for (k = 0; k < channels; k++) y[k] = x[k];
  for (i = 1; i < pixels; i++)
    for (k = 0; k < channels; k++)
      if (x[i * channels + k] > y[k]) y[k] = x[i * channels + k];
}
]] },
  { "add", [[
/* The sum of two values; factors are scales over that of the sum. */
static void add(int n, const uint8_t *a, int a_zero, float a_factor, const uint8_t *b, int b_zero, float b_factor,
                int relu, float zero, uint8_t *y)
{
  int i;
  for (i = 0; i < n; i++) {
    float t = (float)(a[i] - a_zero) * a_factor, u = (float)(b[i] - b_zero) * b_factor;
    t = t + u;
    if (relu) t = t > 0 ? t : 0;
    y[i] = nearest(t + zero);
  }
}
]] },
  { "multiply", [[
/* The product of two values; the second has m elements, which go with the first over and over. */
static void multiply(int n, const uint8_t *a, int a_zero, int m, const uint8_t *b, int b_zero, float factor, float zero,
                     uint8_t *y)
{
  int i, j;
  for (i = 0; i < n; i += m)
    for (j = 0; j < m; j++) {
      float t = (float)((a[i + j] - a_zero) * (b[j] - b_zero)) * factor;
      y[i + j] = nearest(t + zero);
    }
}
]] },
  { "place", [[
/* The channels of an image among those of another one, from y on, whose pixels are `step` bytes apart: as they are, or
 * of another scale. */
static void place(int pixels, int channels, int step, const uint8_t *x, int same, int x_zero, float factor, float zero,
                  uint8_t *y)
{
  int k;
  for (; pixels > 0; pixels--, x += channels, y += step)
    for (k = 0; k < channels; k++) {
      float t = (float)(x[k] - x_zero) * factor;
      y[k] = same ? x[k] : nearest(t + zero);
    }
}
]] },
  { "look_up", [[
static void look_up(int n, const uint8_t *table, const uint8_t *x, uint8_t *y)
{
  int i;
  for (i = 0; i < n; i++) *y++ = table[*x++];
}
]] },
  { "copy", [[
static void copy(int n, const uint8_t *x, uint8_t *y)
{
  int i;
  for (i = 0; i < n; i++) y[i] = x[i];
}
]] },
  { "dequantize", [[
static void dequantize(int n, int zero, float scale, const uint8_t *x, float *y)
{
  int i;
  for (i = 0; i < n; i++) y[i] = (float)(x[i] - zero) * scale;
}
]] },
}

--- What all begin with, and the text of those that are `used`: name -> true. `sizes`: PATCH, CHANNELS, TILES, PRODUCTS,
-- of arrays that they work in.
function functions.text(used, sizes)
  local list = {}
  for _, row in ipairs(TEXTS) do
    if used[row[1]] then list[#list + 1] = (row[2]:gsub("@(%u+)@", sizes)) end
  end
  return HEAD .. table.concat(list, "\n")
end

return functions
