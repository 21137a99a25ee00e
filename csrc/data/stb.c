/* stb.c - the one place where the stb libraries are compiled: decoding of JPEG, BMP and TGA, and resizing, in memory only.
 *
 * PNG is read by png.c (stb_image compares no check sums and unpacks without bound), PNM by image.c (stb_image knows neither
 * its 16-bit byte order nor maxima below 255). An assertion must not end the process: they are compiled in for fuzzing only.
 * Memory is cleared, so that what a damaged file leaves undefined is
 * the same every time. The Makefile lets sums wrap around here (-fwrapv): stb_image relies on it.
 */
#include "data/stb.h"

#include <stdlib.h>

_Thread_local bool tx_stb_ran_out;

static void *noted(void *block) {
  if (block == NULL) tx_stb_ran_out = true;
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
