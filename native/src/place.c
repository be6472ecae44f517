#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "place.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* A process whose addresses end further up than this above the place lies otherwise than we know:
 * 2 TiB are more than x86-64 randomises. */
#define MOST_HELD_BYTES ((size_t)1 << 41)

static void *reserve(uintptr_t at, size_t length, int flags) {
    return mmap((void *)at, length, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | flags, -1, 0);
}

/* Where the kernel would put the next `length` bytes; 0 for nowhere. */
static uintptr_t next(size_t length) {
    void *there = reserve(0, length, 0);
    if (there == MAP_FAILED)
        return 0;
    munmap(there, length);
    return (uintptr_t)there;
}

static int hold(hs_place *place, uintptr_t base, size_t length) {
    if (place->count == HS_MOST_HELD || length > MOST_HELD_BYTES)
        return 0;
    void *got = reserve(base, length, MAP_FIXED_NOREPLACE);
    if (got != (void *)base) {
        if (got != MAP_FAILED)
            munmap(got, length);
        return 0;
    }
    place->held[place->count].base = base;
    place->held[place->count].length = length;
    place->count++;
    return 1;
}

void hs_let_go(hs_place *place) {
    while (place->count > 0) {
        place->count--;
        munmap((void *)place->held[place->count].base, place->held[place->count].length);
    }
}

/* Hold the gaps between the mappings above `end`; returns where the last of them ends, 0 when one
 * could not be held. The gap below the stack stays: the stack grows into it. */
static uintptr_t hold_gaps(hs_place *place, uintptr_t end, size_t length) {
    FILE *maps = fopen("/proc/self/maps", "re");
    if (maps == NULL)
        return 0;
    uintptr_t last = end;
    char *line = NULL;
    size_t room = 0;
    while (last != 0 && getline(&line, &room, maps) > 0) {
        unsigned long start, stop;
        if (sscanf(line, "%lx-%lx", &start, &stop) != 2 || stop <= end)
            continue;
        if (strstr(line, "[stack]") != NULL)
            break;
        if (start > last && start - last >= length && !hold(place, last, start - last))
            last = 0;
        else if (stop > last)
            last = stop;
    }
    free(line);
    fclose(maps);
    return last;
}

int hs_hold_above(hs_place *place, uintptr_t end, size_t length) {
    uintptr_t there = next(length);
    int right = 0;
    if (there >= end && there - end < MOST_HELD_BYTES) {
        uintptr_t last = hold_gaps(place, end, length);
        there = next(length);
        /* Above the last mapping there may be room up to where the kernel begins. */
        if (last != 0 && there >= last && hold(place, last, there + length - last))
            there = next(length);
        right = last != 0 && there == end - length;
    }
    if (!right)
        hs_let_go(place);
    return right;
}

int hs_hold_unit(hs_place *place, uintptr_t home, size_t unit, size_t length) {
    while (place->count < HS_MOST_HELD) {
        /* The kernel takes the highest gap with enough room: a little less room at its end moves
         * what comes. */
        uintptr_t there = next(length);
        size_t less = (there - home) % unit;
        if (there == 0 || less == 0)
            return there != 0;
        if (!hold(place, there + length - less, less))
            return 0;
    }
    return 0;
}
