/* Calls src/heap.c as heapscope does, for the sanitizers and valgrind: several heaps, all
   functions, threads, refusals and their attempts, dumps, closing. Says "ok" at its end. */
#define _GNU_SOURCE
#include "heap.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define CHECK(what)                                                                                \
    do {                                                                                           \
        if (!(what)) {                                                                             \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #what);                     \
            exit(1);                                                                               \
        }                                                                                          \
    } while (0)

static hs_layout layout;

/* The layout comes from the command line, as the hex digits of its bytes. */
static void read_layout(const char *digits) {
    CHECK(strlen(digits) == 2 * sizeof layout);
    for (size_t i = 0; i < sizeof layout; i++)
        CHECK(sscanf(digits + 2 * i, "%2hhx", (unsigned char *)&layout + i) == 1);
}

static void open_one(hs_heap *heap) {
    char error[256];
    if (hs_open(heap, &layout, error, sizeof error) != 0) {
        fprintf(stderr, "%s\n", error);
        exit(1);
    }
    heap->check = 1;
}

/* All functions, many states. */
static void use(hs_heap *heap, unsigned seed, int steps) {
    enum { BLOCKS = 64 };
    void *blocks[BLOCKS] = {NULL};
    void *aligned = NULL;
    for (int step = 0; step < steps; step++) {
        seed = seed * 1103515245u + 12345u;
        size_t place = (seed >> 8) % BLOCKS, size = (seed >> 16) % 3000;
        if (step % 97 == 0)
            size += 2000000;
        unsigned what = seed >> 27;
        if (what < 4) {
            blocks[place] = hs_realloc(heap, blocks[place], size + 1);
        } else if (what < 8) {
            blocks[place] = hs_reallocarray(heap, blocks[place], size + 1, 2);
        } else {
            hs_free(heap, blocks[place]);
            if (what < 16)
                blocks[place] = hs_malloc(heap, size);
            else if (what < 22)
                blocks[place] = hs_calloc(heap, 2, size);
            else if (what < 28)
                blocks[place] = hs_aligned_alloc(heap, 64, size);
            else
                blocks[place] = hs_strdup(heap, "words");
        }
        CHECK(!heap->refused);
        CHECK(blocks[place] != NULL);
        memset(blocks[place], step, hs_malloc_usable_size(heap, blocks[place]));
    }
    CHECK(hs_posix_memalign(heap, &aligned, 4096, 100) == 0);
    hs_free(heap, aligned);
    hs_free(heap, hs_memalign(heap, 1 << 21, 100));
    CHECK(hs_mallopt(heap, -2, 0) == 1);
    hs_malloc_trim(heap, 0);
    for (int i = 0; i < BLOCKS; i++)
        hs_free(heap, blocks[i]);
    CHECK(heap->mapped_count == 0);
    CHECK(heap->table_count >= 1);
    errno = 0;
    CHECK(hs_malloc(heap, (size_t)-1) == NULL);
    CHECK(errno == ENOMEM);
}

/* A word that was written over: refused, tried in a child, put back. */
static void spoil(hs_heap *heap) {
    char said[128];
    unsigned long *a = hs_malloc(heap, 24), *b = hs_malloc(heap, 24);
    CHECK(a != NULL && b != NULL && (char *)b == (char *)a + 32);
    unsigned long size = a[3];
    a[3] = 0x18;
    CHECK(hs_malloc(heap, 24) == NULL && heap->refused);
    CHECK(heap->bad.at == (uintptr_t)&a[3] && heap->bad.value == size);
    CHECK(hs_calloc(heap, 1, 24) == NULL && heap->refused);
    CHECK(hs_realloc(heap, b, 100) == NULL && heap->refused);
    hs_free(heap, b);
    CHECK(heap->refused);
    CHECK(!hs_sound(heap));
    CHECK(hs_attempt(heap, "free", (uintptr_t)b, 0, 0, said, sizeof said) == SIGABRT);
    CHECK(strcmp(said, "free(): invalid size") == 0);
    a[3] = size;
    hs_free(heap, b);
    CHECK(!heap->refused);
    CHECK(hs_attempt(heap, "free", (uintptr_t)b, 0, 0, said, sizeof said) == SIGABRT);
    CHECK(strstr(said, "double free") != NULL);
    CHECK(hs_attempt(heap, "malloc_usable_size", (uintptr_t)a, 0, 0, said, sizeof said) == 0);
    CHECK(strcmp(said, "24") == 0);
    hs_free(heap, a);
}

static void *in_a_thread(void *argument) {
    enum { BLOCKS = 700 };
    hs_heap *heap = argument;
    void *blocks[BLOCKS];
    for (int i = 0; i < BLOCKS; i++)
        blocks[i] = hs_malloc(heap, 120000);
    for (int i = BLOCKS; i-- > 0;)
        hs_free(heap, blocks[i]);
    CHECK(!heap->refused);
    return NULL;
}

/* A thread arena of two heaps, the second of which goes away again. */
static void thread(hs_heap *heap) {
    pthread_t other;
    int pieces = 0;
    CHECK(pthread_create(&other, NULL, in_a_thread, heap) == 0);
    CHECK(pthread_join(other, NULL) == 0);
    for (size_t i = 0; i < heap->piece_count; i++)
        pieces += heap->pieces[i].thread;
    CHECK(pieces >= 1);
}

/* A child that dies leaves its heap in the file. */
static void die(hs_heap *heap, int how) {
    int file = hs_memory_file(), status = 0;
    CHECK(file >= 0);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        heap->check = 0;
        if (hs_die_with_parent() != 0 || hs_on_death(heap, file) != 0)
            _exit(2);
        hs_malloc(heap, (size_t)1 << 30);
        raise(how);
        _exit(0);
    }
    CHECK(waitpid(child, &status, 0) == child);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == how);
    off_t end = lseek(file, 0, SEEK_END), at = 0;
    uint64_t head[4] = {9, 0, 0, 0};
    int kinds[6] = {0};
    while (at < end && head[0] != 3) {
        CHECK(pread(file, head, sizeof head, at) == sizeof head);
        CHECK(head[0] < 6);
        kinds[head[0]]++;
        at += (off_t)(sizeof head + head[3]);
    }
    CHECK(head[0] == 3 && head[2] == (uint64_t)how);
    CHECK(kinds[0] == 1 && kinds[1] >= 1 && kinds[2] == 1 && kinds[5] >= 1);
    close(file);
}

int main(int count, char **arguments) {
    hs_heap one, two;
    uintptr_t first = 0;
    CHECK(count == 3);
    read_layout(arguments[1]);
    int steps = atoi(arguments[2]);
    for (int round = 0; round < 20; round++) {
        open_one(&one);
        open_one(&two);
        void *block = hs_malloc(&one, 24);
        CHECK(one.ready);
        CHECK(round == 0 || (uintptr_t)block % 4096 == first);
        first = (uintptr_t)block % 4096;
        hs_free(&one, block);
        if (round < 2) {
            spoil(&two);
            use(&one, (unsigned)round, steps);
            use(&two, (unsigned)round + 100, steps);
            thread(&two);
            die(&one, SIGABRT);
            die(&one, SIGFPE);
        }
        /* In the order in which the loader could not take their static TLS back. */
        hs_close(&one);
        hs_close(&one);
        hs_close(&two);
    }
    puts("ok");
    return 0;
}
