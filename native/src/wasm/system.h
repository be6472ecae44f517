/* What malloc asks of Linux, for one WebAssembly module: a brk heap, mappings, and errno.
 *
 * The memory, from low to high addresses: the module's own data and stack; the brk heap, which
 * starts at a page and grows upwards; the mappings, each below the one before, as Linux places
 * them. Heap and mappings share a room of a given size, and what goes beyond it fails with ENOMEM.
 */
#ifndef SYSTEM_H
#define SYSTEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    PAGE = 4096,             /* bytes: x86-64 */
    DEFAULT_ROOM = 64 << 20, /* bytes */
    MOST_MAPPINGS = 16384    /* as many as the default room has pages */
};

struct mapping {
    uint64_t base; /* address */
    uint64_t size; /* bytes, whole pages */
};

extern int errno;
extern void *__curbrk; /* glibc's name for the end of the brk heap; NULL before the first __sbrk */

/* As in Linux and glibc: (void *)-1 and errno when it fails. Memory that was given back and is
 * handed out again is zero. */
void *__sbrk(ptrdiff_t increment);
void *__mmap(void *address, size_t size, int protection, int flags, int file, long offset);
void *__mremap(void *address, size_t size, size_t new_size, int flags, ...);
int __munmap(void *address, size_t size);
int __mprotect(void *address, size_t size, int protection);
int __madvise(void *address, size_t size, int advice);

uintptr_t system_heap_start(void);
uintptr_t system_heap_end(void);
const struct mapping *system_mappings(void); /* the highest address first */
size_t system_mappings_count(void);
bool system_has(uintptr_t address, size_t size); /* all of it in the heap or in one mapping */
void system_set_room(size_t bytes);              /* for heap and mappings together, from now on */

#endif
