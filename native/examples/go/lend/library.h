/* A small C library with the ways in which C code takes memory from its caller and gives some
 * back. Each function says who owns each pointer before and after. */
#ifndef OTHERHEAP_LIBRARY_H
#define OTHERHEAP_LIBRARY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Borrow bytes for the call. NULL is allowed when size is 0. */
uint64_t lib_sum(const uint8_t *bytes, size_t size);
void lib_fill(uint8_t *bytes, size_t size, uint8_t value);

/* Borrow an array of parts, and what they point to, for the call. */
typedef struct {
    const uint8_t *bytes; /* the caller's */
    size_t size;
} lib_part;
uint64_t lib_sum_parts(const lib_part *parts, size_t count);

/* A reader keeps the pointer it is given until lib_reader_free: the bytes stay the caller's, who
 * must neither free nor move them until then. The reader itself belongs to the caller; NULL when
 * there is no memory for it. */
typedef struct lib_reader lib_reader;
lib_reader *lib_reader_new(const uint8_t *bytes, size_t size);
int lib_reader_next(lib_reader *reader); /* a byte, or -1 at the end */
void lib_reader_free(lib_reader *reader);

/* A box takes what is put into it: bytes must come from malloc and belong to the caller, and
 * belong to the box when lib_box_put has returned true. lib_box_take gives the oldest back to the
 * caller, who frees it; NULL when the box is empty. lib_box_free frees what is left. */
typedef struct lib_box lib_box;
lib_box *lib_box_new(void);
bool lib_box_put(lib_box *box, uint8_t *bytes, size_t size);
uint8_t *lib_box_take(lib_box *box, size_t *size);
void lib_box_free(lib_box *box);

/* Call visit for each word between spaces, with its place in text and whatever context is; stop
 * when it returns false. text is borrowed for the call, and so is it by visit. The context is a
 * number: nobody follows it. */
typedef bool (*lib_visit)(uintptr_t context, size_t start, size_t length);
void lib_words(const char *text, size_t size, lib_visit visit, uintptr_t context);

/* Return the squares of 0 to count - 1 as an array, the caller's to free; NULL when there is no
 * memory for it. */
uint64_t *lib_squares(size_t count);

/* Return text in capitals (a to z only) as a string, the caller's to free; NULL when there is no
 * memory for it. text is borrowed for the call. */
char *lib_upper(const char *text);

#endif
