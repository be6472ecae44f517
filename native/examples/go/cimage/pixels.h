/* Images in C memory: rows of width * channels bytes, one after another, without padding.
 *
 * Who owns what: oh_image_new gives its caller an image; oh_image_free takes it back, with its
 * data. Nothing else here allocates memory that outlives the call, and no function keeps a
 * pointer. An image's data belongs to the image: never free it by itself. */
#ifndef OTHERHEAP_PIXELS_H
#define OTHERHEAP_PIXELS_H

#include <stddef.h>
#include <stdint.h>

typedef struct {
    size_t width, height, channels; /* never 0; their product does not overflow */
    uint8_t *data;                  /* owned: width * height * channels bytes */
} oh_image;

typedef enum { OH_OK, OH_BAD_SIZE, OH_NO_MEMORY } oh_status;

/* Store a new black image in *result, the caller's from then on. Otherwise *result is NULL. */
oh_status oh_image_new(size_t width, size_t height, size_t channels, oh_image **result);

/* Free an image and its data. NULL is allowed. */
void oh_image_free(oh_image *image);

/* The three below borrow the image for the call. Alpha (channel 4 of 4) is left as it is by the
 * first two. */
void oh_image_invert(oh_image *image);

/* Add delta to each sample; what leaves 0..255 stays at the limit. */
void oh_image_brighten(oh_image *image, int delta);

/* Replace each sample by the mean of those at most radius away in x and y, within the image. On
 * OH_NO_MEMORY the image is as it was. */
oh_status oh_image_box_blur(oh_image *image, size_t radius);

#endif
