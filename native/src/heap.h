/* A second, private copy of the system's libc inside this process, and the words of its heap that
 * only the allocator may write.
 *
 * The C side opens the library, calls it, and remembers after each call the value of every word the
 * allocator relies on: size words, links, keys, the prev_size of free chunks, the tcache tables and
 * the arenas.  Before the next call it compares.  What the words mean for a reader is decoded in
 * Python; offsets come from there as well (heapscope/glibc/layouts.json).
 */
#ifndef HEAPSCOPE_HEAP_H
#define HEAPSCOPE_HEAP_H

#include <stddef.h>
#include <stdint.h>

#define HS_MOST_TABLES 16

/* Offsets in bytes; numbers of entries. fast_number is 0 where there are no fastbins. */
typedef struct {
    size_t arena_size, fast, fast_number, top, bins, bins_number, system_mem;
    size_t table_size, entries, entries_number, min_large;
    int safe_linking, link_shift;
} hs_layout;

/* A range that an arena hands out. */
typedef struct {
    uintptr_t base, end;  /* of the mapping */
    uintptr_t first;      /* where its first chunk starts */
    uintptr_t arena;      /* its malloc_state */
    int thread;           /* 1: the heap of a thread arena */
} hs_piece;

typedef struct {
    uintptr_t at;
    uint64_t value;
} hs_word;

typedef struct {
    void *handle;
    int ready;              /* main_arena is known */
    int check;              /* compare before and remember after each call */
    int refused;            /* the last call was not made */
    hs_word bad;            /* the word that was written, and what it held */
    uintptr_t main_arena;
    size_t system_mem;      /* of main_arena, after the last call */
    hs_layout layout;
    hs_piece *pieces;
    size_t piece_count, piece_room;
    uintptr_t tables[HS_MOST_TABLES];
    size_t table_count;
    hs_word *words;
    size_t word_count, word_room;
    /* the private libc's functions */
    void *(*malloc_)(size_t);
    void *(*calloc_)(size_t, size_t);
    void *(*realloc_)(void *, size_t);
    void *(*reallocarray_)(void *, size_t, size_t);
    void *(*aligned_alloc_)(size_t, size_t);
    int (*posix_memalign_)(void **, size_t, size_t);
    void *(*memalign_)(size_t, size_t);
    char *(*strdup_)(const char *);
    void (*free_)(void *);
    size_t (*usable_)(void *);
    int (*trim_)(size_t);
    int (*mallopt_)(int, int);
    int *(*errno_)(void);
} hs_heap;

/* Open a heap; 0, or -1 with the loader's words in `error` (`room` bytes). */
int hs_open(hs_heap *heap, const hs_layout *layout, char *error, size_t room);
/* Close it. Its pieces stay readable as zeros, so that an old pointer is wrong but not deadly. */
void hs_close(hs_heap *heap);

/* Look for main_arena in [low, high), libc's writable data; 1 when it was found. */
int hs_locate(hs_heap *heap, uintptr_t low, uintptr_t high);
/* Tell of the heap of a thread arena; 0, or -1 when there is no memory for one more. */
int hs_add_thread_heap(hs_heap *heap, uintptr_t base, uintptr_t first, uintptr_t arena,
                       size_t length);
/* Tell of a tcache table; 0, or -1 when there is no room for one more. */
int hs_add_table(hs_heap *heap, uintptr_t user);
/* Compare; 1 when all words are as the last call left them, else 0 and `bad` is set. */
int hs_sound(hs_heap *heap);
/* Bring pieces and words up to date: after a call that was made elsewhere, or what Python found. */
void hs_remember(hs_heap *heap);

/* The calls. Each compares first (`refused` says that it was not made), sets errno as C does,
 * and remembers. */
void *hs_malloc(hs_heap *heap, size_t size);
void *hs_calloc(hs_heap *heap, size_t number, size_t size);
void *hs_realloc(hs_heap *heap, void *block, size_t size);
void *hs_reallocarray(hs_heap *heap, void *block, size_t number, size_t size);
void *hs_aligned_alloc(hs_heap *heap, size_t alignment, size_t size);
int hs_posix_memalign(hs_heap *heap, void **block, size_t alignment, size_t size);
void *hs_memalign(hs_heap *heap, size_t alignment, size_t size);
char *hs_strdup(hs_heap *heap, const char *text);
void hs_free(hs_heap *heap, void *block);
size_t hs_malloc_usable_size(hs_heap *heap, void *block);
int hs_malloc_trim(hs_heap *heap, size_t pad);
int hs_mallopt(hs_heap *heap, int parameter, int value);

/* For a child that may die: on a deadly signal, write the bytes of `heap`'s pieces, of its arena
 * and of `count` further ranges to the file `fd`, then die of the signal. A record is three
 * little-endian 64-bit words (kind, address, length) and the bytes; kind 0 is main_arena, 1 a piece,
 * 2 a further range, 3 the end (length: the signal). */
typedef struct {
    uintptr_t base, end;
} hs_range;
int hs_on_death(hs_heap *heap, int fd);
void hs_watch(const hs_range *ranges, size_t count);
/* Write the same record now; 0, or -1 when a write failed. */
int hs_dump(hs_heap *heap, int fd, int signal);

/* Make this process end with its parent (prctl PR_SET_PDEATHSIG); 0 or -1. */
int hs_die_with_parent(void);
/* memfd_create; the descriptor or -1. */
int hs_memory_file(void);

#endif
