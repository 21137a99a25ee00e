/* regions.c - see regions.h: union-find in the array of the result, which takes no memory beside it.
 *
 * First number[p] is a pixel of the same region at or before p, counted from 1; a pixel that leads to itself is its
 * region's first. Then, in the same order, -(the region): what a pixel leads to has been numbered before it. */
#include "data/regions.h"

#include <stdbool.h>

/* The first pixel of the region of p; shortens the way for those who come later. */
static int64_t first_of(int64_t *lead, int64_t p) {
  while (lead[p] != p + 1) {
    const int64_t next = lead[p] - 1;
    lead[p] = lead[next];
    p = next;
  }
  return p;
}

static void join(int64_t *lead, int64_t a, int64_t b) {
  a = first_of(lead, a), b = first_of(lead, b);
  if (a < b) {
    lead[b] = a + 1;
  } else {
    lead[a] = b + 1;
  }
}

/* Joins pixel p, at (y, x), with those of its neighbours that stand before it. */
static void join_neighbours(const uint8_t *mask, int64_t width, int64_t y, int64_t x, int64_t *lead) {
  const int64_t p = y * width + x;
  if (x > 0 && mask[p - 1] != 0) join(lead, p - 1, p);
  if (y == 0) return;
  for (int64_t dx = -1; dx <= 1; dx++) {
    const bool inside = x + dx >= 0 && x + dx < width;
    if (inside && mask[p - width + dx] != 0) join(lead, p - width + dx, p);
  }
}

int64_t tx_regions(const uint8_t *mask, int64_t height, int64_t width, int64_t first, int64_t *number) {
  const int64_t n = height * width;
  int64_t count = 0;
  for (int64_t y = 0; y < height; y++) {
    for (int64_t x = 0; x < width; x++) {
      const int64_t p = y * width + x;
      number[p] = mask[p] != 0 ? p + 1 : 0;
      if (mask[p] != 0) join_neighbours(mask, width, y, x, number);
    }
  }
  for (int64_t p = 0; p < n; p++) {
    if (number[p] == p + 1) {
      number[p] = -(first + count++);
    } else if (number[p] > 0) {
      number[p] = number[number[p] - 1];
    }
  }
  for (int64_t p = 0; p < n; p++) number[p] = -number[p];
  return count;
}
