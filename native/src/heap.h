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

#define HS_MOST_TABLE_SIZES 4

/* Offsets and sizes in bytes; numbers of entries. fast_number is 0 where there are no fastbins;
 * table_chunks are the sizes that the chunk of a tcache table may have, 0 behind the last. */
typedef struct {
    size_t arena_size, fast, fast_number, top, bins, bins_number, next, system_mem;
    size_t table_size, entries, entries_number, min_large;
    size_t table_chunks[HS_MOST_TABLE_SIZES];
    size_t heap_max, heap_info, ar_ptr, heap_prev, heap_size, thread_first;
    size_t mmap_extra, mmap_offset_mask;
    uintptr_t home; /* where the first piece of the first heap shall begin */
    uint64_t key;   /* what the tcache key shall be */
    int safe_linking, link_shift;
} hs_layout;

/* A range that an arena hands out. */
typedef struct {
    uintptr_t base, end; /* of the mapping */
    uintptr_t first;     /* where its first chunk starts */
    uintptr_t arena;     /* its malloc_state */
    int thread;          /* 1: the heap of a thread arena */
} hs_piece;

/* A block that has a mapping of its own. */
typedef struct {
    uintptr_t user, base;
    size_t length; /* of the mapping, which starts at `base` */
} hs_mapped;

typedef struct {
    uintptr_t at;
    uint64_t value;
} hs_word;

/* A copy of the libc, and what it holds before its first call. */
typedef struct {
    void *handle;
    uintptr_t data; /* its writable data */
    size_t data_size, tls_size, tls_module;
    unsigned char *fresh; /* data_size bytes, then the tls_size of a thread */
    uintptr_t key;        /* its variable tcache_key; 0 where it has none */
} hs_copy;

typedef struct {
    hs_copy copy;
    uintptr_t number; /* of heaps opened before it in this process */
    int ready;        /* main_arena is known */
    int check;        /* compare before and remember after each call */
    int refused;      /* the last call was not made */
    hs_word bad;      /* the word that was written, and what it held */
    uintptr_t main_arena;
    size_t system_mem; /* of main_arena, after the last call */
    hs_layout layout;
    hs_piece *pieces;
    size_t piece_count, piece_room;
    hs_mapped *mapped; /* in the order in which they were mapped */
    size_t mapped_count, mapped_room;
    uintptr_t *tables; /* user addresses of the tcache tables, one to a thread */
    size_t table_count, table_room;
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

/* Open a heap; 0, or -1 with the loader's words in `error` (`room` bytes).
 *
 * The loader cannot take back the static TLS of a copy unless the copy opened last is closed first
 * (dl-close.c, _dl_close_worker), so a closed heap's copy is kept, and the next heap gets it in the
 * state in which it was loaded. */
int hs_open(hs_heap *heap, const hs_layout *layout, char *error, size_t room);
/* Close it. Its blocks stay readable as zeros, so that an old pointer is wrong but not deadly. */
void hs_close(hs_heap *heap);

/* Compare; 1 when all words are as the last call left them, else 0 and `bad` is set. */
int hs_sound(hs_heap *heap);
/* Bring everything up to date; each call does it at its end. */
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

/* What a call that is refused would do: make it in a forked child, whose output nobody sees, with
 * the arguments `a`, `b`, `c` (addresses or numbers). Returns the signal it ended with (SIGALRM: it
 * did not come back within a second), 0 when it came back, -1 when it could not be tried; `said` is
 * its last line on stderr, or what malloc_usable_size answered. */
int hs_attempt(hs_heap *heap, const char *function, uintptr_t a, uintptr_t b, uintptr_t c,
               char *said, size_t room);

/* For a child that may die: on a deadly signal, write what `heap` holds to the file `fd`, then die
 * of the signal. A record is four little-endian 64-bit words (kind, address, length, bytes written)
 * and the bytes. Kinds: 0 main_arena, 1 a piece of it, 2 the mapping of one block, 3 the end
 * (length: the signal), 4 a piece of a thread arena, 5 a tcache table (only its address). What
 * could not be read is left out. */
int hs_on_death(hs_heap *heap, int fd);
/* Write the same record now; 0, or -1 when a part is missing. */
int hs_dump(hs_heap *heap, int fd, int signal);

/* Make this process end with its parent (prctl PR_SET_PDEATHSIG); 0 or -1. */
int hs_die_with_parent(void);
/* memfd_create; the descriptor or -1. */
int hs_memory_file(void);

#endif
