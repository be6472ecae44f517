#include "pixels.h"

#include <stdlib.h>
#include <string.h>

oh_status oh_image_new(size_t width, size_t height, size_t channels, oh_image **result) {
    size_t pixels;
    size_t bytes;
    *result = NULL;
    if (width == 0 || height == 0 || channels == 0 ||
        __builtin_mul_overflow(width, height, &pixels) ||
        __builtin_mul_overflow(pixels, channels, &bytes) || bytes > PTRDIFF_MAX)
        return OH_BAD_SIZE;

    oh_image *image = malloc(sizeof *image); /* ours until the last line */
    if (image == NULL)
        return OH_NO_MEMORY;
    image->width = width;
    image->height = height;
    image->channels = channels;
    image->data = calloc(pixels, channels); /* the image's */
    if (image->data == NULL) {
        free(image);
        return OH_NO_MEMORY;
    }
    *result = image;
    return OH_OK;
}

void oh_image_free(oh_image *image) {
    if (image == NULL)
        return;
    free(image->data);
    free(image);
}

/* The number of channels that hold colour. */
static size_t colours(const oh_image *image) {
    return image->channels == 4 ? 3 : image->channels;
}

void oh_image_invert(oh_image *image) {
    uint8_t *end = image->data + image->width * image->height * image->channels;
    size_t count = colours(image);
    for (uint8_t *pixel = image->data; pixel < end; pixel += image->channels)
        for (size_t c = 0; c < count; c++)
            pixel[c] = (uint8_t)(255 - pixel[c]);
}

void oh_image_brighten(oh_image *image, int delta) {
    uint8_t *end = image->data + image->width * image->height * image->channels;
    size_t count = colours(image);
    if (delta > 255)
        delta = 255; /* so that the sum below cannot overflow */
    if (delta < -255)
        delta = -255;
    for (uint8_t *pixel = image->data; pixel < end; pixel += image->channels)
        for (size_t c = 0; c < count; c++) {
            int sum = pixel[c] + delta;
            pixel[c] = (uint8_t)(sum < 0 ? 0 : sum > 255 ? 255 : sum);
        }
}

/* Blur count samples that lie step bytes apart, from in to out. Both are borrowed and must not
 * overlap. */
static void blur_line(const uint8_t *in, uint8_t *out, size_t count, size_t step, size_t radius) {
    size_t first = 0; /* the window is in[first], …, in[next - 1] */
    size_t next = 0;
    uint64_t sum = 0;
    for (size_t i = 0; i < count; i++) {
        size_t last = radius < count - 1 - i ? i + radius : count - 1;
        while (next <= last)
            sum += in[next++ * step];
        while (i - first > radius)
            sum -= in[first++ * step];
        uint64_t size = next - first;
        out[i * step] = (uint8_t)((sum + size / 2) / size);
    }
}

oh_status oh_image_box_blur(oh_image *image, size_t radius) {
    size_t row = image->width * image->channels;
    uint8_t *scratch; /* ours: freed at the end */
    if (radius == 0)
        return OH_OK;
    scratch = malloc(row * image->height);
    if (scratch == NULL)
        return OH_NO_MEMORY;
    for (size_t y = 0; y < image->height; y++)
        for (size_t c = 0; c < image->channels; c++)
            blur_line(image->data + y * row + c, scratch + y * row + c, image->width,
                      image->channels, radius);
    for (size_t i = 0; i < row; i++)
        blur_line(scratch + i, image->data + i, image->height, row, radius);
    free(scratch);
    return OH_OK;
}
