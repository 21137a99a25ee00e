/* stb.h - what stb_image's own answers leave out. */
#ifndef TX_DATA_STB_H
#define TX_DATA_STB_H

#include <stdbool.h>

/* Whether memory ran out for stb_image on this thread since it was set to false: some of its readers then call the picture
 * damaged. */
extern _Thread_local bool tx_stb_ran_out;

#endif
