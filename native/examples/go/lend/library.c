#include "library.h"

#include <stdlib.h>
#include <string.h>

uint64_t lib_sum(const uint8_t *bytes, size_t size) {
    uint64_t sum = 0;
    for (size_t i = 0; i < size; i++)
        sum += bytes[i];
    return sum;
}

void lib_fill(uint8_t *bytes, size_t size, uint8_t value) {
    if (size > 0) /* memset(NULL, v, 0) is undefined */
        memset(bytes, value, size);
}

uint64_t lib_sum_parts(const lib_part *parts, size_t count) {
    uint64_t sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += lib_sum(parts[i].bytes, parts[i].size);
    return sum;
}

struct lib_reader {
    const uint8_t *bytes; /* the caller's, kept until lib_reader_free */
    size_t size;
    size_t next;
};

lib_reader *lib_reader_new(const uint8_t *bytes, size_t size) {
    lib_reader *reader = calloc(1, sizeof *reader); /* the caller's */
    if (reader == NULL)
        return NULL;
    reader->bytes = bytes;
    reader->size = size;
    return reader;
}

int lib_reader_next(lib_reader *reader) {
    return reader->next < reader->size ? reader->bytes[reader->next++] : -1;
}

void lib_reader_free(lib_reader *reader) {
    free(reader); /* not its bytes */
}

struct item {
    struct item *next; /* owned */
    uint8_t *bytes;    /* owned */
    size_t size;
};

struct lib_box {
    struct item *first; /* owned, with all that follow */
    struct item **last; /* where the next one goes: in this struct or in the last item */
};

lib_box *lib_box_new(void) {
    lib_box *box = calloc(1, sizeof *box); /* the caller's */
    if (box != NULL)
        box->last = &box->first;
    return box;
}

bool lib_box_put(lib_box *box, uint8_t *bytes, size_t size) {
    struct item *item = calloc(1, sizeof *item); /* the box's */
    if (item == NULL)
        return false; /* bytes are still the caller's */
    item->bytes = bytes;
    item->size = size;
    *box->last = item;
    box->last = &item->next;
    return true;
}

uint8_t *lib_box_take(lib_box *box, size_t *size) {
    struct item *item = box->first;
    if (item == NULL)
        return NULL;
    uint8_t *bytes = item->bytes; /* the caller's from now on */
    *size = item->size;
    box->first = item->next;
    if (box->first == NULL)
        box->last = &box->first;
    free(item);
    return bytes;
}

void lib_box_free(lib_box *box) {
    size_t size;
    if (box == NULL)
        return;
    for (uint8_t *bytes; (bytes = lib_box_take(box, &size)) != NULL;)
        free(bytes);
    free(box);
}

void lib_words(const char *text, size_t size, lib_visit visit, uintptr_t context) {
    for (size_t i = 0; i < size;) {
        size_t start = i;
        while (i < size && text[i] != ' ')
            i++;
        if (i > start && !visit(context, start, i - start))
            return;
        i++;
    }
}

uint64_t *lib_squares(size_t count) {
    uint64_t *squares = calloc(count, sizeof *squares); /* checks the product */
    for (size_t i = 0; squares != NULL && i < count; i++)
        squares[i] = (uint64_t)i * i;
    return squares;
}

char *lib_upper(const char *text) {
    char *upper = strdup(text); /* the caller's */
    for (char *c = upper; c != NULL && *c != '\0'; c++)
        if (*c >= 'a' && *c <= 'z')
            *c = (char)(*c - 'a' + 'A');
    return upper;
}
