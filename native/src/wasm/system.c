#include "system.h"

#include "constants.h"

#include <stdarg.h>

/* The steps that playground.c counts are malloc's. */
#pragma clang attribute push(__attribute__((no_sanitize("coverage"))), apply_to = function)

extern unsigned char __heap_base; /* the linker's: where the module's own data end */

int errno;
void *__curbrk;
static size_t room = DEFAULT_ROOM;
static struct mapping mappings[MOST_MAPPINGS];
static size_t count;

static size_t whole_pages(size_t bytes) {
    return (bytes + PAGE - 1) & ~(size_t)(PAGE - 1);
}

static void *failed(int why) {
    errno = why;
    return MAP_FAILED;
}

/* Have the module's memory reach up to this address; it grows, and never shrinks. */
static bool reach(size_t end) {
    const size_t unit = 65536; /* bytes of a WebAssembly page */
    size_t has = __builtin_wasm_memory_size(0) * unit;
    return end <= has || __builtin_wasm_memory_grow(0, (end - has + unit - 1) / unit) != (size_t)-1;
}

uintptr_t system_heap_start(void) {
    return whole_pages((uintptr_t)&__heap_base);
}

uintptr_t system_heap_end(void) {
    return __curbrk == NULL ? system_heap_start() : (uintptr_t)__curbrk;
}

const struct mapping *system_mappings(void) {
    return mappings;
}

size_t system_mappings_count(void) {
    return count;
}

void system_set_room(size_t bytes) {
    room = bytes & ~(size_t)(PAGE - 1);
}

static size_t room_end(void) {
    return system_heap_start() + room;
}

void *__sbrk(ptrdiff_t increment) {
    uintptr_t old = system_heap_end();
    uintptr_t new = old + increment;
    uintptr_t limit = room_end();
    if (count > 0 && mappings[count - 1].base < limit)
        limit = mappings[count - 1].base;
    __curbrk = (void *)old;
    if (increment < 0 && new >= system_heap_start() && new <= old) {
        __builtin_memset((void *)new, 0, old - new);
    } else if (increment < 0 || new < old || new > limit || !reach(new)) {
        return failed(ENOMEM);
    }
    __curbrk = (void *)new;
    return (void *)old;
}

/* Return where a mapping of this size goes, the highest gap that holds it, or 0; `at` becomes its
 * place in the table. */
static uintptr_t gap(size_t size, size_t *at) {
    uintptr_t end = room_end();
    for (size_t i = 0; i <= count; i++) {
        uintptr_t start =
            i < count ? mappings[i].base + mappings[i].size : whole_pages(system_heap_end());
        if (start <= end && end - start >= size) {
            *at = i;
            return end - size;
        }
        if (i < count && mappings[i].base < end)
            end = mappings[i].base;
    }
    return 0;
}

void *__mmap(void *address, size_t size, int protection, int flags, int file, long offset) {
    (void)address, (void)protection, (void)flags, (void)file, (void)offset;
    if (size == 0)
        return failed(EINVAL);
    if (size > room || count == MOST_MAPPINGS)
        return failed(ENOMEM);
    size = whole_pages(size);
    size_t at;
    uintptr_t base = gap(size, &at);
    if (base == 0 || !reach(base + size))
        return failed(ENOMEM);
    for (size_t i = count++; i > at; i--)
        mappings[i] = mappings[i - 1];
    mappings[at] = (struct mapping){base, size};
    return (void *)base;
}

static struct mapping *holding(uintptr_t address) {
    for (size_t i = 0; i < count; i++)
        if (address - mappings[i].base < mappings[i].size)
            return &mappings[i];
    return NULL;
}

bool system_has(uintptr_t address, size_t size) {
    const struct mapping *found = holding(address);
    uintptr_t start = found != NULL ? found->base : system_heap_start();
    uintptr_t end = found != NULL ? found->base + found->size : system_heap_end();
    return address >= start && address < end && end - address >= size;
}

int __munmap(void *address, size_t size) {
    uintptr_t start = (uintptr_t)address;
    size = whole_pages(size);
    if (start % PAGE != 0 || size == 0) {
        errno = EINVAL;
        return -1;
    }
    struct mapping *found = holding(start);
    /* Only a forged chunk asks for anything else than a whole mapping. It gets what Linux says to a
     * range without mappings, which is no error. */
    if (found == NULL || found->base != start || found->size != size)
        return 0;
    __builtin_memset(address, 0, size);
    count--;
    for (size_t i = found - mappings; i < count; i++)
        mappings[i] = mappings[i + 1];
    return 0;
}

void *__mremap(void *address, size_t size, size_t new_size, int flags, ...) {
    struct mapping *found = holding((uintptr_t)address);
    new_size = whole_pages(new_size);
    if (found == NULL || found->base != (uintptr_t)address || found->size != size || new_size == 0)
        return failed(EFAULT);
    uintptr_t above = found == mappings ? room_end() : found[-1].base;
    if (new_size <= size) {
        __builtin_memset((char *)address + new_size, 0, size - new_size);
    } else if (above < found->base || above - found->base < new_size ||
               !reach(found->base + new_size)) {
        void *moved = flags & MREMAP_MAYMOVE ? __mmap(NULL, new_size, 0, 0, -1, 0) : failed(ENOMEM);
        if (moved != MAP_FAILED) {
            __builtin_memcpy(moved, address, size);
            __munmap(address, size);
        }
        return moved;
    }
    found->size = new_size;
    return address;
}

int __mprotect(void *address, size_t size, int protection) {
    (void)address, (void)size, (void)protection;
    return 0;
}

int __madvise(void *address, size_t size, int advice) {
    if (advice == MADV_DONTNEED)
        __builtin_memset(address, 0, size);
    return 0;
}

#pragma clang attribute pop
