/* glibc's own malloc for a page: the module's exports.
 *
 * Addresses and sizes are i64 (BigInt in JavaScript), an `int` is i32. A call that glibc would end
 * with abort() traps, and fatal() has the text; so does one that reads or writes where no memory
 * is, and fatal() has none. One that goes round a broken list traps too, and endless() is 1. After
 * a trap the heap may still be read, and nothing else may be called: the page takes a new instance.
 * All MIT but for what comes in with malloc.c (LGPL-2.1-or-later).
 */
#include "shim.h"

#include <malloc.c> /* glibc's */

#define EXPORT(name) __attribute__((export_name(#name))) extern

#pragma clang attribute push(__attribute__((no_sanitize("coverage"))), apply_to = function)

/* ---- calls that never end */

/* A step is one way through a branch of malloc.c: -fsanitize-coverage=trace-pc has the compiler
 * call the function below there. A page's heap of 64 MiB has room for two million chunks, and the
 * call that looks at all of them, malloc_consolidate, takes three or four steps for each. So no
 * call on a sound heap comes near this number, and a browser is through with it in a fraction of a
 * second. A count is the same on every machine; a clock is not. */
enum { MOST_STEPS = 30000000 };
static uint32_t steps; /* of this call */

void __sanitizer_cov_trace_pc(void) {
    if (++steps > MOST_STEPS)
        __builtin_trap();
}

EXPORT(endless) int read_endless(void) {
    return steps > MOST_STEPS;
}

EXPORT(steps) uint32_t read_steps(void) {
    return steps;
}

/* ---- what shim.h declares */

uint64_t shim_key = 0x6b65792121796570; /* any number that is no address */
static char text[512];
static bool ended;

_Noreturn static void end(void) {
    ended = true;
    __builtin_trap();
}

static char *append(char *at, const char *part) {
    while (*part != '\0' && at < text + sizeof text - 1)
        *at++ = *part++;
    return at;
}

/* Keep the text as glibc would print it, less the end of the line. Formats have %s only. */
_Noreturn void shim_message(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    char *at = text;
    for (; *format != '\0'; format++) {
        if (format[0] == '%' && format[1] == 's') {
            at = append(at, va_arg(arguments, const char *));
            format++;
        } else if (*format != '\n') {
            at = append(at, (const char[]){*format, '\0'});
        }
    }
    va_end(arguments);
    end();
}

#if GLIBC_MINOR >= 38
unsigned shim_line;

/* glibc 2.41, assert/__libc_assert_fail.c */
_Noreturn void shim_assertion(const char *assertion, const char *function) {
    char digits[12], *first = digits + sizeof digits - 1;
    *first = '\0';
    do {
        *--first = '0' + shim_line % 10;
        shim_line /= 10;
    } while (shim_line != 0);
    shim_message("Fatal glibc error: malloc.c:%s (%s): assertion failed: %s\n", first, function,
                 assertion);
}
#endif

#ifdef __wasm64__
/* The compiler's run-time library has the 128-bit product for checked_request2size and calloc; the
 * module has no such library. */
typedef unsigned __int128 uint128_t;
uint128_t __multi3(uint128_t a, uint128_t b) {
    uint64_t a_low = (uint32_t)a, a_high = (uint64_t)a >> 32;
    uint64_t b_low = (uint32_t)b, b_high = (uint64_t)b >> 32;
    uint64_t low = a_low * b_low, one = a_low * b_high, two = a_high * b_low;
    uint64_t middle = (low >> 32) + (uint32_t)one + (uint32_t)two;
    uint64_t high = a_high * b_high + (one >> 32) + (two >> 32) + (middle >> 32) +
                    (uint64_t)a * (uint64_t)(b >> 64) + (uint64_t)(a >> 64) * (uint64_t)b;
    return (uint128_t)high << 64 | middle << 32 | (uint32_t)low;
}
#endif

/* ---- the calls */

/* Of a block, free and realloc read the header first. Where there is no memory for one, Linux ends
 * the process; the module's own memory has no holes, so they are looked for here. */
static void read_header(const void *block) {
    uintptr_t header = (uintptr_t)block - CHUNK_HDR_SZ;
    bool in_arena = header - (uintptr_t)&main_arena < sizeof main_arena;
    if (block != NULL && !in_arena && !system_has(header, CHUNK_HDR_SZ))
        __builtin_trap();
}

EXPORT(malloc) void *call_malloc(size_t size) {
    steps = 0;
    return __libc_malloc(size);
}

EXPORT(calloc) void *call_calloc(size_t count, size_t size) {
    steps = 0;
    return __libc_calloc(count, size);
}

EXPORT(realloc) void *call_realloc(void *block, size_t size) {
    steps = 0;
    read_header(block);
    return __libc_realloc(block, size);
}

EXPORT(free) void call_free(void *block) {
    steps = 0;
    read_header(block);
    __libc_free(block);
}

EXPORT(memalign) void *call_memalign(size_t alignment, size_t size) {
    steps = 0;
    return __libc_memalign(alignment, size);
}

EXPORT(aligned_alloc) void *call_aligned_alloc(size_t alignment, size_t size) {
    steps = 0;
#if GLIBC_MINOR < 38
    return __libc_memalign(alignment, size);
#else
    return aligned_alloc(alignment, size);
#endif
}

EXPORT(malloc_usable_size) size_t call_malloc_usable_size(void *block) {
    steps = 0;
    read_header(block);
    return __malloc_usable_size(block);
}

EXPORT(malloc_trim) int call_malloc_trim(size_t pad) {
    steps = 0;
    return __malloc_trim(pad);
}

EXPORT(mallopt) int call_mallopt(int setting, int value) {
    steps = 0;
    return __libc_mallopt(setting, value);
}

EXPORT(errno_) int read_errno(void) {
    return errno;
}

/* The address of what glibc would have printed (a C string), or 0. */
EXPORT(fatal) const char *read_fatal(void) {
    return ended ? text : NULL;
}

/* ---- what a reader of the heap starts from */

EXPORT(main_arena) struct malloc_state *read_main_arena(void) {
    return &main_arena;
}

EXPORT(main_arena_size) size_t read_main_arena_size(void) {
    return sizeof main_arena;
}

EXPORT(tcache) tcache_perthread_struct *read_tcache(void) {
    return tcache;
}

EXPORT(tcache_key) uint64_t read_tcache_key(void) {
    return tcache_key;
}

EXPORT(mp_tcache_count) size_t read_tcache_count(void) {
    return mp_.tcache_count;
}

EXPORT(mp_mmap_threshold) size_t read_mmap_threshold(void) {
    return mp_.mmap_threshold;
}

EXPORT(heap_start) uintptr_t read_heap_start(void) {
    return system_heap_start();
}

EXPORT(heap_end) uintptr_t read_heap_end(void) {
    return system_heap_end();
}

EXPORT(mappings) const struct mapping *read_mappings(void) {
    return system_mappings();
}

EXPORT(mappings_count) size_t read_mappings_count(void) {
    return system_mappings_count();
}

/* ---- what the page sets before the first call */

EXPORT(set_room) void set_room(size_t bytes) {
    system_set_room(bytes);
}

EXPORT(set_tcache_key) void set_tcache_key(uint64_t key) {
    shim_key = key;
}

#pragma clang attribute pop
