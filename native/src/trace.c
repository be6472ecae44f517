/* The allocation tracer: loaded by LD_PRELOAD, writes what trace.h describes.

   How it stays fast: each thread writes 16-byte records to a window of its own, a block of the file
   that is mapped and stays in the cache; a full window is copied to the file by pwrite. (Writing
   through a mapping of fresh pages costs a page fault for each 256 records.) How it loses nothing:
   the window is a shared mapping, so what it holds is in the file already, whatever becomes of the
   program. How it keeps out of the way: no lock, no memory from malloc, no descriptor kept open
   (the program might close it, and open a file of its own under that number), errno untouched,
   system calls made directly. What belongs to one process lies in pages that the kernel clears in a
   child (MADV_WIPEONFORK), so that any kind of fork starts a trace of its own. */

#define _GNU_SOURCE
#include "trace.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define LIKELY(x) __builtin_expect(!!(x), 1)
#define UNLIKELY(x) __builtin_expect(!!(x), 0)
#define EXPORT __attribute__((visibility("default")))
#define SLOW __attribute__((noinline, cold))
#define INLINE static inline __attribute__((always_inline))
#define HERE() ((uintptr_t)__builtin_frame_address(0))
#define BARRIER() atomic_signal_fence(memory_order_seq_cst)

/* Tests build the library with less, to see what happens when these are used up. */
#ifndef HS_WINDOWS
#define HS_WINDOWS 4096
#endif
#ifndef HS_TABLE_BITS
#define HS_TABLE_BITS 20
#endif

enum {
    MOST_WINDOWS = HS_WINDOWS, /* threads alive at once with a window; more share one block */
    MOST_FRAMES = 128,
    MOST_RANGES = 1024,         /* executable mappings that stacks are checked against */
    TABLE = 1 << HS_TABLE_BITS, /* slots of the table of stacks */
    TABLE_FULL = TABLE / 8 * 6,
    PROBES = 32,
    ROOM = HS_BLOCK - (int)sizeof(struct hs_block),
    EARLY = 8192, /* bytes for what the loader allocates while we look for the allocator */
    TEXT = 4096,
};

/* ---- system calls ---------------------------------------------------------------------------- */

/* The result is -errno on failure; errno itself stays as it is. */
static long sys(long number, long a, long b, long c, long d, long e, long f) {
#if defined(__x86_64__)
    long result;
    register long r10 __asm__("r10") = d;
    register long r8 __asm__("r8") = e;
    register long r9 __asm__("r9") = f;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return result;
#else
    int kept = errno;
    long result = syscall(number, a, b, c, d, e, f);
    if (result == -1)
        result = -errno;
    errno = kept;
    return result;
#endif
}

static int sys_open(const char *path, int flags, int mode) {
    return (int)sys(SYS_openat, AT_FDCWD, (long)path, flags | O_CLOEXEC, mode, 0, 0);
}

static void sys_close(int fd) {
    sys(SYS_close, fd, 0, 0, 0, 0, 0);
}

static uint32_t sys_pid(void) {
    return (uint32_t)sys(SYS_getpid, 0, 0, 0, 0, 0, 0);
}

static uint32_t sys_tid(void) {
    return (uint32_t)sys(SYS_gettid, 0, 0, 0, 0, 0, 0);
}

static void *sys_map(size_t size, int flags, int fd, uint64_t offset) {
    long at = sys(SYS_mmap, 0, (long)size, PROT_READ | PROT_WRITE, flags, fd, (long)offset);
    return at < 0 && at > -4096 ? NULL : (void *)at;
}

static void sys_unmap(void *at, size_t size) {
    sys(SYS_munmap, (long)at, (long)size, 0, 0, 0, 0);
}

/* Memory that a forked child finds filled with zeros; NULL where there is none. */
static void *wiped_memory(size_t size) {
    void *at = sys_map(size, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (at && sys(SYS_madvise, (long)at, (long)size, MADV_WIPEONFORK, 0, 0, 0) != 0) {
        sys_unmap(at, size);
        at = NULL;
    }
    return at;
}

static long read_some(const char *path, char *to, size_t size) {
    int fd = sys_open(path, O_RDONLY, 0);
    if (fd < 0)
        return fd;
    size_t got = 0;
    while (got < size) {
        long n = sys(SYS_read, fd, (long)(to + got), (long)(size - got), 0, 0, 0);
        if (n == -EINTR)
            continue;
        if (n <= 0)
            break;
        got += (size_t)n;
    }
    sys_close(fd);
    return (long)got;
}

/* ---- state ----------------------------------------------------------------------------------- */

struct window {
    struct hs_block *at;
    _Atomic uint32_t owner; /* thread number */
};

struct range {
    uintptr_t low, high;
};

/* Where the Go runtime keeps things, from the program's DWARF. */
struct go {
    bool on;
    long tls;                               /* of g, counted from the thread pointer */
    size_t stack_low, stack_high, m;        /* in g */
    size_t syscallsp, syscallpc, syscallbp; /* in g */
    size_t curg;                            /* in m */
};

enum phase { NEW, STARTING, ON, OFF };

/* All that belongs to one process; zero at its start, and again in a forked child. */
struct state {
    uint32_t image; /* not 0 while recording */
    uint32_t depth;
    uint64_t *table;
    struct hs_header *header;
    struct go go;
    _Atomic uint32_t ranges;
    struct range range[MOST_RANGES];
    _Atomic int phase;
    _Atomic uint32_t starter;
    _Atomic uint32_t windows, hint;
    struct window window[MOST_WINDOWS];
    struct hs_block *_Atomic shared;
    _Atomic uint32_t busy_maps, busy_clock, filled;
    uint64_t maps_seq, maps_time, maps_pause;
    char path[TEXT];
};

static struct state *S;

/* Of the process image: read once, copied by fork. */
static char folder[TEXT - 64];
static char file_name[64];
static uint32_t images;
static uint32_t asked_depth;
static struct go asked_go;

struct local {
    uint32_t image;          /* the image that `window` belongs to */
    uint32_t thread;         /* its number */
    uint32_t range;          /* the range of the last lookup */
    bool mute;               /* what we call allocates, and that is not the program's doing */
    struct hs_block *window; /* NULL: this thread shares */
    uintptr_t busy;          /* frame of the recording function while it is at work */
    uintptr_t low, high;     /* of the stack */
};

static __thread struct local T __attribute__((tls_model("initial-exec"))) = {.image = UINT32_MAX};

/* ---- time ------------------------------------------------------------------------------------ */

static uint64_t nanoseconds(clockid_t clock) {
    struct timespec t = {0, 0};
    clock_gettime(clock, &t); /* cannot fail with these clocks, so errno is safe */
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

INLINE uint64_t ticks(void) {
#if defined(__x86_64__)
    return __builtin_ia32_rdtsc();
#else
    return nanoseconds(CLOCK_MONOTONIC);
#endif
}

/* The time of an event. As soon as there are several threads, it must not be read before the loads
   that came before: a block freed here may have been allocated by another thread a moment ago, and
   the processor would read the time while it still waits for the pointer. */
INLINE uint64_t event_time(struct state *s) {
#if defined(__x86_64__)
    if (atomic_load_explicit(&s->windows, memory_order_relaxed) > 1)
        __builtin_ia32_lfence();
#endif
    return ticks() >> HS_TIME_SHIFT;
}

/* Renew the second pair of clock readings now and then. */
static void renew_clock(struct state *s, bool always) {
    struct hs_header *h = s->header;
    uint64_t now = ticks();
    if (!always && now - h->ticks1 < 1u << 25)
        return;
    if (atomic_exchange(&s->busy_clock, 1))
        return;
    h->monotonic1 = nanoseconds(CLOCK_MONOTONIC);
    h->ticks1 = ticks();
    atomic_store(&s->busy_clock, 0);
}

/* ---- blocks of the file ---------------------------------------------------------------------- */

/* Stop recording for good; what was recorded stays. */
static SLOW void stop(struct state *s, int error) {
    if (s->header && !s->header->stopped)
        s->header->stopped = (uint32_t)error;
    s->image = 0;
    atomic_store(&s->phase, OFF);
}

static void count_lost(struct state *s, uint64_t events) {
    if (s->header)
        __atomic_fetch_add(&s->header->lost, events, __ATOMIC_RELAXED);
}

/* Errors that pass: the program has no descriptor left at the moment. */
static bool passes(int error) {
    return error == EMFILE || error == ENFILE || error == EINTR || error == ENOMEM;
}

/* Beyond this limit a write would raise SIGXFSZ in the program. */
static bool too_long(uint64_t end) {
    struct rlimit limit = {RLIM_INFINITY, RLIM_INFINITY};
    sys(SYS_prlimit64, 0, RLIMIT_FSIZE, 0, (long)&limit, 0, 0);
    return limit.rlim_cur != RLIM_INFINITY && end > limit.rlim_cur;
}

static int write_all(int fd, const void *from, size_t size, uint64_t offset) {
    const char *at = from;
    while (size) {
        long n = sys(SYS_pwrite64, fd, (long)at, (long)size, (long)offset, 0, 0);
        if (n == -EINTR)
            continue;
        if (n == 0)
            return ENOSPC;
        if (n < 0)
            return (int)-n;
        at += n, offset += (uint64_t)n, size -= (size_t)n;
    }
    return 0;
}

/* Make sure that the disk has room for a block that will be mapped: without, a store is SIGBUS. */
static int reserve(int fd, uint64_t offset) {
    if (too_long(offset + HS_BLOCK))
        return EFBIG;
    long r;
    do
        r = sys(SYS_fallocate, fd, 0, (long)offset, HS_BLOCK, 0, 0);
    while (r == -EINTR);
    if (r == -EOPNOTSUPP || r == -ENOSYS) {
        static const char zeros[4096];
        for (int i = 0; i < HS_BLOCK; i += (int)sizeof zeros) {
            int error = write_all(fd, zeros, sizeof zeros, offset + (uint64_t)i);
            if (error)
                return error;
        }
        return 0;
    }
    return (int)-r;
}

static int map_block(int fd, uint64_t block, void **to) {
    int error = reserve(fd, block * HS_BLOCK);
    if (error)
        return error;
    *to = sys_map(HS_BLOCK, MAP_SHARED, fd, block * HS_BLOCK);
    if (!*to)
        return ENOMEM;
    /* A child has windows of its own. */
    sys(SYS_madvise, (long)*to, HS_BLOCK, MADV_DONTFORK, 0, 0, 0);
    return 0;
}

static uint64_t next_block(struct state *s) {
    return __atomic_fetch_add(&s->header->blocks, 1, __ATOMIC_RELAXED);
}

/* Return a new mapped block, or NULL and the reason in *error. */
static SLOW struct hs_block *new_block(struct state *s, enum hs_kind kind, uint32_t number,
                                       uint32_t thread, int *error) {
    int fd = sys_open(s->path, O_RDWR, 0);
    if (fd < 0) {
        *error = -fd;
        return NULL;
    }
    void *at = NULL;
    *error = map_block(fd, next_block(s), &at);
    sys_close(fd);
    if (*error)
        return NULL;
    struct hs_block *block = at;
    block->kind = kind;
    block->window = number;
    block->thread = thread;
    block->time = block->last = ticks() >> HS_TIME_SHIFT;
    __atomic_store_n(&block->magic, HS_BLOCK_MAGIC, __ATOMIC_RELEASE);
    return block;
}

/* Write a finished block: first what it holds, then the header that makes it count. */
static SLOW int write_block(struct state *s, const struct hs_block *head, const void *content) {
    int fd = sys_open(s->path, O_RDWR, 0);
    if (fd < 0)
        return -fd;
    uint64_t offset = next_block(s) * HS_BLOCK;
    int error = too_long(offset + HS_BLOCK) ? EFBIG : 0;
    if (!error)
        error = write_all(fd, content, head->used, offset + sizeof *head);
    if (!error)
        error = write_all(fd, head, sizeof *head, offset);
    sys_close(fd);
    return error;
}

INLINE uint64_t word0(uint64_t value, uint64_t dt) {
    return (value & 0xffffffffffffull) | dt << 48;
}

INLINE uint64_t word1(enum hs_op op, uint32_t stack, uint64_t size) {
    return (uint64_t)op | (uint64_t)stack << 4 | size << 28;
}

/* Make room in the calling thread's window. */
static SLOW bool refill(struct state *s, struct hs_block *w) {
    struct hs_block head = *w;
    head.kind = HS_DONE;
    int error = write_block(s, &head, w + 1);
    if (error) {
        if (!passes(error))
            stop(s, error);
        return false;
    }
    __atomic_store_n(&w->used, 0, __ATOMIC_RELEASE);
    memset(w + 1, 0, ROOM);
    BARRIER();
    w->time = w->last;
    w->thread = T.thread;
    __atomic_store_n(&w->seq, w->seq + 1, __ATOMIC_RELEASE);
    if (w->lost) {
        uint64_t *first = (uint64_t *)(w + 1);
        first[0] = word0(w->lost, 0);
        first[1] = word1(HS_LOST, 0, 0);
        w->used = 16, w->lost = 0;
    }
    renew_clock(s, false);
    return true;
}

/* Append a record to a window. The second word makes it count, so it comes last. */
INLINE bool push(struct state *s, struct hs_block *w, uint64_t w0, uint64_t w1) {
    uint64_t used = w->used;
    if (UNLIKELY(used >= ROOM)) {
        if (!refill(s, w))
            return false;
        used = w->used;
    }
    uint64_t *to = (uint64_t *)((char *)(w + 1) + used);
    to[0] = w0;
    __atomic_store_n(&to[1], w1, __ATOMIC_RELEASE);
    w->used = used + 16;
    return true;
}

/* Reserve `count` records in the block that all threads share; NULL if there is no room at all. */
static SLOW uint64_t *share(struct state *s, size_t count) {
    for (;;) {
        struct hs_block *b = atomic_load(&s->shared);
        if (b) {
            uint64_t used = __atomic_fetch_add(&b->used, count * 16, __ATOMIC_RELAXED);
            if (used + count * 16 <= ROOM)
                return (uint64_t *)((char *)(b + 1) + used);
        }
        int error;
        struct hs_block *fresh = new_block(s, HS_SHARED, UINT32_MAX, 0, &error);
        if (!fresh) {
            if (!passes(error))
                stop(s, error);
            return NULL;
        }
        /* A block that is left stays mapped: somebody may still write to it. */
        if (!atomic_compare_exchange_strong(&s->shared, &b, fresh))
            sys_unmap(fresh, HS_BLOCK);
    }
}

static bool push_shared(struct state *s, uint64_t w0, uint64_t w1) {
    uint64_t *to = share(s, 1);
    if (!to)
        return false;
    to[0] = w0;
    __atomic_store_n(&to[1], w1, __ATOMIC_RELEASE);
    return true;
}

/* ---- what is executable ---------------------------------------------------------------------- */

INLINE bool in_text(struct state *s, uintptr_t pc) {
    uint32_t count = atomic_load_explicit(&s->ranges, memory_order_acquire);
    uint32_t last = T.range;
    if (LIKELY(last < count && pc - s->range[last].low < s->range[last].high - s->range[last].low))
        return true;
    for (uint32_t i = 0; i < count; i++) {
        if (pc - s->range[i].low < s->range[i].high - s->range[i].low) {
            T.range = i;
            return true;
        }
    }
    return false;
}

static const char *hexadecimal(const char *from, uintptr_t *to) {
    *to = 0;
    for (;; from++) {
        char c = *from;
        int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
        if (digit < 0)
            return from;
        *to = *to << 4 | (uintptr_t)digit;
    }
}

/* Take one line of /proc/self/maps; true if it tells of an executable range not known so far. */
static bool take_line(struct state *s, const char *line, bool *executable) {
    uintptr_t low, high;
    const char *at = hexadecimal(line, &low);
    if (*at != '-')
        return false;
    at = hexadecimal(at + 1, &high);
    *executable = at[0] == ' ' && at[1] == 'r' && at[2] && at[3] == 'x';
    if (!*executable)
        return false;
    const char *path = strchr(at, '/');
    if (!path)
        path = strchr(at, '[');
    if (!path) { /* made at run time: nobody can tell what it is */
        *executable = false;
        return false;
    }
    uint32_t count = atomic_load(&s->ranges);
    for (uint32_t i = 0; i < count; i++)
        if (s->range[i].low == low && s->range[i].high == high)
            return false;
    if (count == MOST_RANGES)
        return false;
    s->range[count] = (struct range){low, high};
    atomic_store_explicit(&s->ranges, count + 1, memory_order_release);
    return true;
}

/* Read /proc/self/maps again. When there is something new, write its executable lines down. */
static SLOW void read_maps(struct state *s) {
    if (atomic_exchange(&s->busy_maps, 1))
        return;
    enum { HALF = HS_BLOCK };
    char *in = sys_map(2 * HALF, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    int fd = in ? sys_open("/proc/self/maps", O_RDONLY, 0) : -1;
    if (fd >= 0) {
        char *out = in + HALF;
        bool news = false;
        struct hs_block head = {.magic = HS_BLOCK_MAGIC, .kind = HS_MAPS, .window = UINT32_MAX - 1};
        head.time = ticks() >> HS_TIME_SHIFT;
        size_t held = 0, written = 0;
        uint64_t block_seq = s->maps_seq;
        for (;;) {
            long n = sys(SYS_read, fd, (long)(in + held), (long)(HALF - 1 - held), 0, 0, 0);
            if (n == -EINTR)
                continue;
            if (n <= 0)
                break;
            held += (size_t)n;
            in[held] = 0;
            char *line = in, *end;
            while ((end = memchr(line, '\n', held - (size_t)(line - in)))) {
                bool executable = false;
                *end = 0;
                news |= take_line(s, line, &executable);
                *end = '\n';
                size_t length = (size_t)(end - line) + 1;
                if (executable && length < ROOM) {
                    if (written + length > ROOM) { /* so many libraries: one more block */
                        head.used = written, head.seq = block_seq++;
                        write_block(s, &head, out);
                        written = 0;
                    }
                    memcpy(out + written, line, length);
                    written += length;
                }
                line = end + 1;
            }
            held -= (size_t)(line - in);
            memmove(in, line, held);
            if (held == HALF - 1)
                held = 0; /* a line longer than any path can be */
        }
        sys_close(fd);
        if (news && written) {
            head.used = written, head.seq = block_seq++;
            int error = write_block(s, &head, out);
            if (error && !passes(error))
                stop(s, error);
        }
        s->maps_seq = block_seq;
        /* Addresses that are in no mapping make us look again, less and less often. */
        uint64_t least = (10u << 20) >> HS_TIME_SHIFT, most = (1u << 30) >> HS_TIME_SHIFT;
        s->maps_pause = news ? least : s->maps_pause * 2 > most ? most : s->maps_pause * 2;
    }
    if (in)
        sys_unmap(in, 2 * HALF);
    s->maps_time = ticks() >> HS_TIME_SHIFT;
    atomic_store(&s->busy_maps, 0);
}

static SLOW bool in_new_text(struct state *s, uintptr_t pc) {
    if ((ticks() >> HS_TIME_SHIFT) - s->maps_time < s->maps_pause)
        return false;
    read_maps(s);
    return in_text(s, pc);
}

/* ---- stacks ---------------------------------------------------------------------------------- */

struct trail {
    uint32_t count, c; /* frames in all, C frames of them */
    uint64_t hash;
    uintptr_t pc[MOST_FRAMES];
};

INLINE uint64_t mix(uint64_t hash, uint64_t value) {
    hash = (hash ^ value) * 0x9e3779b97f4a7c15ull;
    return hash ^ hash >> 32;
}

INLINE void add(struct trail *t, uintptr_t pc) {
    t->pc[t->count++] = pc;
    t->hash = mix(t->hash, pc);
}

/* Follow frame pointers from `bp` as long as they stay between low and high and go up. */
INLINE void follow(struct state *s, struct trail *t, uintptr_t bp, uintptr_t low, uintptr_t high,
                   uint32_t depth) {
    while (t->count < depth && bp >= low && bp < high && high - bp >= 16 && !(bp & 7)) {
        const uintptr_t *frame = (const uintptr_t *)bp;
        uintptr_t pc = frame[1];
        if (UNLIKELY(!in_text(s, pc)) && (pc < 4096 || !in_new_text(s, pc)))
            return;
        add(t, pc);
        low = bp + 16;
        bp = frame[0];
    }
}

/* Go on with the goroutine that called C, if one did. */
INLINE void follow_go(struct state *s, struct trail *t, uint32_t depth) {
#if defined(__x86_64__)
    const struct go *go = &s->go;
    const char *g;
    __asm__("mov %%fs:(%1),%0" : "=r"(g) : "r"(go->tls));
    if (!g)
        return; /* a thread that Go does not know */
    const char *m = *(const char *const *)(g + go->m);
    if (!m)
        return;
    const char *curg = *(const char *const *)(m + go->curg);
    if (!curg || !*(const uintptr_t *)(curg + go->syscallsp))
        return; /* not in a call to C */
    uintptr_t low = *(const uintptr_t *)(curg + go->stack_low);
    uintptr_t high = *(const uintptr_t *)(curg + go->stack_high);
    uintptr_t pc = *(const uintptr_t *)(curg + go->syscallpc);
    if (t->count < depth && in_text(s, pc))
        add(t, pc);
    follow(s, t, *(const uintptr_t *)(curg + go->syscallbp), low, high, depth);
#else
    (void)s, (void)t, (void)depth;
#endif
}

/* Write a stack's frames down and give it a number; 0 if that is not possible. */
static SLOW uint32_t new_stack(struct state *s, struct hs_block *w, const struct trail *t) {
    uint32_t number = __atomic_add_fetch(&s->header->stacks, 1, __ATOMIC_RELAXED);
    if (number >= 1u << 24)
        return 0;
    if (!in_text(s, t->pc[0]))
        in_new_text(s, t->pc[0]);
    for (uint32_t i = 0; i < t->count; i++) {
        uint64_t w0 = word0(t->pc[i], 0), w1 = word1(HS_FRAME, number, i | (i >= t->c) << 8);
        if (!(w ? push(s, w, w0, w1) : push_shared(s, w0, w1)))
            return 0;
    }
    return number;
}

/* The number of a stack. A slot holds 40 bits of the hash and the number. */
INLINE uint32_t stack_number(struct state *s, struct hs_block *w, const struct trail *t) {
    uint64_t hash = t->hash ^ t->count;
    uint64_t key = hash & ~0xffffffull;
    uint64_t *table = s->table;
    uint32_t at = (uint32_t)((hash * 0xd6e8feb86659fd93ull) >> (64 - HS_TABLE_BITS));
    for (uint32_t i = 0; i < PROBES; i++) {
        uint64_t *slot = &table[(at + i) & (TABLE - 1)];
        uint64_t have = __atomic_load_n(slot, __ATOMIC_ACQUIRE);
        if (LIKELY((have ^ key) < 1u << 24 && have))
            return (uint32_t)have & 0xffffff;
        if (have)
            continue;
        /* Call sites always get in; whole stacks leave them some room. */
        if (t->count > 1 && atomic_load(&s->filled) > TABLE_FULL)
            return 0;
        uint32_t number = new_stack(s, w, t);
        if (number == 0)
            return 0;
        if (__atomic_compare_exchange_n(slot, &have, key | number, false, __ATOMIC_ACQ_REL,
                                        __ATOMIC_RELAXED))
            atomic_fetch_add(&s->filled, 1);
        return number; /* another thread may have been first; then there are two numbers */
    }
    return 0;
}

static uint32_t call_site(struct state *s, struct hs_block *w, uintptr_t pc) {
    struct trail t;
    t.count = 0, t.hash = 0, t.c = 1;
    add(&t, pc);
    return stack_number(s, w, &t);
}

static __attribute__((noinline)) uint32_t whole_stack(struct state *s, struct hs_block *w,
                                                      uintptr_t frame) {
    struct trail t;
    uint32_t depth = s->depth;
    t.count = 0, t.hash = 0;
    add(&t, ((const uintptr_t *)frame)[1]);
    if (frame >= T.low && frame < T.high)
        follow(s, &t, *(const uintptr_t *)frame, frame + 16, T.high, depth);
    t.c = t.count;
    if (s->go.on)
        follow_go(s, &t, depth);
    uint32_t number = stack_number(s, w, &t);
    if (UNLIKELY(number == 0)) {
        __atomic_fetch_add(&s->header->cut_stacks, 1, __ATOMIC_RELAXED);
        number = call_site(s, w, t.pc[0]);
    }
    return number;
}

/* ---- beginning ------------------------------------------------------------------------------- */

static const char *entry(const char *const *strings, const char *name) {
    size_t length = strlen(name);
    for (; strings && *strings; strings++)
        if (!strncmp(*strings, name, length) && (*strings)[length] == '=')
            return *strings + length + 1;
    return NULL;
}

/* Take a number, decimal and possibly negative, and the character after it. */
static const char *number(const char *from, long *to) {
    bool negative = *from == '-';
    if (negative)
        from++;
    long value = 0;
    while (*from >= '0' && *from <= '9')
        value = value * 10 + (*from++ - '0');
    *to = negative ? -value : value;
    return *from ? from + 1 : from;
}

/* Take the offsets for this program from a list of programs: device:inode:tls:… in struct go's
   order, for each of them. */
static void take_go(const char *text) {
    struct stat exe;
    if (sys(SYS_newfstatat, AT_FDCWD, (long)"/proc/self/exe", (long)&exe, 0, 0, 0) != 0)
        return;
    while (*text) {
        long value[10];
        for (int i = 0; i < 10; i++)
            text = number(text, &value[i]);
        if ((long)exe.st_dev != value[0] || (long)exe.st_ino != value[1])
            continue;
        asked_go = (struct go){
            .on = true,
            .tls = value[2],
            .stack_low = (size_t)value[3],
            .stack_high = (size_t)value[4],
            .m = (size_t)value[5],
            .syscallsp = (size_t)value[6],
            .syscallpc = (size_t)value[7],
            .syscallbp = (size_t)value[8],
            .curg = (size_t)value[9],
        };
        return;
    }
}

/* Read what the command has put into the environment. False: this program is not to be traced. */
static bool settings(void) {
    enum { MOST = 1 << 21, WORDS = 1 << 14 };
    char *text = NULL;
    const char *const *strings = (const char *const *)environ;
    const char *single[4] = {NULL};
    if (!strings) { /* libc has not been set up yet: somebody allocates very early */
        text = sys_map(MOST, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (!text)
            return false;
        long size = read_some("/proc/self/environ", text, MOST - 1);
        int found = 0;
        for (long i = 0; i < size && found < 3; i += (long)strlen(text + i) + 1)
            if (!strncmp(text + i, "HEAPSCOPE_TRACE_", 16))
                single[found++] = text + i;
        strings = single;
    }
    const char *place = entry(strings, "HEAPSCOPE_TRACE_DIR");
    bool wanted = place && place[0] == '/' && strlen(place) < sizeof folder;
    if (wanted) {
        strcpy(folder, place);
        const char *depth = entry(strings, "HEAPSCOPE_TRACE_DEPTH");
        long frames = 0;
        if (depth)
            number(depth, &frames);
        asked_depth = frames < 0 ? 0 : frames > MOST_FRAMES ? MOST_FRAMES : (uint32_t)frames;
        const char *go = entry(strings, "HEAPSCOPE_TRACE_GO");
        if (go)
            take_go(go);
    }
    if (text)
        sys_unmap(text, MOST);
    return wanted;
}

static char *decimal(char *to, uint32_t value) {
    char digits[10];
    int n = 0;
    do
        digits[n++] = (char)('0' + value % 10);
    while (value /= 10);
    while (n)
        *to++ = digits[--n];
    return to;
}

/* Create this image's file and map its header. Returns 0 or an errno. */
static int create(struct state *s, uint32_t pid) {
    for (uint32_t n = 0; n < 1000000; n++) {
        char *end = decimal(file_name, pid);
        *end++ = '-';
        strcpy(decimal(end, n), ".heap");
        strcpy(s->path, folder);
        strcat(s->path, "/");
        strcat(s->path, file_name);
        int fd = sys_open(s->path, O_RDWR | O_CREAT | O_EXCL, 0600);
        if (fd == -EEXIST)
            continue;
        if (fd < 0)
            return -fd;
        void *at = NULL;
        int error = map_block(fd, 0, &at);
        sys_close(fd);
        s->header = at;
        return error;
    }
    return EEXIST;
}

static bool glibc_allocates(void);

static bool begin(struct state *s) {
    char parent[sizeof file_name];
    bool forked = images++ > 0;
    strcpy(parent, file_name);
    if (!forked && !settings())
        return false;
    if (!folder[0])
        return false;
    s->depth = asked_depth;
    s->go = asked_go;
    s->table = wiped_memory(TABLE * sizeof *s->table);
    if (!s->table)
        return false;
    uint32_t pid = sys_pid();
    if (create(s, pid))
        return false;
    struct hs_header *h = s->header;
    h->version = HS_VERSION;
    h->block = HS_BLOCK;
    h->pid = pid;
    h->parent = (uint32_t)sys(SYS_getppid, 0, 0, 0, 0, 0, 0);
    h->depth = s->depth;
    h->blocks = 1;
    h->flags =
        (forked ? HS_FORKED : 0) | (s->go.on ? HS_GO : 0) | (glibc_allocates() ? 0 : HS_ALLOCATOR);
#if defined(__x86_64__)
    h->flags |= HS_TSC;
#endif
    h->ticks0 = h->ticks1 = ticks();
    h->monotonic0 = h->monotonic1 = nanoseconds(CLOCK_MONOTONIC);
    h->real0 = nanoseconds(CLOCK_REALTIME);
    if (forked)
        strcpy(h->parent_file, parent);
    sys(SYS_readlinkat, AT_FDCWD, (long)"/proc/self/exe", (long)h->exe, sizeof h->exe - 1, 0, 0);
    long size = read_some("/proc/self/cmdline", h->command, sizeof h->command - 1);
    h->command_size = size > 0 ? (uint32_t)size : 0;
    __atomic_store_n(&h->magic, HS_MAGIC, __ATOMIC_RELEASE);
    read_maps(s);
    renew_clock(s, true); /* far enough from the first readings for the clock's rate */
    return atomic_load(&s->phase) == STARTING;
}

/* Begin this image's trace unless that is done. False: there is none, or we are within it. */
static SLOW bool begun(struct state *s) {
    for (;;) {
        int phase = atomic_load(&s->phase);
        if (phase == ON)
            return true;
        if (phase == OFF)
            return false;
        uint32_t self = sys_tid();
        if (phase == STARTING) {
            if (atomic_load(&s->starter) == self)
                return false;
            sys(SYS_sched_yield, 0, 0, 0, 0, 0, 0);
        } else if (atomic_compare_exchange_strong(&s->phase, &phase, STARTING)) {
            atomic_store(&s->starter, self);
            bool on = begin(s);
            if (on)
                s->image = images;
            atomic_store(&s->phase, on ? ON : OFF);
        }
    }
}

/* Find out where this thread's stack lies. */
static SLOW void find_stack(uintptr_t frame) {
    extern void *__libc_stack_end;
    uintptr_t top = ((uintptr_t)__libc_stack_end | 4095) + 1;
    struct rlimit limit = {8 << 20, 0};
    sys(SYS_prlimit64, 0, RLIMIT_STACK, 0, (long)&limit, 0, 0);
    size_t size = limit.rlim_cur > 1u << 30 ? 1u << 30 : limit.rlim_cur;
    T.low = T.high = 0;
    if (frame < top && frame > top - size) { /* what lies above us in it is mapped */
        T.low = top - size, T.high = (uintptr_t)__libc_stack_end;
        return;
    }
    pthread_attr_t attributes;
    void *low = NULL;
    int kept = errno;
    T.mute = true;
    if (pthread_getattr_np(pthread_self(), &attributes) == 0) {
        if (pthread_attr_getstack(&attributes, &low, &size) == 0)
            T.low = (uintptr_t)low, T.high = (uintptr_t)low + size;
        pthread_attr_destroy(&attributes);
    }
    T.mute = false;
    errno = kept;
}

/* Take over the window of a thread that has ended. */
static struct hs_block *inherit(struct state *s) {
    uint32_t count = atomic_load(&s->windows), pid = sys_pid();
    if (count > MOST_WINDOWS)
        count = MOST_WINDOWS;
    uint32_t start = atomic_fetch_add(&s->hint, 8);
    for (uint32_t i = 0; i < 8 && i < count; i++) {
        struct window *window = &s->window[(start + i) % count];
        uint32_t owner = atomic_load(&window->owner);
        if (owner == 0 || !window->at)
            continue;
        if (owner != T.thread && sys(SYS_tgkill, pid, owner, 0, 0, 0, 0) != -ESRCH)
            continue;
        if (owner == T.thread && window->at == T.window)
            continue;
        if (atomic_compare_exchange_strong(&window->owner, &owner, T.thread))
            return window->at;
    }
    return NULL;
}

/* A window for the calling thread; NULL without an error if there are too many. */
static struct hs_block *new_window(struct state *s, int *error) {
    if (atomic_load(&s->windows) >= MOST_WINDOWS) {
        atomic_fetch_add(&s->windows, 1); /* which tells that there is more than one thread */
        return NULL;
    }
    int fd = sys_open(s->path, O_RDWR, 0); /* try first: a number is used up */
    if (fd < 0) {
        *error = -fd;
        return NULL;
    }
    sys_close(fd);
    uint32_t n = atomic_fetch_add(&s->windows, 1);
    if (n >= MOST_WINDOWS)
        return NULL;
    struct hs_block *w = new_block(s, HS_WINDOW, n, T.thread, error);
    if (!w)
        return NULL;
    s->window[n].at = w;
    atomic_store(&s->window[n].owner, T.thread);
    return w;
}

/* Make the calling thread ready to record. False: it cannot. */
static SLOW bool enter(struct state *s, uintptr_t frame) {
    if (T.busy)
        return false;
    if (!begun(s))
        return false;
    T.busy = frame;
    BARRIER();
    T.thread = sys_tid();
    T.window = NULL;
    if (s->depth > 1)
        find_stack(frame);
    bool ready = true;
    struct hs_block *w = inherit(s);
    if (w) {
        ready = push(s, w, word0(T.thread, 0), word1(HS_THREAD, 0, 0));
    } else {
        int error = 0;
        w = new_window(s, &error);
        if (error) {
            ready = false;
            if (!passes(error))
                stop(s, error);
        }
    }
    if (ready) {
        T.window = w;
        T.image = s->image ? s->image : UINT32_MAX;
    }
    BARRIER();
    T.busy = 0;
    return ready && s->image;
}

/* ---- recording ------------------------------------------------------------------------------- */

struct event {
    enum hs_op op;
    uintptr_t value;
    size_t size, alignment;
    uintptr_t frame; /* of the allocation function; its return address is the call site */
};

/* Record without a window: from a signal handler that came while the thread was recording, or when
   there are more threads than windows. */
static SLOW void record_shared(struct state *s, const struct event *e) {
    if (!s->image)
        return;
    uint64_t now = event_time(s);
    uint32_t stack = call_site(s, NULL, ((const uintptr_t *)e->frame)[1]);
    uint64_t *to = share(s, 5);
    if (!to) {
        count_lost(s, 1);
        return;
    }
    bool wide = e->size >= HS_SIZE_MAX;
    *to++ = word0(T.thread, 0), *to++ = word1(HS_THREAD, 0, 0);
    *to++ = word0(now, 0), *to++ = word1(HS_TIME_ABS, 0, 0);
    if (e->op == HS_ALIGNED)
        *to++ = word0(e->alignment, 0), *to++ = word1(HS_ALIGN, 0, 0);
    if (wide)
        *to++ = word0(e->size, 0), *to++ = word1(HS_WIDE, 0, e->size >> 48);
    *to++ = word0(e->value, 0);
    __atomic_store_n(to, word1(e->op, stack, wide ? HS_SIZE_MAX : e->size), __ATOMIC_RELEASE);
}

/* Recording was interrupted and never went on: the handler left by longjmp. Begin with a new
   window, for nobody knows in which state the old one is. */
static SLOW bool abandoned(struct state *s, const struct event *e) {
    if (T.low == T.high)
        find_stack(e->frame);
    bool same_stack = T.busy >= T.low && T.busy < T.high && e->frame >= T.low && e->frame < T.high;
    if (!same_stack || e->frame <= T.busy)
        return false;
    uint32_t count = atomic_load(&s->windows);
    for (uint32_t i = 0; i < count && i < MOST_WINDOWS; i++)
        if (s->window[i].at == T.window)
            atomic_store(&s->window[i].owner, 0); /* for nobody */
    T.busy = 0;
    T.image = UINT32_MAX;
    return true;
}

static SLOW void record_slowly(struct state *s, const struct event *e);

INLINE void record(const struct event *e) {
    struct state *s = S;
    if (UNLIKELY(!s || T.image != s->image || T.busy || !T.window)) {
        record_slowly(s, e);
        return;
    }
    T.busy = e->frame;
    BARRIER();
    struct hs_block *w = T.window;
    uint64_t now = event_time(s), dt = now - w->last;
    uint32_t stack = s->depth > 1 && e->op != HS_FREE && e->op != HS_REALLOC_BEGIN
                         ? whole_stack(s, w, e->frame)
                         : call_site(s, w, ((const uintptr_t *)e->frame)[1]);
    bool fits = true;
    if (UNLIKELY(dt > 0xffff)) {
        if ((int64_t)dt < 0) { /* the clocks of two cores differ */
            now = w->last;
        } else {
            fits &= push(s, w, word0(dt, 0), word1(HS_TIME, 0, 0));
            renew_clock(s, false);
        }
        w->last = now; /* `last` is the time that the records so far add up to */
        dt = 0;
    }
    uint64_t size = e->size;
    if (UNLIKELY((e->op == HS_ALIGNED || size >= HS_SIZE_MAX) && w->used > ROOM - 3 * 16))
        fits &= refill(s, w); /* what belongs together stays in one block */
    if (e->op == HS_ALIGNED)
        fits &= push(s, w, word0(e->alignment, 0), word1(HS_ALIGN, 0, 0));
    if (UNLIKELY(size >= HS_SIZE_MAX)) {
        fits &= push(s, w, word0(size, 0), word1(HS_WIDE, 0, size >> 48));
        size = HS_SIZE_MAX;
    }
    fits &= push(s, w, word0(e->value, dt), word1(e->op, stack, size));
    w->last = now;
    if (UNLIKELY(!fits)) {
        count_lost(s, 1);
        w->lost++;
    }
    BARRIER();
    T.busy = 0;
}

static SLOW void record_slowly(struct state *s, const struct event *e) {
    if (!s || T.mute)
        return;
    if (T.busy && abandoned(s, e))
        count_lost(s, 1);
    if (T.busy) {
        record_shared(s, e);
        return;
    }
    if (T.image != s->image && !enter(s, e->frame)) {
        if (s->image)
            count_lost(s, 1);
        return;
    }
    if (!T.window)
        record_shared(s, e);
    else
        record(e);
}

/* ---- the allocator --------------------------------------------------------------------------- */

/* The allocator that the program would use without us: glibc's, or one that it brings along. */
static struct {
    void *(*malloc)(size_t);
    void *(*calloc)(size_t, size_t);
    void *(*realloc)(void *, size_t);
    void (*free)(void *);
    void *(*memalign)(size_t, size_t);
    void *(*aligned_alloc)(size_t, size_t);
    int (*posix_memalign)(void **, size_t, size_t);
    void *(*valloc)(size_t);
    void *(*pvalloc)(size_t);
} real;

static bool looking;
static size_t early_used;
static _Alignas(16) char early[EARLY];

extern void *__libc_malloc(size_t);

static void *find(const char *name) {
    return dlsym(RTLD_NEXT, name);
}

static SLOW void look(void) {
    looking = true;
    void *state = wiped_memory(sizeof *S);
    *(void **)&real.calloc = find("calloc");
    *(void **)&real.realloc = find("realloc");
    *(void **)&real.free = find("free");
    *(void **)&real.memalign = find("memalign");
    *(void **)&real.aligned_alloc = find("aligned_alloc");
    *(void **)&real.posix_memalign = find("posix_memalign");
    *(void **)&real.valloc = find("valloc");
    *(void **)&real.pvalloc = find("pvalloc");
    *(void **)&real.malloc = find("malloc");
    looking = false;
    S = state;
}

static bool glibc_allocates(void) {
    return real.malloc == __libc_malloc;
}

/* Serve the loader while it answers `look`; such a block is never given back. */
static SLOW void *early_block(size_t size) {
    size = (size + 31) & ~(size_t)15; /* 16 more: its size */
    if (size > EARLY - early_used)
        return NULL;
    size_t *block = (size_t *)(void *)(early + early_used);
    early_used += size;
    block[0] = size - 16;
    return block + 2;
}

INLINE bool is_early(const void *p) {
    return (uintptr_t)p - (uintptr_t)early < EARLY;
}

/* False: the allocator is being looked for, use early_block. */
INLINE bool ready(void) {
    if (LIKELY(real.malloc != NULL))
        return true;
    if (looking)
        return false;
    look();
    return true;
}

INLINE void note(enum hs_op op, const void *p, size_t size, uintptr_t frame) {
    struct event e = {.op = op, .value = (uintptr_t)p, .size = size, .frame = frame};
    record(&e);
}

INLINE void note_aligned(const void *p, size_t alignment, size_t size, uintptr_t frame) {
    struct event e = {HS_ALIGNED, (uintptr_t)p, size, alignment, frame};
    record(&e);
}

INLINE void *traced_malloc(size_t size, uintptr_t frame) {
    if (UNLIKELY(!ready()))
        return early_block(size);
    void *p = real.malloc(size);
    note(HS_MALLOC, p, size, frame);
    return p;
}

INLINE void *traced_realloc(void *old, size_t size, uintptr_t frame) {
    if (UNLIKELY(!ready() || is_early(old))) {
        void *p = ready() ? real.malloc(size) : early_block(size);
        size_t had = old ? ((size_t *)old)[-2] : 0;
        if (p && old)
            memcpy(p, old, had < size ? had : size);
        if (p && !is_early(p))
            note(HS_REALLOC_END, p, size, frame);
        return p;
    }
    if (old)
        note(HS_REALLOC_BEGIN, old, 0, frame);
    void *p = real.realloc(old, size);
    note(HS_REALLOC_END, p, size, frame);
    return p;
}

/* What glibc's headers declare with attributes (nonnull, malloc) is defined here as plain C. */
#pragma GCC diagnostic ignored "-Wnonnull-compare"

EXPORT void *malloc(size_t size) {
    return traced_malloc(size, HERE());
}

EXPORT void free(void *p) {
    if (!p || UNLIKELY(!ready() || is_early(p)))
        return;
    note(HS_FREE, p, 0, HERE());
    real.free(p);
}

EXPORT void *calloc(size_t count, size_t size) {
    size_t product;
    bool overflow = __builtin_mul_overflow(count, size, &product);
    if (UNLIKELY(!ready()))
        return overflow ? NULL : early_block(product); /* never used before */
    void *p = real.calloc(count, size);
    note(HS_CALLOC, p, overflow ? SIZE_MAX : product, HERE());
    return p;
}

EXPORT void *realloc(void *old, size_t size) {
    return traced_realloc(old, size, HERE());
}

EXPORT void *reallocarray(void *old, size_t count, size_t size) {
    size_t product;
    if (__builtin_mul_overflow(count, size, &product)) {
        if (old)
            note(HS_REALLOC_BEGIN, old, 0, HERE());
        note(HS_REALLOC_END, NULL, SIZE_MAX, HERE());
        errno = ENOMEM;
        return NULL;
    }
    return traced_realloc(old, product, HERE());
}

EXPORT void *memalign(size_t alignment, size_t size) {
    if (UNLIKELY(!ready()))
        return NULL;
    void *p = real.memalign(alignment, size);
    note_aligned(p, alignment, size, HERE());
    return p;
}

EXPORT void *aligned_alloc(size_t alignment, size_t size) {
    if (UNLIKELY(!ready()))
        return NULL;
    void *p = real.aligned_alloc(alignment, size);
    note_aligned(p, alignment, size, HERE());
    return p;
}

EXPORT int posix_memalign(void **to, size_t alignment, size_t size) {
    if (UNLIKELY(!ready()))
        return ENOMEM;
    int error = real.posix_memalign(to, alignment, size);
    note_aligned(error ? NULL : *to, alignment, size, HERE());
    return error;
}

EXPORT void *valloc(size_t size) {
    if (UNLIKELY(!ready()))
        return NULL;
    void *p = real.valloc(size);
    note_aligned(p, 4096, size, HERE());
    return p;
}

EXPORT void *pvalloc(size_t size) {
    if (UNLIKELY(!ready()))
        return NULL;
    void *p = real.pvalloc(size);
    note_aligned(p, 4096, size, HERE());
    return p;
}

/* libc's own strdup keeps no frame pointer, so the line that called it would be lost. */
INLINE char *copy(const char *from, size_t length, uintptr_t frame) {
    char *p = traced_malloc(length + 1, frame);
    if (!p)
        return NULL;
    memcpy(p, from, length);
    p[length] = 0;
    return p;
}

#undef strdup
#undef strndup

EXPORT char *strdup(const char *from) {
    return copy(from, strlen(from), HERE());
}

EXPORT char *strndup(const char *from, size_t most) {
    return copy(from, strnlen(from, most), HERE());
}

EXPORT char *__strdup(const char *from) {
    return copy(from, strlen(from), HERE());
}

/* ---- the program's beginning and end --------------------------------------------------------- */

/* A program that never allocates leaves a trace too. */
static __attribute__((constructor)) void at_start(void) {
    if (ready() && S)
        begun(S);
}

static __attribute__((destructor)) void at_end(void) {
    struct state *s = S;
    if (!s || !s->image || T.busy)
        return;
    T.busy = HERE();
    read_maps(s);
    renew_clock(s, true);
    __atomic_fetch_or(&s->header->flags, HS_FINISHED, __ATOMIC_RELAXED);
    T.busy = 0;
}
