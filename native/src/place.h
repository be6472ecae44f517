/* Have the kernel put a mapping where it is the same in every run.
 *
 * A program that writes over a part of an address leaves the rest of it as it was.  What that
 * makes, a multiple of 16 or not, the same byte as before or another one, hangs on bits that the
 * kernel draws anew for every process.  glibc and the loader ask for no address of their own, so
 * the only way to give them one is to take everything above it that would be given first.
 */
#ifndef HEAPSCOPE_PLACE_H
#define HEAPSCOPE_PLACE_H

#include <stddef.h>
#include <stdint.h>

#define HS_MOST_HELD 64

/* Ranges without access that keep others out of them. */
typedef struct {
    struct {
        uintptr_t base;
        size_t length;
    } held[HS_MOST_HELD];
    size_t count;
} hs_place;

/* Hold every gap above `end` that has room for `length` bytes, so that the next mapping of so many
 * ends at `end`; 1. Where that cannot be had, hold nothing; 0. Mappings of other threads come out
 * lower while it lasts. */
int hs_hold_above(hs_place *place, uintptr_t end, size_t length);
/* Hold as little as makes the next mapping of `length` bytes begin `home` % `unit` behind a
 * multiple of `unit`; 0 where that cannot be had. */
int hs_hold_unit(hs_place *place, uintptr_t home, size_t unit, size_t length);
void hs_let_go(hs_place *place);

#endif
