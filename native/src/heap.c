#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "heap.h"
#include "place.h"

#include <dlfcn.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

/* MORECORE: malloc.c, MMAP_AS_MORECORE_SIZE. */
enum {
    WORD = 8,
    HEADER = 16,
    PREV_INUSE = 1,
    IS_MMAPPED = 2,
    MOST_LINKS = 1 << 20,
    MORECORE = 1 << 20
};
#define SIZE_BITS (~(uint64_t)7)

static uint64_t load(uintptr_t at) {
    uint64_t value;
    /* One instruction; -fno-builtin would make memcpy a call. */
    __builtin_memcpy(&value, (const void *)at, sizeof value);
    return value;
}

/* ---- where things lie */

/* Heaps lie STEP apart, and below them the copies of the libc, as many as the loader has room for.
 * So the lower half of every address of a heap is that of the picture: heap 0 begins at
 * layout.home, and the picture's heap at the same place behind a multiple of STEP. */
#define STEP ((uintptr_t)1 << 32)
enum { MOST_PLACES = 128, MOST_COPIES = 16, UNIT = 1 << 16 };

/* What this thread holds while something is being mapped. */
static _Thread_local hs_place around;

static void place_heap(const hs_heap *heap) {
    uintptr_t home = heap->layout.home + heap->number * STEP;
    if (heap->number >= MOST_PLACES || !hs_hold_above(&around, home + MORECORE, MORECORE))
        /* A link is kept as target ^ (address >> 12), so whether it is a multiple of 16 when a part
         * of it was written over hangs on bits 12 to 15: these at least are the picture's. */
        hs_hold_unit(&around, home, UNIT, MORECORE);
}

static void place_copy(const hs_layout *layout) {
    static unsigned copies;
    uintptr_t number = __atomic_fetch_add(&copies, 1, __ATOMIC_RELAXED);
    if (layout->home > MOST_COPIES * STEP && number < MOST_COPIES)
        hs_hold_above(&around, layout->home - (MOST_COPIES - number) * STEP, MORECORE);
}

/* ---- the private libc */

static void *find(void *handle, const char *name, const char **missing) {
    void *found = dlsym(handle, name);
    if (found == NULL && *missing == NULL)
        *missing = name;
    return found;
}

/* The loader's own function (ELF Handling For Thread-Local Storage, 3.4). dlinfo's
 * RTLD_DI_TLS_DATA says NULL until somebody has asked this one. */
typedef struct {
    unsigned long module, offset;
} tls_index;
extern void *__tls_get_addr(tls_index *index);

/* The calling thread's variables of a copy. */
static void *tls_of(const hs_copy *copy) {
    tls_index index = {copy->tls_module, 0};
    return __tls_get_addr(&index);
}

/* Find the writable data, which starts behind what the loader made read-only, and keep it. */
static int keep_fresh(hs_copy *copy) {
    struct link_map *map = NULL;
    if (dlinfo(copy->handle, RTLD_DI_LINKMAP, &map) != 0)
        return -1;
    uintptr_t base = map->l_addr, page = (uintptr_t)sysconf(_SC_PAGESIZE), low = 0, high = 0;
    const ElfW(Ehdr) *file = (const ElfW(Ehdr) *)base;
    const ElfW(Phdr) *part = (const ElfW(Phdr) *)(base + file->e_phoff);
    for (int i = 0; i < file->e_phnum; i++, part++) {
        uintptr_t start = base + part->p_vaddr, end = start + part->p_memsz;
        if (part->p_type == PT_LOAD && (part->p_flags & PF_W) != 0) {
            if (low == 0)
                low = start;
            high = end;
        } else if (part->p_type == PT_GNU_RELRO) {
            low = end / page * page;
        } else if (part->p_type == PT_TLS) {
            copy->tls_size = part->p_memsz;
        }
    }
    if (dlinfo(copy->handle, RTLD_DI_TLS_MODID, &copy->tls_module) != 0)
        return -1;
    if (low == 0 || low >= high || copy->tls_module == 0)
        return -1;
    copy->data = low;
    copy->data_size = high - low;
    copy->fresh = malloc(copy->data_size + copy->tls_size);
    if (copy->fresh == NULL)
        return -1;
    memcpy(copy->fresh, (const void *)low, copy->data_size);
    memcpy(copy->fresh + copy->data_size, tls_of(copy), copy->tls_size);
    return 0;
}

static int is_table_size(const hs_layout *layout, uint64_t word) {
    int fits = 0;
    for (size_t k = 0; k < HS_MOST_TABLE_SIZES; k++)
        fits |= layout->table_chunks[k] != 0 && (word & SIZE_BITS) == layout->table_chunks[k];
    return fits;
}

/* The user address of the tcache table that is the first chunk of a page, of the calling thread; 0
 * for none. */
static uintptr_t first_table(const hs_copy *copy, const hs_layout *layout) {
    enum { PAGE = 4096 };
    uintptr_t tls = (uintptr_t)tls_of(copy);
    for (size_t i = 0; i + WORD <= copy->tls_size; i += WORD) {
        uintptr_t user = load(tls + i);
        if (user % PAGE == HEADER && is_table_size(layout, load(user - WORD)))
            return user;
    }
    return 0;
}

static void restore(const hs_copy *copy) {
    memcpy((void *)copy->data, copy->fresh, copy->data_size);
    memcpy(tls_of(copy), copy->fresh + copy->data_size, copy->tls_size);
}

/* Find the variable from which glibc takes the second word of a block in the tcache (2.34 and
 * newer: malloc.c, tcache_key), by what it writes into one. Everything is then as it was loaded. */
static void find_key(hs_copy *copy, const hs_layout *layout) {
    const char *missing = NULL;
    void *found = find(copy->handle, "malloc", &missing);
    void *(*allocate)(size_t);
    void (*release)(void *);
    memcpy(&allocate, &found, sizeof found);
    found = find(copy->handle, "free", &missing);
    memcpy(&release, &found, sizeof found);
    void *block = layout->arena_size != 0 && missing == NULL ? allocate(WORD) : NULL;
    if (block == NULL)
        return;
    release(block);
    uintptr_t table = first_table(copy, layout);
    uint64_t key = load((uintptr_t)block + WORD);
    for (uintptr_t at = copy->data; table != 0 && at + WORD <= copy->data + copy->data_size;
         at += WORD)
        if (load(at) == key && key != 0)
            copy->key = copy->key == 0 ? at : UINTPTR_MAX;
    if (copy->key == UINTPTR_MAX)
        copy->key = 0; /* two places: not this one, then */
    restore(copy);
    if (table != 0)
        munmap((void *)(table - HEADER), MORECORE);
}

/* The copies of closed heaps. */
static pthread_mutex_t shelf_lock = PTHREAD_MUTEX_INITIALIZER;
static hs_copy *shelf;
static size_t shelf_count, shelf_room;

/* Take a copy from the shelf and bring it to the state in which it was loaded; 0 when there is
 * none. Of the thread's own data only this thread's matters: others get theirs when they start. */
static int take_from_shelf(hs_copy *copy) {
    pthread_mutex_lock(&shelf_lock);
    int found = shelf_count > 0;
    if (found)
        *copy = shelf[--shelf_count];
    pthread_mutex_unlock(&shelf_lock);
    if (found)
        restore(copy);
    return found;
}

static void put_on_shelf(const hs_copy *copy) {
    pthread_mutex_lock(&shelf_lock);
    if (shelf_count == shelf_room) {
        size_t room = shelf_room != 0 ? 2 * shelf_room : 16;
        hs_copy *copies = realloc(shelf, room * sizeof *copies);
        if (copies != NULL) {
            shelf = copies;
            shelf_room = room;
        }
    }
    if (shelf_count < shelf_room)
        shelf[shelf_count++] = *copy; /* else one fewer can be opened */
    pthread_mutex_unlock(&shelf_lock);
}

int hs_open(hs_heap *heap, const hs_layout *layout, char *error, size_t room) {
    memset(heap, 0, sizeof *heap);
    heap->layout = *layout;
    hs_copy copy = {0};
    if (!take_from_shelf(&copy)) {
        place_copy(layout);
        copy.handle = dlmopen(LM_ID_NEWLM, "libc.so.6", RTLD_NOW | RTLD_LOCAL);
        hs_let_go(&around);
        if (copy.handle == NULL) {
            const char *why = dlerror();
            snprintf(error, room, "%s", why != NULL ? why : "dlmopen failed");
            return -1;
        }
        if (keep_fresh(&copy) != 0) {
            snprintf(error, room, "this libc's data was not found");
            dlclose(copy.handle);
            return -1;
        }
        find_key(&copy, layout);
    }
    static uintptr_t heaps;
    heap->number = __atomic_fetch_add(&heaps, 1, __ATOMIC_RELAXED);
    heap->copy = copy;
    const char *missing = NULL;
    /* ISO C has no cast from an object's to a function's pointer; POSIX promises that they fit. */
#define TAKE(field, name)                                                                          \
    do {                                                                                           \
        void *found = find(copy.handle, name, &missing);                                           \
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
        put_on_shelf(&copy);
        heap->copy = (hs_copy){0};
        return -1;
    }
    return 0;
}

static hs_heap *watched;

static void blank(uintptr_t base, uintptr_t end) {
    madvise((void *)base, end - base, MADV_DONTNEED);
}

void hs_close(hs_heap *heap) {
    if (heap->copy.handle == NULL)
        return;
    if (watched == heap)
        watched = NULL;
    for (size_t i = 0; i < heap->piece_count; i++)
        blank(heap->pieces[i].base, heap->pieces[i].end);
    for (size_t i = 0; i < heap->mapped_count; i++)
        blank(heap->mapped[i].base, heap->mapped[i].base + heap->mapped[i].length);
    put_on_shelf(&heap->copy);
    free(heap->words);
    free(heap->pieces);
    free(heap->mapped);
    free(heap->tables);
    memset(heap, 0, sizeof *heap);
}

/* ---- finding the arena and its pieces */

/* Make room for one more element; 0, or -1 when there is no memory. */
static int grow(void **array, size_t count, size_t *room, size_t size) {
    if (count < *room)
        return 0;
    size_t wanted = *room != 0 ? 2 * *room : 64;
    void *larger = realloc(*array, wanted * size);
    if (larger == NULL)
        return -1;
    *array = larger;
    *room = wanted;
    return 0;
}
#define ROOM(array, count, room) grow((void **)&(array), count, &(room), sizeof *(array))

static void add_piece(hs_heap *heap, hs_piece piece) {
    if (ROOM(heap->pieces, heap->piece_count, heap->piece_room) == 0)
        heap->pieces[heap->piece_count++] = piece;
}

/* Whether main_arena is at `at`: its top was made, its ring leads back to it, over one thread arena
 * at most, and all but a few bins are empty, that is, lists of their own header. */
static int is_main_arena(const hs_heap *heap, uintptr_t at) {
    const hs_layout *layout = &heap->layout;
    uintptr_t next = load(at + layout->next);
    if (load(at + layout->top) == 0)
        return 0;
    if (next != at && next % layout->heap_max != layout->heap_info)
        return 0;
    size_t empty = 0;
    for (size_t i = 0; i + 1 < layout->bins_number; i += 2) {
        uintptr_t slot = at + layout->bins + WORD * i, header = slot - HEADER;
        empty += load(slot) == header && load(slot + WORD) == header;
    }
    return empty + 4 >= layout->bins_number / 2 && load(next + layout->next) == at;
}

static void locate(hs_heap *heap) {
    const hs_layout *layout = &heap->layout;
    uintptr_t at = (heap->copy.data + WORD - 1) / WORD * WORD;
    uintptr_t end = heap->copy.data + heap->copy.data_size;
    if (layout->arena_size == 0)
        return; /* this version is not known */
    for (; !heap->ready && at + layout->arena_size <= end; at += WORD) {
        heap->ready = is_main_arena(heap, at);
        heap->main_arena = heap->ready ? at : 0;
    }
}

/* Follow main_arena's top. A libc that is not the program's first one never uses brk: sysmalloc
 * maps a piece, grows it when the next mapping happens to follow, and otherwise leaves the old
 * piece behind two fenceposts (malloc.c, sysmalloc). system_mem says how much. */
static void follow_top(hs_heap *heap) {
    uintptr_t arena = heap->main_arena;
    uintptr_t top = load(arena + heap->layout.top);
    size_t system_mem = load(arena + heap->layout.system_mem), grown;
    if (system_mem == heap->system_mem)
        return;
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
    /* The first call may have taken two: one for the tcache table, one for what was asked for. */
    uintptr_t table = heap->piece_count == 0 ? first_table(&heap->copy, &heap->layout) : 0;
    table -= table != 0 ? HEADER : 0;
    if (table != 0 && table != end - grown && grown > MORECORE) {
        grown -= MORECORE;
        add_piece(
            heap,
            (hs_piece){.base = table, .end = table + MORECORE, .first = table, .arena = arena});
    }
    uintptr_t base = end - grown;
    add_piece(heap, (hs_piece){.base = base, .end = end, .first = base, .arena = arena});
}

/* Find the heaps of the thread arenas: main_arena's ring leads to the arenas, an arena's top to its
 * newest heap, and that to the ones before (arena.c). They come and go, so each time anew. */
static void follow_threads(hs_heap *heap) {
    enum { MOST_ARENAS = 1024, MOST_HEAPS = 4096 };
    const hs_layout *layout = &heap->layout;
    size_t kept = 0;
    for (size_t i = 0; i < heap->piece_count; i++)
        if (!heap->pieces[i].thread)
            heap->pieces[kept++] = heap->pieces[i];
    heap->piece_count = kept;
    uintptr_t arena = load(heap->main_arena + layout->next);
    for (int n = 0; n < MOST_ARENAS && arena != heap->main_arena && arena != 0; n++) {
        uintptr_t base = load(arena + layout->top) / layout->heap_max * layout->heap_max;
        for (int m = 0; m < MOST_HEAPS && base != 0; m++) {
            int first = arena == base + layout->heap_info;
            uintptr_t start = base + (first ? layout->thread_first : layout->heap_info);
            add_piece(heap, (hs_piece){.base = base,
                                       .end = base + load(base + layout->heap_size),
                                       .first = (start + HEADER - 1) / HEADER * HEADER,
                                       .arena = arena,
                                       .thread = 1});
            base = load(base + layout->heap_prev);
        }
        arena = load(arena + layout->next);
    }
    /* The newest came first; a reader wants to meet them in the order in which they came up. */
    for (size_t i = kept, j = heap->piece_count; i + 1 < j; i++) {
        hs_piece other = heap->pieces[--j];
        heap->pieces[j] = heap->pieces[i];
        heap->pieces[i] = other;
    }
}

static const hs_piece *piece_of(const hs_heap *heap, uintptr_t at) {
    for (size_t i = 0; i < heap->piece_count; i++) {
        const hs_piece *piece = &heap->pieces[i];
        if (piece->base <= at && at + 2 * HEADER <= piece->end)
            return piece;
    }
    return NULL;
}

/* The calling thread's table: its TLS has a pointer to it, and no other to a chunk of such a size.
 */
static void follow_table(hs_heap *heap) {
    const hs_layout *layout = &heap->layout;
    uintptr_t tls = (uintptr_t)tls_of(&heap->copy);
    for (size_t i = 0; tls != 0 && i + WORD <= heap->copy.tls_size; i += WORD) {
        uintptr_t user = load(tls + i);
        if (user < HEADER || user % HEADER != 0 || !piece_of(heap, user - HEADER))
            continue;
        int known = 0;
        for (size_t k = 0; k < heap->table_count; k++)
            known |= user == heap->tables[k];
        if (known || !is_table_size(layout, load(user - WORD)))
            continue;
        if (ROOM(heap->tables, heap->table_count, heap->table_room) == 0)
            heap->tables[heap->table_count++] = user;
    }
}

/* Blocks with a mapping of their own: one goes, one comes. */
static void unmapped(hs_heap *heap, uintptr_t user) {
    for (size_t i = 0; i < heap->mapped_count; i++) {
        if (heap->mapped[i].user != user)
            continue;
        size_t behind = --heap->mapped_count - i;
        memmove(&heap->mapped[i], &heap->mapped[i + 1], behind * sizeof heap->mapped[i]);
        return;
    }
}

static void mapped(hs_heap *heap, uintptr_t user) {
    const hs_layout *layout = &heap->layout;
    uint64_t size = load(user - WORD), before = load(user - HEADER) & layout->mmap_offset_mask;
    if (!(size & IS_MMAPPED))
        return;
    if (ROOM(heap->mapped, heap->mapped_count, heap->mapped_room) != 0)
        return;
    hs_mapped block = {.user = user,
                       .base = user - HEADER - before,
                       .length = before + (size & SIZE_BITS) + layout->mmap_extra};
    heap->mapped[heap->mapped_count++] = block;
}

/* ---- the words that only the allocator may write */

static void keep(hs_heap *heap, uintptr_t at) {
    if (ROOM(heap->words, heap->word_count, heap->word_room) != 0)
        return; /* fewer words are watched: nothing else is lost */
    heap->words[heap->word_count++] = (hs_word){at, load(at)};
}

static void keep_all(hs_heap *heap, uintptr_t at, size_t size) {
    for (size_t i = 0; i + WORD <= size; i += WORD)
        keep(heap, at + i);
}

static void keep_chunks(hs_heap *heap, const hs_piece *piece) {
    uintptr_t at = piece->first, top = load(piece->arena + heap->layout.top);
    if (piece->thread)
        keep_all(heap, piece->base, 4 * WORD); /* heap_info */
    while (at + HEADER <= piece->end) {
        uint64_t word = load(at + WORD), size = word & SIZE_BITS;
        if (!(word & PREV_INUSE))
            keep(heap, at); /* prev_size, valid behind a free chunk */
        keep(heap, at + WORD);
        if (at == top || size < HEADER || size > piece->end - at)
            break;
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
    if (!heap->ready)
        locate(heap);
    if (!heap->ready)
        return;
    follow_top(heap);
    follow_threads(heap);
    follow_table(heap);
    if (!heap->check)
        return;
    for (size_t i = 0; i < heap->mapped_count; i++) {
        keep(heap, heap->mapped[i].user - HEADER);
        keep(heap, heap->mapped[i].user - WORD);
    }
    for (size_t i = 0; i < heap->piece_count; i++)
        keep_chunks(heap, &heap->pieces[i]);
    for (size_t i = 0; i < heap->table_count; i++)
        keep_tcache(heap, heap->tables[i]);
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
        if (load(heap->words[i].at) == heap->words[i].value)
            continue;
        heap->bad = heap->words[i];
        return 0;
    }
    return 1;
}

/* ---- the calls */

static int enter(hs_heap *heap) {
    heap->refused = heap->check && !hs_sound(heap);
    if (heap->refused)
        return 0;
    *heap->errno_() = errno; /* the private libc has an errno of its own */
    if (!heap->ready && heap->layout.arena_size != 0)
        place_heap(heap);
    return 1;
}

/* `gone` is the block that the call was given and `block` the one it returned; 0 for none. */
static void leave(hs_heap *heap, const void *gone, const void *block) {
    int error = *heap->errno_();
    hs_let_go(&around);
    /* glibc has drawn its key in this call, and stored it nowhere yet. */
    if (!heap->ready && heap->copy.key != 0)
        *(uint64_t *)heap->copy.key = heap->layout.key;
    if (gone != NULL)
        unmapped(heap, (uintptr_t)gone);
    if (block != NULL)
        mapped(heap, (uintptr_t)block);
    hs_remember(heap);
    errno = error;
}

#define ALLOCATE(type, call)                                                                       \
    do {                                                                                           \
        if (!enter(heap))                                                                          \
            return NULL;                                                                           \
        type result = heap->call;                                                                  \
        leave(heap, NULL, result);                                                                 \
        return result;                                                                             \
    } while (0)

#define ASK(type, call)                                                                            \
    do {                                                                                           \
        if (!enter(heap))                                                                          \
            return 0;                                                                              \
        type result = heap->call;                                                                  \
        leave(heap, NULL, NULL);                                                                   \
        return result;                                                                             \
    } while (0)

/* A failed realloc leaves the block as it was; to size 0 it frees, and returns NULL as well. */
#define RESIZE(some, call)                                                                         \
    do {                                                                                           \
        if (!enter(heap))                                                                          \
            return NULL;                                                                           \
        void *result = heap->call;                                                                 \
        leave(heap, result != NULL || !(some) ? block : NULL, result);                             \
        return result;                                                                             \
    } while (0)

void *hs_malloc(hs_heap *heap, size_t size) {
    ALLOCATE(void *, malloc_(size));
}

void *hs_calloc(hs_heap *heap, size_t number, size_t size) {
    ALLOCATE(void *, calloc_(number, size));
}

void *hs_realloc(hs_heap *heap, void *block, size_t size) {
    RESIZE(size != 0, realloc_(block, size));
}

void *hs_reallocarray(hs_heap *heap, void *block, size_t number, size_t size) {
    RESIZE(number != 0 && size != 0, reallocarray_(block, number, size));
}

void *hs_aligned_alloc(hs_heap *heap, size_t alignment, size_t size) {
    ALLOCATE(void *, aligned_alloc_(alignment, size));
}

int hs_posix_memalign(hs_heap *heap, void **block, size_t alignment, size_t size) {
    if (!enter(heap))
        return 0;
    int result = heap->posix_memalign_(block, alignment, size);
    leave(heap, NULL, result == 0 ? *block : NULL);
    return result;
}

void *hs_memalign(hs_heap *heap, size_t alignment, size_t size) {
    ALLOCATE(void *, memalign_(alignment, size));
}

char *hs_strdup(hs_heap *heap, const char *text) {
    ALLOCATE(char *, strdup_(text));
}

void hs_free(hs_heap *heap, void *block) {
    if (!enter(heap))
        return;
    heap->free_(block);
    leave(heap, block, NULL);
}

size_t hs_malloc_usable_size(hs_heap *heap, void *block) {
    ASK(size_t, usable_(block));
}

int hs_malloc_trim(hs_heap *heap, size_t pad) {
    ASK(int, trim_(pad));
}

int hs_mallopt(hs_heap *heap, int parameter, int value) {
    ASK(int, mallopt_(parameter, value));
}

/* ---- what a refused call would do */

static void call_anyway(hs_heap *heap, const char *name, uintptr_t a, uintptr_t b, uintptr_t c) {
    if (strcmp(name, "malloc") == 0)
        heap->malloc_(a);
    else if (strcmp(name, "calloc") == 0)
        heap->calloc_(a, b);
    else if (strcmp(name, "realloc") == 0)
        heap->realloc_((void *)a, b);
    else if (strcmp(name, "reallocarray") == 0)
        heap->reallocarray_((void *)a, b, c);
    else if (strcmp(name, "aligned_alloc") == 0)
        heap->aligned_alloc_(a, b);
    else if (strcmp(name, "posix_memalign") == 0)
        heap->posix_memalign_((void **)a, b, c);
    else if (strcmp(name, "memalign") == 0)
        heap->memalign_(a, b);
    else if (strcmp(name, "strdup") == 0)
        heap->strdup_((const char *)a);
    else if (strcmp(name, "free") == 0)
        heap->free_((void *)a);
    else if (strcmp(name, "malloc_trim") == 0)
        heap->trim_(a);
    else if (strcmp(name, "mallopt") == 0)
        heap->mallopt_((int)a, (int)b);
    else if (strcmp(name, "malloc_usable_size") == 0)
        dprintf(STDERR_FILENO, "%zu\n", heap->usable_((void *)a));
}

static const int deadly[] = {SIGABRT, SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP, SIGALRM};
enum { DEADLY = sizeof deadly / sizeof *deadly };

/* Keep the last line of what comes from `fd`. */
static void last_line(int fd, char *said, size_t room) {
    char part[256];
    size_t length = 0;
    int ended = 0; /* the next byte begins a new line */
    for (;;) {
        ssize_t got = read(fd, part, sizeof part);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            break;
        for (ssize_t i = 0; i < got; i++) {
            if (part[i] == '\n') {
                ended = 1;
                continue;
            }
            if (ended)
                length = 0;
            ended = 0;
            if (length + 1 < room)
                said[length++] = part[i];
        }
    }
    said[length] = '\0';
}

int hs_attempt(hs_heap *heap, const char *function, uintptr_t a, uintptr_t b, uintptr_t c,
               char *said, size_t room) {
    int ends[2], status = 0;
    said[0] = '\0';
    if (pipe2(ends, O_CLOEXEC) != 0)
        return -1;
    pid_t pid = fork();
    if (pid == 0) {
        const struct rlimit no_core = {0, 0};
        sigset_t all;
        sigfillset(&all);
        sigprocmask(SIG_UNBLOCK, &all, NULL);
        for (size_t i = 0; i < DEADLY; i++)
            signal(deadly[i], SIG_DFL);
        setrlimit(RLIMIT_CORE, &no_core);
        dup2(ends[1], STDOUT_FILENO);
        dup2(ends[1], STDERR_FILENO);
        alarm(1);
        call_anyway(heap, function, a, b, c);
        _exit(0);
    }
    close(ends[1]);
    if (pid > 0)
        last_line(ends[0], said, room);
    close(ends[0]);
    if (pid < 0)
        return -1;
    while (waitpid(pid, &status, 0) != pid)
        if (errno != EINTR)
            return -1;
    return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

/* ---- a child that may die */

static int watched_file = -1;

static int put(int fd, const void *data, size_t size) {
    const char *from = data;
    while (size > 0) {
        ssize_t done = write(fd, from, size);
        if (done < 0 && errno == EINTR)
            continue;
        if (done <= 0)
            return -1;
        from += done;
        size -= (size_t)done;
    }
    return 0;
}

/* Write a record, or none of it when its bytes cannot be read. */
static int put_record(int fd, uint64_t kind, uintptr_t at, uint64_t length, uint64_t bytes) {
    uint64_t head[4] = {kind, at, length, bytes};
    off_t start = lseek(fd, 0, SEEK_CUR);
    if (put(fd, head, sizeof head) == 0 && put(fd, (const void *)at, bytes) == 0)
        return 0;
    lseek(fd, start, SEEK_SET);
    return -1;
}

int hs_dump(hs_heap *heap, int fd, int signal) {
    enum { MOST_OF_A_BLOCK = 1 << 20 };
    const hs_layout *layout = &heap->layout;
    int failed = 0;
    if (heap->ready)
        failed |= put_record(fd, 0, heap->main_arena, layout->arena_size, layout->arena_size);
    for (size_t i = 0; i < heap->piece_count; i++) {
        const hs_piece *piece = &heap->pieces[i];
        size_t length = piece->end - piece->base;
        failed |= put_record(fd, piece->thread ? 4 : 1, piece->base, length, length);
    }
    for (size_t i = 0; i < heap->mapped_count; i++) {
        const hs_mapped *block = &heap->mapped[i];
        size_t bytes = block->user - block->base + MOST_OF_A_BLOCK;
        if (bytes > block->length)
            bytes = block->length;
        failed |= put_record(fd, 2, block->base, block->length, bytes);
    }
    for (size_t i = 0; i < heap->table_count; i++)
        failed |= put_record(fd, 5, heap->tables[i], 0, 0);
    failed |= put_record(fd, 3, 0, (uint64_t)signal, 0);
    return failed;
}

/* Runs on a stack of its own, with system calls only: the heap, or the stack, may be ruined. */
static void last_words(int number) {
    signal(number, SIG_DFL);
    if (watched != NULL) {
        /* The call that dies may have taken a new piece just before. */
        if (watched->ready)
            follow_top(watched);
        hs_dump(watched, watched_file, number);
    }
    raise(number);
}

int hs_on_death(hs_heap *heap, int fd) {
    enum { ROOM = 64 * 1024 };
    static char stack[ROOM];
    stack_t own = {.ss_sp = stack, .ss_size = ROOM};
    struct sigaction act;
    memset(&act, 0, sizeof act);
    act.sa_handler = last_words;
    act.sa_flags = SA_ONSTACK | SA_NODEFER;
    /* last_words may have to add a piece, and must not call malloc then. */
    if (ROOM(heap->pieces, heap->piece_count, heap->piece_room) != 0)
        return -1;
    watched = heap;
    watched_file = fd;
    if (sigaltstack(&own, NULL) != 0)
        return -1;
    for (size_t i = 0; i < DEADLY; i++)
        if (deadly[i] != SIGALRM && sigaction(deadly[i], &act, NULL) != 0)
            return -1;
    return 0;
}

int hs_die_with_parent(void) {
    return prctl(PR_SET_PDEATHSIG, SIGKILL);
}

int hs_memory_file(void) {
    return memfd_create("heapscope", MFD_CLOEXEC);
}
