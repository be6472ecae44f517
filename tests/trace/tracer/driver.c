/* Random calls from a seed, in several threads that free each other's blocks. Prints each call. */
#define _GNU_SOURCE
#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { SLOTS = 64 };
struct call {
    const char *op;
    void *p;
    size_t size, alignment;
};
struct worker {
    uint64_t seed;
    int calls, thread;
    long done;
    struct call *log;
};
static void *_Atomic slot[SLOTS];

static uint64_t next(uint64_t *seed) {
    uint64_t z = *seed += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

static void note(struct worker *w, const char *op, void *p, size_t size, size_t alignment) {
    w->log[w->done++] = (struct call){op, p, size, alignment};
}

static void *work(void *argument) {
    struct worker *w = argument;
    w->thread = (int)syscall(SYS_gettid);
    for (int i = 0; i < w->calls; i++) {
        uint64_t r = next(&w->seed);
        size_t size = r % 100 < 90 ? r / 100 % 600 : r / 100 % 300000;
        size_t alignment = (size_t)16 << r / 7 % 6;
        char text[40];
        void *_Atomic *s = &slot[r / 1000 % SLOTS];
        void *old = atomic_exchange(s, NULL), *p = NULL;
        errno = 77;
        if (old && r % 11 < 5) {
            note(w, "free", old, 0, 0);
            free(old);
        } else if (old && r % 11 < 9) {
            note(w, "realloc-begin", old, 0, 0);
            p = r % 3 ? realloc(old, size) : reallocarray(old, size / 8, 8);
            note(w, "realloc", p, r % 3 ? size : size / 8 * 8, 0);
            if (p == NULL && (r % 3 ? size : size / 8 * 8))
                p = old;
        } else {
            if (old)
                note(w, "free", old, 0, 0), free(old);
            switch (r / 13 % 10) {
            case 0:
                p = calloc(size, 3), note(w, "calloc", p, size * 3, 0);
                break;
            case 1:
                p = memalign(alignment, size), note(w, "aligned", p, size, alignment);
                break;
            case 2:
                p = aligned_alloc(alignment, size / alignment * alignment);
                note(w, "aligned", p, size / alignment * alignment, alignment);
                break;
            case 3:
                if (posix_memalign(&p, alignment, size))
                    p = NULL;
                note(w, "aligned", p, size, alignment);
                break;
            case 4:
                memset(text, 'x', sizeof text - 1), text[size % 40] = 0, text[39] = 0;
                p = strdup(text), note(w, "malloc", p, strlen(text) + 1, 0);
                break;
            case 5:
                memset(text, 'x', sizeof text - 1), text[39] = 0;
                p = strndup(text, size % 50), note(w, "malloc", p, strlen(p) + 1, 0);
                break;
            case 6:
                p = realloc(NULL, size), note(w, "realloc", p, size, 0);
                break;
            case 7:
                if (r % 5 == 0) {
                    volatile size_t much = SIZE_MAX / 2 - size;
                    p = malloc(much), note(w, "malloc", p, much, 0);
                    if (errno != ENOMEM)
                        abort();
                    errno = 77;
                    break;
                } /* fall through */
            default:
                p = malloc(size), note(w, "malloc", p, size, 0);
            }
        }
        if (p && errno != 77)
            abort();
        if (p && malloc_usable_size(p) > 7)
            memset(p, 0x5a, 8);
        p = atomic_exchange(s, p);
        if (p)
            note(w, "free", p, 0, 0), free(p);
    }
    return NULL;
}

int main(int count, char **word) {
    if (count < 4)
        return 2;
    int threads = atoi(word[2]), calls = atoi(word[3]);
    struct worker worker[16];
    pthread_t thread[16];
    for (int i = 0; i < threads; i++) {
        worker[i] = (struct worker){.seed = strtoull(word[1], NULL, 10) * 100 + (unsigned)i};
        worker[i].calls = calls;
        worker[i].log = mmap(NULL, (size_t)calls * 4 * sizeof(struct call), PROT_READ | PROT_WRITE,
                             MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    }
    for (int i = 1; i < threads; i++)
        pthread_create(&thread[i], NULL, work, &worker[i]);
    work(&worker[0]);
    for (int i = 1; i < threads; i++)
        pthread_join(thread[i], NULL);
    for (int i = 0; i < threads; i++)
        for (long k = 0; k < worker[i].done; k++) {
            struct call *c = &worker[i].log[k];
            printf("%d %s %p %zu %zu\n", worker[i].thread, c->op, c->p, c->size, c->alignment);
        }
    for (int i = 0; i < SLOTS; i++)
        if (slot[i])
            printf("left %p\n", (void *)slot[i]);
    return 0;
}
