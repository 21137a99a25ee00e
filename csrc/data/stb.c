/* stb.c - the one place where the stb libraries are compiled: decoding of JPEG, BMP and TGA, and resizing, in memory only.
 *
 * PNG is read by png.c (stb_image compares no check sums and unpacks without bound), PNM by pnm.c (stb_image knows neither
 * its 16-bit byte order nor maxima below 255). An assertion must not end the process: they are compiled in for fuzzing only.
 * Memory is cleared, so that what a damaged file leaves undefined is the same every time. The Makefile lets sums wrap around here
 * (-fwrapv): stb_image relies on it.
 */
#include "data/stb.h"

#include <stdlib.h>
#include <string.h>

/* Whether memory ran out on this thread: some of stb_image's readers then call the picture damaged. */
static _Thread_local bool ran_out;

static void *noted(void *block) {
  if (block == NULL) ran_out = true;
  return block;
}

#define STBI_MALLOC(bytes) noted(calloc(1, bytes))
#define STBI_REALLOC(block, bytes) noted(realloc(block, bytes))
#define STBI_FREE(block) free(block)

#define STBI_ONLY_JPEG
#define STBI_ONLY_BMP
#define STBI_ONLY_TGA
#define STBI_NO_STDIO
#define STBI_MAX_DIMENSIONS 65536
#ifndef TX_FUZZING
#define STBI_ASSERT(condition) ((void)sizeof(condition))
#define STBIR_ASSERT(condition) ((void)sizeof(condition))
#endif

#define STB_IMAGE_IMPLEMENTATION
#include <stb/stb_image.h>

#define STB_IMAGE_RESIZE_IMPLEMENTATION
#include <stb/stb_image_resize.h>

static tx_status fail(const char *kind, const char *reason) {
  if (ran_out) return tx_fail(TX_ENOMEM, "not enough memory");
  if (kind == NULL) return tx_fail(TX_EWORLD, "not a PNG, JPEG, BMP, TGA, PGM or PPM image, or damaged");
  return tx_fail(TX_EWORLD, "the %s image is %s", kind, reason);
}

tx_status tx_stb_info(const char *kind, const uint8_t *bytes, size_t size, tx_image_info *info) {
  int width, height, channels;
  ran_out = false;
  if (!stbi_info_from_memory(bytes, (int)size, &width, &height, &channels)) {
    return fail(kind, "damaged in its header, or too large");
  }
  *info = (tx_image_info){height, width, channels < 3 ? 1 : 3, 8};
  return TX_OK;
}

tx_status tx_stb_decode(const char *kind, const uint8_t *bytes, size_t size, bool with_alpha, tx_tensor **out) {
  tx_image_info info = {0};
  TX_TRY(tx_stb_info(kind, bytes, size, &info));
  int width, height, found, channels = (int)info.channels + with_alpha;
  stbi_uc *pixels = stbi_load_from_memory(bytes, (int)size, &width, &height, &found, channels);
  if (pixels == NULL) return fail(kind, "damaged or truncated");
  int64_t shape[3] = {height, width, channels};
  tx_status status = tx_empty(TX_U8, 3, shape, out);
  if (status == TX_OK) memcpy(tx_u8(*out), pixels, (size_t)tx_numel(*out));
  stbi_image_free(pixels);
  return status;
}
