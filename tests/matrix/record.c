/* Takes its heap through many states. At each it writes its memory and its calls to the file that
   its argument names, and calls reached(), where gdb looks at the same heap through glibc's own
   types (reader.py). It writes without stdio, so that the heap holds only what it asked for itself.

   The file is made of lines; "memory" and "tls" are followed by that many bytes:
     state NAME | memory KIND BASE SIZE | tls BASE SIZE | block USER REQUESTED CALL FREED USABLE
   numbers are hexadecimal; FREED is 0 while the block is in use, else the number of the call. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <link.h>
#include <malloc.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct {
    void *user;
    size_t requested;
    int call, freed;
} Block;

enum { MOST = 600, HEAP_MAX = 64 << 20 };
static Block blocks[MOST];
static int block_count, calls, out, corrupted;
static char *start;
static char *thread_heap;   /* what a thread's block lies in */
static char *tls_places[2]; /* libc's own thread-local storage: main's, the thread's */
static size_t tls_size;
static const char *state_name;

__attribute__((noinline)) void reached(const char *name) {
    state_name = name;
    __asm__ volatile("" : : : "memory");
}

static void put(const void *data, size_t size) {
    while (size) {
        ssize_t done = write(out, data, size);
        if (done <= 0)
            _exit(3);
        data = (const char *)data + done;
        size -= (size_t)done;
    }
}

static void line(const char *kind, const char *what, size_t a, size_t b) {
    char text[100];
    put(text, (size_t)snprintf(text, sizeof text, "%s %s %zx %zx\n", kind, what, a, b));
}

static void memory(const char *kind, const char *base, size_t size) {
    line("memory", kind, (size_t)base, size);
    put(base, size);
}

static int libc_tls(struct dl_phdr_info *info, size_t size, void *where) {
    (void)size;
    if (!strstr(info->dlpi_name, "libc.so") && !strstr(info->dlpi_name, "libc-2"))
        return 0;
    for (int i = 0; i < info->dlpi_phnum; i++)
        if (info->dlpi_phdr[i].p_type == PT_TLS) {
            *(char **)where = info->dlpi_tls_data;
            tls_size = info->dlpi_phdr[i].p_memsz;
        }
    return 1;
}

static int libc_data(struct dl_phdr_info *info, size_t size, void *unused) {
    (void)size;
    (void)unused;
    if (!strstr(info->dlpi_name, "libc.so") && !strstr(info->dlpi_name, "libc-2"))
        return 0;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *part = &info->dlpi_phdr[i];
        if (part->p_type == PT_LOAD && part->p_flags & PF_W)
            memory("libc", (char *)(info->dlpi_addr + part->p_vaddr), part->p_memsz);
    }
    return 1;
}

static void state(const char *name) {
    line("state", name, (size_t)corrupted, 0);
    char *end = sbrk(0);
    if (end != start)
        memory("heap", start, (size_t)(end - start));
    dl_iterate_phdr(libc_data, 0);
    if (thread_heap)
        memory("thread", thread_heap, ((size_t *)thread_heap)[2]);
    for (int i = 0; i < 2; i++)
        if (tls_places[i]) {
            line("tls", "libc", (size_t)tls_places[i], tls_size);
            put(tls_places[i], tls_size);
        }
    for (int i = 0; i < block_count; i++) {
        Block *b = &blocks[i];
        int big = b->requested >= 131049 && !b->freed && ((size_t *)b->user)[-1] & 2;
        size_t usable = b->freed || corrupted ? 0 : malloc_usable_size(b->user);
        char text[120];
        put(text, (size_t)snprintf(text, sizeof text, "block %zx %zx %x %x %zx\n", (size_t)b->user,
                                   b->requested, (unsigned)b->call, (unsigned)b->freed, usable));
        if (big) { /* its mapping begins at a page; the first bytes of it are enough */
            char *base = (char *)((size_t)b->user & ~(size_t)4095);
            line("mapped", "mmap", (size_t)base, (usable + 16 + 4095) & ~(size_t)4095);
            put(base, 4096);
        }
    }
    reached(name);
}

static void *note(void *user, size_t requested, int fill) {
    for (int i = 0; i < block_count; i++)
        if (blocks[i].user == user)
            blocks[i] = blocks[--block_count];
    if (block_count == MOST)
        _exit(4);
    blocks[block_count++] = (Block){user, requested, ++calls, 0};
    if (fill)
        memset(user, 'a' + calls % 26, requested > 4000 ? 4000 : requested);
    return user;
}

static void *take(size_t size) {
    return note(malloc(size), size, 1);
}
static void *clear(size_t size) {
    return note(calloc(1, size), size, 0);
}

static void gone(void *user) {
    calls++;
    for (int i = 0; i < block_count; i++)
        if (blocks[i].user == user)
            blocks[i].freed = calls;
}

static void give(void *user) {
    gone(user);
    free(user);
}

static void *resize(void *user, size_t size) {
    gone(user);
    return note(realloc(user, size), size, 0);
}

static void *many[64];

static void take_all(int count, size_t size) {
    for (int i = 0; i < count; i++)
        many[i] = take(size);
}

static void give_all(int count) {
    for (int i = 0; i < count; i++)
        give(many[i]);
}

static int turn;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t change = PTHREAD_COND_INITIALIZER;

static void hand_over(int to, int until) {
    turn = to;
    pthread_cond_broadcast(&change);
    while (turn != until)
        pthread_cond_wait(&change, &lock);
}

static void *worker(void *unused) {
    void *a, *b, *c;
    pthread_mutex_lock(&lock);
    while (turn != 1)
        pthread_cond_wait(&change, &lock);
    a = take(24);
    b = take(24);
    c = take(3000);
    take(40);
    thread_heap = (char *)((size_t)a & ~(size_t)(HEAP_MAX - 1));
    dl_iterate_phdr(libc_tls, &tls_places[1]);
    hand_over(0, 1);
    give(a);
    give(b);
    give(c);
    hand_over(0, 1);
    take_all(24, 56);
    take(16);
    give_all(24);
    hand_over(0, 1);
    pthread_mutex_unlock(&lock);
    return unused;
}

static void healthy(void) {
    void *a, *b, *c, *d, *e;
    a = take(24);
    state("first block");
    b = take(24);
    c = take(100);
    d = take(1);
    e = take(0);
    state("five blocks");
    give(b);
    state("one in the tcache");
    give(a);
    give(c);
    state("three in the tcache");
    a = take(24);
    state("one taken back");
    give(a);
    give(d);
    give(e);
    for (size_t size = 24; size <= 1032; size += 112)
        many[size / 112] = take(size);
    for (size_t size = 24; size <= 1032; size += 112)
        give(many[size / 112]);
    state("tcache of ten sizes");
    take_all(20, 40);
    take(24);
    give_all(20);
    state("tcache full, size 0x30");
    take_all(3, 40);
    state("three taken back, size 0x30");
    clear(40);
    state("calloc, size 0x30");
    take_all(28, 72);
    give_all(28);
    state("tcache full, size 0x50, beside top");
    a = take(2000);
    b = take(2000);
    c = take(2000);
    d = take(24);
    state("three of 2000 bytes");
    give(b);
    state("one unsorted");
    take(24);
    state("split, remainder unsorted");
    give(a);
    give(c);
    state("coalesced");
    take(5000);
    state("sorted into large bins");
    for (int i = 0; i < 6; i++) {
        many[i] = take((size_t)(1200 + 16 * (i % 3)));
        take(24);
    }
    give_all(6);
    take(20000);
    state("a large bin of several sizes");
    take_all(24, 500);
    for (int i = 0; i < 24; i += 2)
        give(many[i]);
    state("every second of 24 freed");
    for (int i = 1; i < 24; i += 2)
        give(many[i]);
    state("all of 24 freed");
    take_all(18, 600);
    for (int i = 0; i < 8; i++) {
        many[20 + i] = take(600);
        many[30 + i] = take(24);
    }
    give_all(18);
    for (int i = 0; i < 8; i++)
        give(many[20 + i]);
    state("small bins or unsorted");
    take(6000);
    state("sorted into small bins");
    a = clear(600);
    state("calloc from a bin");
    a = resize(a, 650);
    state("realloc grows");
    a = resize(a, 100);
    state("realloc shrinks");
    b = take(10);
    a = resize(a, 9000);
    state("realloc moves");
    give(a);
    give(b);
    a = take(200000);
    state("mmapped");
    b = take(300001);
    state("two mmapped");
    a = resize(a, 400000);
    state("mmapped, grown");
    give(a);
    give(b);
    state("mmapped blocks given back");
    a = aligned_alloc(256, 300);
    note(a, 300, 1);
    state("aligned");
    give(a);
    a = take(100000);
    b = take(60000);
    c = take(24);
    state("the heap has grown");
    give(a);
    give(b);
    state("large blocks coalesced");
    a = take(30000);
    give(c);
    give(a);
    malloc_trim(0);
    state("trimmed");
}

static void random_calls(unsigned seed) {
    static char name[] = "200 calls, seed 0";
    static const size_t sizes[] = {24, 40, 100, 500, 1030, 1500, 5000, 20000};
    void *live[40] = {0};
    for (int i = 0; i < 200; i++) {
        seed = seed * 1103515245u + 12345u;
        void **place = &live[seed >> 16 & 31];
        size_t size = sizes[seed >> 22 & 7] + (seed >> 25 & 15);
        if (!*place)
            *place = seed >> 30 ? take(size) : clear(size);
        else if (seed >> 29 == 1)
            *place = resize(*place, size);
        else {
            give(*place);
            *place = 0;
        }
    }
    name[sizeof name - 2]++;
    state(name);
}

static void threads(void) {
    pthread_t thread;
    pthread_mutex_lock(&lock);
    pthread_create(&thread, 0, worker, 0);
    state("a thread has started");
    hand_over(1, 0);
    state("four blocks in a thread's arena");
    hand_over(1, 0);
    state("three of the thread's freed");
    hand_over(1, 0);
    state("the thread's tcache full");
    turn = 1;
    pthread_cond_broadcast(&change);
    pthread_mutex_unlock(&lock);
    pthread_join(thread, 0);
    tls_places[1] = 0;
    state("the thread has ended");
}

/* What is destroyed here is put back, so each of these states has one fault. */
static void corrupted_word(const char *name, void *at, size_t value) {
    size_t *word = at, old = *word;
    corrupted = 1;
    *word = value;
    state(name);
    *word = old;
    corrupted = 0;
}

static void destroyed(void) {
    char *a = take(200), *b = take(200), *c = take(200), *d = take(200);
    /* No free chunk is as large as these: they come from top, one behind the other. */
    char *big = take(110000), *after = take(110001), *second = take(110002);
    take(110003);
    give(a);
    give(b);
    give(big);
    give(second);
    state("whole, before the corruption");
    corrupted_word("link of the tcache leads to an odd address", b, 0x4141414141414141);
    corrupted_word("link of the tcache leads out of the heap", b, ((size_t)b >> 12) ^ 0x10);
    corrupted_word("size word of a block in use is too large", c - 8, 0x7ffffff1);
    corrupted_word("size word of a block in use is zero", c - 8, 0);
    corrupted_word("size word of a block in use is no multiple of 16", d - 8, 0x49);
    corrupted_word("P flag of the block after a free one is set", after - 8,
                   ((size_t *)after)[-1] | 1);
    corrupted_word("prev_size of the block after a free one is wrong", after - 16, 0x100);
    corrupted_word("bk of an unsorted chunk leads to nothing", big + 8, 0x30);
    corrupted_word("fd of an unsorted chunk leads to nothing", big, 0x30);
    state("whole again");
}

int main(int count, char **names) {
    start = sbrk(0);
    out = open(count > 1 ? names[1] : "/dev/null", O_WRONLY | O_CREAT | O_TRUNC, 0600);
    if (out < 0)
        return 2;
    dl_iterate_phdr(libc_tls, &tls_places[0]);
    state("nothing yet");
    healthy();
    for (unsigned seed = 1; seed <= 4; seed++)
        random_calls(seed);
    threads();
    destroyed();
    return 0;
}
