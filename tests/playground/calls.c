/* Run a list of calls on the system's own malloc and say what each returned.
 *
 * Standard input: records of five u64 (see calls.py). Standard output: one u64 for each. The
 * program itself allocates nothing, so the heap holds the list's blocks only. */
#define _GNU_SOURCE
#include <errno.h>
#include <malloc.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum call {
    MALLOC,
    CALLOC,
    REALLOC,
    FREE,
    MEMALIGN,
    ALIGNED_ALLOC,
    FILL,
    TRIM,
    MALLOPT,
    USABLE,
    STORE,
    LINK,
    FORGE,
    LOAD,
    ERRNO,
    WALK
};
enum { SLOTS = 4096, MOST = 1 << 18 };
struct record {
    uint64_t call, slot, a, b, c;
};
static struct record records[MOST];
static uint64_t results[MOST];
static char *slots[SLOTS];
static char *heap;

/* FNV-1a over the size words of all chunks; malloc's flags are in them. */
static uint64_t walk(void) {
    uint64_t hash = 0xcbf29ce484222325;
    for (char *chunk = heap, *end = sbrk(0); chunk < end;) {
        uint64_t size = *(uint64_t *)(chunk + 8);
        hash = (hash ^ size) * 0x100000001b3;
        if (size < 16)
            break;
        chunk += size & ~(uint64_t)7;
    }
    return hash >> 1; /* the top bit means something else */
}

/* NULL is 0, a block of the heap its offset in it, any other its address with the top bit set. */
static uint64_t place(const char *block) {
    if (block == NULL)
        return 0;
    if (block > heap && block < (char *)sbrk(0))
        return block - heap;
    return (uint64_t)block | (uint64_t)1 << 63;
}

static uint64_t run(const struct record *r) {
    char **slot = &slots[r->slot];
    uint64_t *word = (uint64_t *)(*slot + r->a);
    switch ((enum call)r->call) {
    case MALLOC:
        return place(*slot = malloc(r->a));
    case CALLOC:
        return place(*slot = calloc(r->a, r->b));
    case REALLOC:
        return place(*slot = realloc(*slot, r->a));
    case FREE:
        free(*slot);
        return 0;
    case MEMALIGN:
        return place(*slot = memalign(r->a, r->b));
    case ALIGNED_ALLOC:
        return place(*slot = aligned_alloc(r->a, r->b));
    case FILL:
        memset(*slot, (int)r->a, r->b);
        return 0;
    case TRIM:
        return malloc_trim(r->a);
    case MALLOPT:
        return mallopt((int)r->a, (int)r->b);
    case USABLE:
        return malloc_usable_size(*slot);
    case STORE:
        *word = r->b;
        return 0;
    case LINK: /* a pointer into block b, protected by where it stands if a list is to follow it */
        *word =
            (uint64_t)(slots[r->b] + (int64_t)(r->c >> 1)) ^ (r->c & 1 ? (uint64_t)word >> 12 : 0);
        return 0;
    case FORGE:
        *slot = slots[r->a] + (int64_t)r->b;
        return 0;
    case LOAD:
        return *word;
    case ERRNO:
        return errno;
    case WALK:
        return walk();
    }
    return ~(uint64_t)0;
}

int main(void) {
    size_t size = 0;
    for (ssize_t got; (got = read(0, (char *)records + size, sizeof records - size)) > 0;)
        size += got;
    heap = sbrk(0);
    size_t number = size / sizeof *records;
    for (size_t i = 0; i < number; i++)
        results[i] = run(&records[i]);
    for (size_t done = 0; done < number * 8;) {
        ssize_t put = write(1, (char *)results + done, number * 8 - done);
        if (put <= 0)
            return 1;
        done += put;
    }
    return 0;
}
