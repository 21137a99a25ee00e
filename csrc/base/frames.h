/* frames.h - raw frames from a descriptor, read by a thread of their own while the caller works.
 *
 * A stream is frames of `bytes` bytes one after the other, as `ffmpeg -f rawvideo` writes them. The thread reads each into a
 * spare buffer and puts it into a queue that holds `room` of them:
 *
 *     descriptor --> spare --> | 17 | 16 | 15 | 14 | --> tx_frames_take
 *
 * A frame that finds no room either waits, and with it whoever writes to the pipe, or is dropped: then the numbers of the
 * frames that are taken leave a gap. Both are counted. Only one thread may take.
 */
#ifndef TX_BASE_FRAMES_H
#define TX_BASE_FRAMES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

typedef struct tx_frames tx_frames;

typedef struct tx_frames_options {
  size_t bytes; /* of a frame */
  int room;     /* of the queue, in frames */
  bool drop;    /* what finds no room is dropped; else it waits */
  bool owned;   /* the descriptor is closed with the frames */
} tx_frames_options;

/* What has happened so far. */
typedef struct tx_frames_counts {
  int64_t read;           /* frames that came whole */
  int64_t dropped;        /* of these: found no room and are gone */
  int64_t delayed;        /* of these: waited for room */
  double waited, longest; /* seconds that they waited, all together and the longest */
  size_t rest;            /* bytes of a last frame that ended too soon */
  const char *failure;    /* why reading ended; NULL: the stream ended, or goes on */
} tx_frames_counts;

typedef enum tx_frames_answer { TX_FRAMES_NONE, TX_FRAMES_ONE, TX_FRAMES_END } tx_frames_answer;

/* Nothing is read before the first frame is waited for: whoever is ended before that has taken nothing. */
tx_status tx_frames_open(int descriptor, const tx_frames_options *options, tx_frames **out);
/* Waits for a frame, no longer than `seconds`. */
tx_frames_answer tx_frames_wait(tx_frames *frames, double seconds);
/* A frame that is taken. */
typedef struct tx_frame {
  int64_t number; /* in the stream, from 1 */
  double arrived; /* when it had come whole (tx_clock) */
  double waited;  /* seconds for room in the queue; 0: it found some */
} tx_frame;

/* Copies the next frame, which has been waited for, to `to`. */
tx_frame tx_frames_take(tx_frames *frames, void *to);
tx_frames_counts tx_frames_count(tx_frames *frames);
/* Reads no further frame, but to its end the one that has begun, as long as its bytes come; what has come whole can still be
 * taken. */
void tx_frames_stop(tx_frames *frames);
void tx_frames_close(tx_frames *frames); /* NULL is ignored */

/* Opens a path to read frames from: a file, a device, or a pipe, whose writer may come later. */
tx_status tx_frames_open_path(const char *operation, const char *path, int *descriptor);

#endif
