#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "heap.h"

#include <dlfcn.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

enum { WORD = 8, HEADER = 16, PREV_INUSE = 1, MOST_LINKS = 1 << 20 };
#define SIZE_BITS (~(uint64_t)7)

static uint64_t load(uintptr_t at) {
    uint64_t value;
    memcpy(&value, (const void *)at, sizeof value);
    return value;
}

/* ---- the private libc */

static void *find(void *handle, const char *name, const char **missing) {
    void *found = dlsym(handle, name);
    if (found == NULL && *missing == NULL) *missing = name;
    return found;
}

int hs_open(hs_heap *heap, const hs_layout *layout, char *error, size_t room) {
    memset(heap, 0, sizeof *heap);
    heap->layout = *layout;
    heap->handle = dlmopen(LM_ID_NEWLM, "libc.so.6", RTLD_NOW | RTLD_LOCAL);
    if (heap->handle == NULL) {
        const char *why = dlerror();
        snprintf(error, room, "%s", why != NULL ? why : "dlmopen failed");
        return -1;
    }
    const char *missing = NULL;
    /* ISO C has no cast from an object's to a function's pointer; POSIX promises that they fit. */
#define TAKE(field, name)                                                                          \
    do {                                                                                           \
        void *found = find(heap->handle, name, &missing);                                          \
        memcpy(&heap->field, &found, sizeof found);                                                \
    } while (0)
    TAKE(malloc_, "malloc");
    TAKE(calloc_, "calloc");
    TAKE(realloc_, "realloc");
    TAKE(reallocarray_, "reallocarray");
    TAKE(aligned_alloc_, "aligned_alloc");
    TAKE(posix_memalign_, "posix_memalign");
    TAKE(memalign_, "memalign");
    TAKE(strdup_, "strdup");
    TAKE(free_, "free");
    TAKE(usable_, "malloc_usable_size");
    TAKE(trim_, "malloc_trim");
    TAKE(mallopt_, "mallopt");
    TAKE(errno_, "__errno_location");
#undef TAKE
    if (missing != NULL) {
        snprintf(error, room, "this libc has no %s", missing);
        dlclose(heap->handle);
        heap->handle = NULL;
        return -1;
    }
    return 0;
}

static hs_heap *watched;

void hs_close(hs_heap *heap) {
    if (heap->handle == NULL) return;
    if (watched == heap) watched = NULL;
    for (size_t i = 0; i < heap->piece_count; i++) {
        hs_piece *piece = &heap->pieces[i];
        madvise((void *)piece->base, piece->end - piece->base, MADV_DONTNEED);
    }
    dlclose(heap->handle);
    free(heap->words);
    free(heap->pieces);
    memset(heap, 0, sizeof *heap);
}

/* ---- finding the arena and its pieces */

static int add_piece(hs_heap *heap, hs_piece piece) {
    if (heap->piece_count == heap->piece_room) {
        size_t room = heap->piece_room != 0 ? 2 * heap->piece_room : 64;
        hs_piece *pieces = realloc(heap->pieces, room * sizeof *pieces);
        if (pieces == NULL) return -1;
        heap->pieces = pieces;
        heap->piece_room = room;
    }
    heap->pieces[heap->piece_count++] = piece;
    return 0;
}

/* In an arena that was used once, every empty bin is a list of its own header, and the arena's
 * top has been made. One block may be on a bin already. */
static int is_arena(const hs_heap *heap, uintptr_t at) {
    const hs_layout *layout = &heap->layout;
    size_t empty = 0;
    for (size_t i = 0; i + 1 < layout->bins_number; i += 2) {
        uintptr_t slot = at + layout->bins + WORD * i, header = slot - HEADER;
        empty += load(slot) == header && load(slot + WORD) == header;
    }
    return empty + 4 >= layout->bins_number / 2 && load(at + layout->top) != 0;
}

int hs_locate(hs_heap *heap, uintptr_t low, uintptr_t high) {
    low = (low + WORD - 1) / WORD * WORD;
    for (uintptr_t at = low; at + heap->layout.arena_size <= high; at += WORD) {
        if (!is_arena(heap, at)) continue;
        heap->main_arena = at;
        heap->ready = 1;
        return 1;
    }
    return 0;
}

/* Follow main_arena's top. A libc that is not the program's first one never uses brk: sysmalloc
 * maps a piece, grows it when the next mapping happens to follow, and otherwise leaves the old
 * piece behind two fenceposts (malloc.c, sysmalloc). system_mem says how much. */
static void follow_top(hs_heap *heap) {
    uintptr_t arena = heap->main_arena;
    uintptr_t top = load(arena + heap->layout.top);
    size_t system_mem = load(arena + heap->layout.system_mem), grown;
    if (system_mem == heap->system_mem) return;
    grown = system_mem - heap->system_mem;
    heap->system_mem = system_mem;
    uintptr_t end = top + (load(top + WORD) & SIZE_BITS);
    for (size_t i = 0; i < heap->piece_count; i++) {
        hs_piece *piece = &heap->pieces[i];
        if (piece->arena == arena && piece->base <= top && top < piece->end) {
            piece->end = end;
            return;
        }
    }
    uintptr_t base = end - grown;
    add_piece(heap, (hs_piece){.base = base, .end = end, .first = base, .arena = arena});
}

int hs_add_thread_heap(hs_heap *heap, uintptr_t base, uintptr_t first, uintptr_t arena,
                       size_t length) {
    for (size_t i = 0; i < heap->piece_count; i++) {
        if (heap->pieces[i].base != base) continue;
        heap->pieces[i].end = base + length;
        return 0;
    }
    return add_piece(heap, (hs_piece){.base = base,
                                      .end = base + length,
                                      .first = first,
                                      .arena = arena,
                                      .thread = 1});
}

int hs_add_table(hs_heap *heap, uintptr_t user) {
    if (heap->table_count == HS_MOST_TABLES) return -1;
    heap->tables[heap->table_count++] = user;
    return 0;
}

/* ---- the words that only the allocator may write */

static void keep(hs_heap *heap, uintptr_t at) {
    if (heap->word_count == heap->word_room) {
        size_t room = heap->word_room != 0 ? 2 * heap->word_room : 1024;
        hs_word *words = realloc(heap->words, room * sizeof *words);
        if (words == NULL) return; /* fewer words are watched: nothing else is lost */
        heap->words = words;
        heap->word_room = room;
    }
    heap->words[heap->word_count++] = (hs_word){at, load(at)};
}

static void keep_all(hs_heap *heap, uintptr_t at, size_t size) {
    for (size_t i = 0; i + WORD <= size; i += WORD) keep(heap, at + i);
}

static const hs_piece *piece_of(const hs_heap *heap, uintptr_t at) {
    for (size_t i = 0; i < heap->piece_count; i++) {
        const hs_piece *piece = &heap->pieces[i];
        if (piece->base <= at && at + 2 * HEADER <= piece->end) return piece;
    }
    return NULL;
}

static void keep_chunks(hs_heap *heap, const hs_piece *piece) {
    uintptr_t at = piece->first, top = load(piece->arena + heap->layout.top);
    if (piece->thread) keep_all(heap, piece->base, 4 * WORD); /* heap_info */
    while (at + HEADER <= piece->end) {
        uint64_t word = load(at + WORD), size = word & SIZE_BITS;
        if (!(word & PREV_INUSE)) keep(heap, at); /* prev_size, valid behind a free chunk */
        keep(heap, at + WORD);
        if (at == top || size < HEADER || size > piece->end - at) break;
        at += size;
    }
}

/* The link at `user` of a singly linked list, with safe-linking undone. */
static uintptr_t next_of(const hs_heap *heap, uintptr_t slot) {
    uint64_t raw = load(slot);
    return heap->layout.safe_linking ? raw ^ (slot >> heap->layout.link_shift) : raw;
}

static void keep_tcache(hs_heap *heap, uintptr_t table) {
    const hs_layout *layout = &heap->layout;
    keep_all(heap, table, layout->table_size);
    for (size_t i = 0; i < layout->entries_number; i++) {
        uintptr_t user = load(table + layout->entries + WORD * i);
        for (int n = 0; n < MOST_LINKS && user != 0 && piece_of(heap, user - HEADER); n++) {
            keep(heap, user);
            keep(heap, user + WORD); /* the key */
            user = next_of(heap, user);
        }
    }
}

static void keep_arena(hs_heap *heap, uintptr_t arena) {
    const hs_layout *layout = &heap->layout;
    keep_all(heap, arena, layout->arena_size);
    for (size_t i = 0; i < layout->fast_number; i++) {
        uintptr_t chunk = load(arena + layout->fast + WORD * i);
        for (int n = 0; n < MOST_LINKS && chunk != 0 && piece_of(heap, chunk); n++) {
            keep(heap, chunk + HEADER);
            chunk = next_of(heap, chunk + HEADER);
        }
    }
    for (size_t i = 0; i + 1 < layout->bins_number; i += 2) {
        uintptr_t header = arena + layout->bins + WORD * i - HEADER;
        uintptr_t chunk = load(header + HEADER);
        for (int n = 0; n < MOST_LINKS && chunk != header && piece_of(heap, chunk); n++) {
            int large = (load(chunk + WORD) & SIZE_BITS) >= layout->min_large && i > 0;
            keep_all(heap, chunk + HEADER, large ? 4 * WORD : 2 * WORD);
            chunk = load(chunk + HEADER);
        }
    }
}

void hs_remember(hs_heap *heap) {
    heap->word_count = 0;
    if (!heap->ready) return;
    follow_top(heap);
    if (!heap->check) return;
    for (size_t i = 0; i < heap->piece_count; i++) keep_chunks(heap, &heap->pieces[i]);
    for (size_t i = 0; i < heap->table_count; i++) keep_tcache(heap, heap->tables[i]);
    keep_arena(heap, heap->main_arena);
    for (size_t i = 0; i < heap->piece_count; i++) {
        const hs_piece *piece = &heap->pieces[i];
        /* The first heap of a thread arena holds its malloc_state. */
        if (piece->thread && piece->base < piece->arena && piece->arena < piece->first)
            keep_arena(heap, piece->arena);
    }
}

int hs_sound(hs_heap *heap) {
    for (size_t i = 0; i < heap->word_count; i++) {
        if (load(heap->words[i].at) == heap->words[i].value) continue;
        heap->bad = heap->words[i];
        return 0;
    }
    return 1;
}

/* ---- the calls */

static int enter(hs_heap *heap) {
    heap->refused = heap->check && !hs_sound(heap);
    if (heap->refused) return 0;
    *heap->errno_() = errno; /* the private libc has an errno of its own */
    return 1;
}

static void leave(hs_heap *heap) {
    int error = *heap->errno_();
    hs_remember(heap);
    errno = error;
}

#define CALL(type, none, call)                                                                     \
    do {                                                                                           \
        if (!enter(heap)) return none;                                                             \
        type result = heap->call;                                                                  \
        leave(heap);                                                                               \
        return result;                                                                             \
    } while (0)

void *hs_malloc(hs_heap *heap, size_t size) {
    CALL(void *, NULL, malloc_(size));
}

void *hs_calloc(hs_heap *heap, size_t number, size_t size) {
    CALL(void *, NULL, calloc_(number, size));
}

void *hs_realloc(hs_heap *heap, void *block, size_t size) {
    CALL(void *, NULL, realloc_(block, size));
}

void *hs_reallocarray(hs_heap *heap, void *block, size_t number, size_t size) {
    CALL(void *, NULL, reallocarray_(block, number, size));
}

void *hs_aligned_alloc(hs_heap *heap, size_t alignment, size_t size) {
    CALL(void *, NULL, aligned_alloc_(alignment, size));
}

int hs_posix_memalign(hs_heap *heap, void **block, size_t alignment, size_t size) {
    CALL(int, 0, posix_memalign_(block, alignment, size));
}

void *hs_memalign(hs_heap *heap, size_t alignment, size_t size) {
    CALL(void *, NULL, memalign_(alignment, size));
}

char *hs_strdup(hs_heap *heap, const char *text) {
    CALL(char *, NULL, strdup_(text));
}

void hs_free(hs_heap *heap, void *block) {
    if (!enter(heap)) return;
    heap->free_(block);
    leave(heap);
}

size_t hs_malloc_usable_size(hs_heap *heap, void *block) {
    CALL(size_t, 0, usable_(block));
}

int hs_malloc_trim(hs_heap *heap, size_t pad) {
    CALL(int, 0, trim_(pad));
}

int hs_mallopt(hs_heap *heap, int parameter, int value) {
    CALL(int, 0, mallopt_(parameter, value));
}

/* ---- a child that may die */

static int watched_file = -1;
static const hs_range *further;
static size_t further_count;

static int put(int fd, const void *data, size_t size) {
    const char *from = data;
    while (size > 0) {
        ssize_t done = write(fd, from, size);
        if (done < 0 && errno == EINTR) continue;
        if (done <= 0) return -1;
        from += done;
        size -= (size_t)done;
    }
    return 0;
}

static int put_record(int fd, uint64_t kind, uintptr_t at, uint64_t length, const void *data) {
    uint64_t head[3] = {kind, at, length};
    if (put(fd, head, sizeof head) != 0) return -1;
    return data != NULL ? put(fd, data, length) : 0;
}

int hs_dump(hs_heap *heap, int fd, int signal) {
    int failed = 0;
    if (heap->ready) {
        uintptr_t arena = heap->main_arena;
        failed |= put_record(fd, 0, arena, heap->layout.arena_size, (const void *)arena);
    }
    for (size_t i = 0; i < heap->piece_count; i++) {
        const hs_piece *piece = &heap->pieces[i];
        failed |= put_record(fd, 1, piece->base, piece->end - piece->base,
                             (const void *)piece->base);
    }
    for (size_t i = 0; i < further_count; i++)
        failed |= put_record(fd, 2, further[i].base, further[i].end - further[i].base,
                             (const void *)further[i].base);
    failed |= put_record(fd, 3, 0, (uint64_t)signal, NULL);
    return failed;
}

/* Runs on a stack of its own, with system calls only: the heap, or the stack, may be ruined. */
static void last_words(int number) {
    signal(number, SIG_DFL);
    if (watched != NULL) {
        /* The call that dies may have taken a new piece just before. */
        if (watched->ready) follow_top(watched);
        hs_dump(watched, watched_file, number);
    }
    raise(number);
}

int hs_on_death(hs_heap *heap, int fd) {
    static const int deadly[] = {SIGABRT, SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP};
    enum { ROOM = 64 * 1024 };
    static char stack[ROOM];
    stack_t own = {.ss_sp = stack, .ss_size = ROOM};
    struct sigaction act;
    memset(&act, 0, sizeof act);
    act.sa_handler = last_words;
    act.sa_flags = SA_ONSTACK | SA_NODEFER;
    watched = heap;
    watched_file = fd;
    if (sigaltstack(&own, NULL) != 0) return -1;
    for (size_t i = 0; i < sizeof deadly / sizeof *deadly; i++)
        if (sigaction(deadly[i], &act, NULL) != 0) return -1;
    return 0;
}

void hs_watch(const hs_range *ranges, size_t count) {
    further = ranges;
    further_count = count;
}

int hs_die_with_parent(void) {
    return prctl(PR_SET_PDEATHSIG, SIGKILL);
}

int hs_memory_file(void) {
    return memfd_create("heapscope", MFD_CLOEXEC);
}
