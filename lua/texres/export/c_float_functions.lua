--- The functions in C that a network in f32 is made of.

local plain = require "texres.plain"

local functions = {}

-- Name and text; those stand in a file that its steps call, in this order. @UNROLL@ is what begins a loop over LANES.
local TEXTS = {
  { "pad", [[
/* A copy of an image {height, width, channels} inside a border of zeros. */
static void pad(int height, int width, int channels, int top, int bottom, int left, int right, const float *x, float *y)
{
  int row = width * channels, before = left * channels, after = right * channels;
  int i;
  for (i = 0; i < top * (before + row + after); i++) *y++ = 0;
  while (height-- > 0) {
    for (i = 0; i < before; i++) *y++ = 0;
    for (i = 0; i < row; i++) *y++ = *x++;
    for (i = 0; i < after; i++) *y++ = 0;
  }
  for (i = 0; i < bottom * (before + row + after); i++) *y++ = 0;
}
]] },
  { "convolve", [[
/* A convolution of an image that has its border. Weights are {panel}{kernel row}{kernel column}{channel}{LANES}: in a
 * panel are LANES outputs side by side, with zeros behind the last. Compilers make vectors of the innermost loop; LANES
 * and PIXELS are such that the sums stay in registers. */
struct convolution {
  int columns, channels; /* of the image with its border */
  int kernel_rows, kernel_columns;
  int down, right;       /* pixels from a place of the kernel to the next */
  int dilation_down, dilation_right;
  int groups;
  int out_rows, out_columns, outputs;
};

static void add_products(float *restrict sum, float x, const float *restrict weight)
{
  int k;
@UNROLL@  for (k = 0; k < LANES; k++) sum[k] += x * weight[k];
}

/* The outputs {PIXELS}{LANES} of a panel at PIXELS places; x are `depth` channels of the first pixel of each. */
static void convolve_panel(const struct convolution *c, int depth, const float *const x[PIXELS], const float *weight,
                           float *y)
{
  /* kernel columns that lie side by side in memory are read as one */
  int joined = c->dilation_right == 1 && c->groups == 1;
  int spans = joined ? 1 : c->kernel_columns, span = joined ? c->kernel_columns * depth : depth;
  float sum[PIXELS][LANES];
  int i, k, r, s, d;
  for (i = 0; i < PIXELS; i++)
    for (k = 0; k < LANES; k++) sum[i][k] = 0;
  for (r = 0; r < c->kernel_rows; r++)
    for (s = 0; s < spans; s++) {
      int at = (r * c->dilation_down * c->columns + s * c->dilation_right) * c->channels;
      const float *x0 = x[0] + at, *x1 = x[1] + at, *x2 = x[2] + at, *x3 = x[3] + at;
      for (d = 0; d < span; d++, weight += LANES) {
        add_products(sum[0], x0[d], weight);
        add_products(sum[1], x1[d], weight);
        add_products(sum[2], x2[d], weight);
        add_products(sum[3], x3[d], weight);
      }
    }
  for (i = 0; i < PIXELS; i++)
    for (k = 0; k < LANES; k++) y[i * LANES + k] = sum[i][k];
}

static void convolve(const struct convolution *c, const float *image, const float *weight, const float *bias, float *y)
{
  int depth = c->channels / c->groups, width = c->outputs / c->groups;
  int g, first, p, q, i, k;
  for (g = 0; g < c->groups; g++)
    for (first = 0; first < width; first += LANES) {
      int lanes = width - first < LANES ? width - first : LANES, output = g * width + first;
      for (p = 0; p < c->out_rows; p++)
        for (q = 0; q < c->out_columns; q += PIXELS) {
          int pixels = c->out_columns - q < PIXELS ? c->out_columns - q : PIXELS;
          const float *x[PIXELS];
          float sum[PIXELS][LANES];
          for (i = 0; i < PIXELS; i++) { /* beyond the last column: the last once more */
            int column = q + (i < pixels ? i : pixels - 1);
            x[i] = image + (p * c->down * c->columns + column * c->right) * c->channels + g * depth;
          }
          convolve_panel(c, depth, x, weight, sum[0]);
          for (i = 0; i < pixels; i++) {
            float *out = y + (p * c->out_columns + q + i) * c->outputs + output;
            for (k = 0; k < lanes; k++) out[k] = sum[i][k] + bias[output + k];
          }
        }
      weight += c->kernel_rows * c->kernel_columns * depth * LANES;
    }
}
]] },
  { "convolve_each", [[
/* A convolution of each channel on its own, of an image that has its border. Weights are {kernel row}{kernel column}{
 * channel}. */
struct depthwise {
  int columns, channels; /* of the image with its border */
  int kernel_rows, kernel_columns;
  int down, right;
  int dilation_down, dilation_right;
  int out_rows, out_columns;
};

static void convolve_each(const struct depthwise *c, const float *image, const float *weight, const float *bias,
                          float *y)
{
  int n = c->channels, p, q, r, s, k;
  for (p = 0; p < c->out_rows; p++)
    for (q = 0; q < c->out_columns; q++, y += n) {
      for (k = 0; k < n; k++) y[k] = bias[k];
      for (r = 0; r < c->kernel_rows; r++)
        for (s = 0; s < c->kernel_columns; s++) {
          const float *x = image + ((p * c->down + r * c->dilation_down) * c->columns + q * c->right
                                    + s * c->dilation_right) * n;
          const float *w = weight + (r * c->kernel_columns + s) * n;
          for (k = 0; k < n; k++) y[k] += x[k] * w[k];
        }
    }
}
]] },
  { "dense", [[
/* A dense layer; weights are {input}{output}. */
static void dense(int inputs, int outputs, const float *x, const float *weight, const float *bias, float *y)
{
  int c, k;
  for (k = 0; k < outputs; k++) y[k] = bias[k];
  for (c = 0; c < inputs; c++, weight += outputs)
    for (k = 0; k < outputs; k++) y[k] += x[c] * weight[k];
}
]] },
  { "scale", [[
/* A factor and a shift for each channel. */
static void scale(int pixels, int channels, const float *x, const float *factor, const float *shift, float *y)
{
  int k;
  for (; pixels > 0; pixels--, x += channels, y += channels)
    for (k = 0; k < channels; k++) y[k] = x[k] * factor[k] + shift[k];
}
]] },
  { "add", [[
/* y + x, in place. */
static void add(int n, const float *x, float *y)
{
  int i;
  for (i = 0; i < n; i++) y[i] += x[i];
}
]] },
  { "copy", [[
static void copy(int n, const float *x, float *y)
{
  int i;
  for (i = 0; i < n; i++) y[i] = x[i];
}
]] },
  { "combine", [[
/* Products ('*') or differences ('-') of the values of two arrays, whose pixels and channels are so many floats apart:
 * 0 where one value goes with all. */
static void combine(char how, int pixels, int channels, const float *x, int x_pixel, int x_channel, const float *z,
                    int z_pixel, int z_channel, float *y)
{
  int i, k;
  for (i = 0; i < pixels; i++)
    for (k = 0; k < channels; k++) {
      float a = x[i * x_pixel + k * x_channel], b = z[i * z_pixel + k * z_channel];
      *y++ = how == '*' ? a * b : a - b;
    }
}
]] },
  { "place", [[
/* The channels of an image among those of another one, from y on, whose pixels are `step` floats apart. */
static void place(int pixels, int channels, int step, const float *x, float *y)
{
  int k;
  for (; pixels > 0; pixels--, x += channels, y += step)
    for (k = 0; k < channels; k++) y[k] = x[k];
}
]] },
  { "pool", [[
/* The largest value of each window ('x'), its mean over the window ('m') or over what of it lies inside of the image
 * ('i'). */
struct pooling {
  int rows, columns, channels;
  int kernel_rows, kernel_columns;
  int down, right;
  int top, left; /* the first window begins as far outside */
  int out_rows, out_columns;
};

static void pool_pixel(const struct pooling *c, char how, int top, int left, const float *image, float *y)
{
  int r, s, k, inside = 0;
  for (r = top; r < top + c->kernel_rows; r++)
    for (s = left; s < left + c->kernel_columns; s++) {
      const float *x = image + (r * c->columns + s) * c->channels;
      if (r < 0 || r >= c->rows || s < 0 || s >= c->columns) continue;
      for (k = 0; k < c->channels; k++)
        if (!inside) y[k] = x[k];
        else if (how != 'x') y[k] += x[k];
        else if (!(x[k] <= y[k])) y[k] = x[k];
      inside++;
    }
  if (how == 'm') inside = c->kernel_rows * c->kernel_columns;
  for (k = 0; how != 'x' && k < c->channels; k++) y[k] /= (float)inside;
}

static void pool(const struct pooling *c, char how, const float *image, float *y)
{
  int p, q;
  for (p = 0; p < c->out_rows; p++)
    for (q = 0; q < c->out_columns; q++, y += c->channels)
      pool_pixel(c, how, p * c->down - c->top, q * c->right - c->left, image, y);
}
]] },
  { "pool_all", [[
/* The largest value of each channel ('x'), or its mean ('m'). */
static void pool_all(char how, int pixels, int channels, const float *x, float *y)
{
  int i, k;
  for (k = 0; k < channels; k++) y[k] = x[k];
  for (i = 1; i < pixels; i++) {
    x += channels;
    for (k = 0; k < channels; k++)
      if (how == 'm') y[k] += x[k];
      else if (!(x[k] <= y[k])) y[k] = x[k];
  }
  for (k = 0; how == 'm' && k < channels; k++) y[k] /= (float)pixels;
}
]] },
}

-- An activation as an expression of x, and of its slope.
local ACTIVATIONS = {
  relu = "x < 0 ? 0 : x", leaky_relu = "x > 0 ? x : slope * x", sigmoid = "1 / (1 + expf(-x))", tanh = "tanhf(x)",
  silu = "x / (1 + expf(-x))", gelu = "0.5f * x * (1 + erff(x * 0.707106781f))",
  gelu_tanh = "0.5f * x * (1 + tanhf(0.797884561f * (x + 0.044715f * x * x * x)))",
  softplus = "(x < 0 ? 0 : x) + log1pf(expf(-fabsf(x)))", elu = "x > 0 ? x : slope * expm1f(x)",
  hard_swish = "x <= -3 ? 0 : x >= 3 ? x : x * (x + 3) / 6",
}
local WITH_SLOPE = { leaky_relu = true, elu = true }

local function activation_text(kind)
  local slope = WITH_SLOPE[kind]
  return ([[
static void apply_%s(int n, %sconst float *values, float *y)
{
  int i;
  for (i = 0; i < n; i++) {
    float x = values[i];
    y[i] = %s;
  }
}
]]):format(kind, slope and "float slope, " or "", ACTIVATIONS[kind])
end

-- gcc takes a short loop apart before it looks for vectors.
local UNROLL = [[
#if defined __GNUC__ && !defined __clang__
#pragma GCC unroll 1 /* a loop that is left whole becomes vectors */
#endif
]]

--- Whether there is a function for an activation; and whether it has a slope.
function functions.is_activation(kind) return ACTIVATIONS[kind] ~= nil end
function functions.has_slope(kind) return WITH_SLOPE[kind] == true end

--- The text of those that are `used`: name -> true, activations by their kind.
function functions.text(used, lanes)
  local list = {}
  for _, row in ipairs(TEXTS) do
    if used[row[1]] then list[#list + 1] = (row[2]:gsub("@UNROLL@", lanes <= 16 and UNROLL or "")) end
  end
  for _, kind in ipairs(plain.names(ACTIVATIONS)) do
    if used[kind] then list[#list + 1] = activation_text(kind) end
  end
  return table.concat(list, "\n")
end

return functions
