/* contrast.c - see contrast.h. */
#include "data/contrast.h"

#include <math.h>

#include "base/integers.h"

/* Adds a row of values and their squares to the sums of the columns, or takes it away (sign -1). */
static void add_row(const float *row, int64_t values, double sign, double *sum, double *square) {
  for (int64_t i = 0; i < values; i++) {
    double value = (double)row[i];
    sum[i] += sign * value;
    square[i] += sign * value * value;
  }
}

/* One channel of a row, of whose box the columns' sums are those of `rows` rows. */
static void finish_row(const float *from, float *to, int64_t width, int64_t channels, int64_t reach, int64_t rows,
                       double floor, const double *sum, const double *square) {
  double total = 0, squares = 0;
  for (int64_t x = -reach; x < width; x++) {
    int64_t enters = x + reach, leaves = x - reach - 1;
    if (enters < width) {
      total += sum[enters * channels];
      squares += square[enters * channels];
    }
    if (leaves >= 0) {
      total -= sum[leaves * channels];
      squares -= square[leaves * channels];
    }
    if (x < 0) continue;
    double count = (double)(rows * (tx_min(enters, width - 1) - tx_max(leaves, -1)));
    double mean = total / count, variance = squares / count - mean * mean;
    double deviation = variance < 0 ? 0 : sqrt(variance); /* NaN stays */
    to[x * channels] = (float)(((double)from[x * channels] - mean) / (deviation + floor));
  }
}

void tx_local_contrast(const float *image, float *result, tx_size2 size, int64_t channels, int64_t reach, double floor,
                       double *sums) {
  const int64_t values = size.width * channels;
  reach = tx_min(reach, tx_max(size.height, size.width)); /* a larger box shows no more */
  double *square = sums + values;
  for (int64_t i = 0; i < 2 * values; i++) sums[i] = 0;
  for (int64_t y = -reach; y < size.height; y++) {
    int64_t enters = y + reach, leaves = y - reach - 1;
    if (enters >= 0 && enters < size.height) add_row(image + enters * values, values, 1, sums, square);
    if (leaves >= 0) add_row(image + leaves * values, values, -1, sums, square);
    if (y < 0) continue;
    int64_t rows = tx_min(enters, size.height - 1) - tx_max(leaves, -1);
    for (int64_t c = 0; c < channels; c++)
      finish_row(image + y * values + c, result + y * values + c, size.width, channels, reach, rows, floor, sums + c,
                 square + c);
  }
}
