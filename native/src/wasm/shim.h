/* What glibc's malloc.c finds in the rest of glibc, for one thread in WebAssembly.
 *
 * malloc.c itself, arena.c and the few headers of malloc are Debian's glibc-source, unmodified; the
 * builder puts an empty file in the place of every other header they name, and this one before all.
 * GLIBC_MINOR is 36 or 41. What a newer glibc wants in addition is marked with the version.
 */
#ifndef SHIM_H
#define SHIM_H

#include "constants.h"
#include "system.h"

#include <limits.h>
#include <stdarg.h>
#include <stdbool.h>

typedef long ssize_t;

/* ---- how Debian builds it */

#define IS_IN(library) IS_IN_##library
#define IS_IN_libc 1
#define IS_IN_rtld 0
#define IS_IN_libc_malloc_debug 0
#define USE_TCACHE 1
#define HAVE_TUNABLES 1
#define HAVE_MREMAP 1 /* sysdeps/unix/sysv/linux/malloc-sysdep.h */
#define __WORDSIZE 64
#undef NDEBUG /* as in Debian: asserts are part of what a reader can run into */

/* ---- attributes and symbols: the module exports what playground.c says, and nothing else */

#define __thread
#define __THROW
#define __nonnull(arguments)
#define __wur
#define __always_inline inline __attribute__((always_inline))
#define __attribute_maybe_unused__ __attribute__((unused))
#define __attribute_noinline__ __attribute__((noinline))
#define attribute_hidden
#define attribute_tls_model_ie
#define weak_function
#define weak_variable
#define strong_alias(name, alias)
#define weak_alias(name, alias)
#define libc_hidden_def(name)
#define libc_hidden_proto(name)
#define compat_symbol(...)
#define versioned_symbol(...)
#define text_set_element(set, symbol)
#define LIBC_PROBE(...) ((void)0)
#define LIBC_PTHREAD_REGISTER(name)
#define SHLIB_COMPAT(...) 0
#define DIAG_PUSH_NEEDS_COMMENT
#define DIAG_POP_NEEDS_COMMENT
#define DIAG_IGNORE_NEEDS_COMMENT(...)
#define DIAG_IGNORE_Os_NEEDS_COMMENT(...)

/* ---- arithmetic */

#define __glibc_likely(condition) __builtin_expect(!!(condition), 1)
#define __glibc_unlikely(condition) __builtin_expect(!!(condition), 0)
#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))
#define powerof2(x) ((((x) - 1) & (x)) == 0)
#define ALIGN_DOWN(base, size) ((base) & -((__typeof__(base))(size)))
#define ALIGN_UP(base, size) ALIGN_DOWN((base) + (size) - 1, (size))
#define PTR_ALIGN_DOWN(base, size) ((__typeof__(base))ALIGN_DOWN((uintptr_t)(base), (size)))
#define PTR_ALIGN_UP(base, size) ((__typeof__(base))ALIGN_UP((uintptr_t)(base), (size)))
#define PTR_IS_ALIGNED(base, size) ((uintptr_t)(base) % (size) == 0)
#define PTR_DIFF(a, b) ((ptrdiff_t)((uintptr_t)(a) - (uintptr_t)(b)))
#define cast_to_integer(pointer) ((uintptr_t)(pointer))
#define INT_MULTIPLY_OVF(a, b, result) __builtin_mul_overflow(a, b, result)

/* ---- one thread: an atomic access is an access, a lock is nothing */

#define SINGLE_THREAD_P true
#define atomic_full_barrier() ((void)0)
#define atomic_read_barrier() ((void)0)
#define atomic_write_barrier() ((void)0)
#define atomic_spin_nop() ((void)0)
#define atomic_forced_read(value) (value)
#define atomic_load_acquire(at) (*(at))
#define atomic_load_relaxed(at) (*(at))
#define atomic_store_relaxed(at, value) (*(at) = (value))
#define atomic_store_release(at, value) (*(at) = (value))
#define atomic_max(at, value) ((void)(*(at) < (value) ? *(at) = (value) : 0))
#define atomic_fetch_add_relaxed(at, value)                                                        \
    ({                                                                                             \
        __typeof__(*(at)) old_ = *(at);                                                            \
        *(at) += (value);                                                                          \
        old_;                                                                                      \
    })
#define atomic_exchange_acquire(at, value)                                                         \
    ({                                                                                             \
        __typeof__(*(at)) old_ = *(at);                                                            \
        *(at) = (value);                                                                           \
        old_;                                                                                      \
    })
#define atomic_compare_and_exchange_val_acq(at, value, expected)                                   \
    ({                                                                                             \
        __typeof__(*(at)) old_ = *(at);                                                            \
        if (old_ == (expected))                                                                    \
            *(at) = (value);                                                                       \
        old_;                                                                                      \
    })
#define atomic_compare_and_exchange_bool_acq(at, value, expected)                                  \
    (atomic_compare_and_exchange_val_acq(at, value, expected) != (expected))
#define atomic_compare_and_exchange_val_rel atomic_compare_and_exchange_val_acq
#define atomic_exchange_acq atomic_exchange_acquire                                /* 2.36 */
#define atomic_exchange_and_add atomic_fetch_add_relaxed                           /* 2.36 */
#define atomic_add(at, value) ((void)(*(at) += (value)))                           /* 2.36 */
#define atomic_increment(at) ((void)++*(at))                                       /* 2.36 */
#define atomic_decrement(at) ((void)--*(at))                                       /* 2.36 */
#define catomic_max atomic_max                                                     /* 2.36 */
#define catomic_add atomic_add                                                     /* 2.36 */
#define catomic_increment atomic_increment                                         /* 2.36 */
#define catomic_decrement atomic_decrement                                         /* 2.36 */
#define catomic_exchange_and_add atomic_exchange_and_add                           /* 2.36 */
#define catomic_compare_and_exchange_val_acq atomic_compare_and_exchange_val_acq   /* 2.36 */
#define catomic_compare_and_exchange_val_rel atomic_compare_and_exchange_val_acq   /* 2.36 */
#define catomic_compare_and_exchange_bool_acq atomic_compare_and_exchange_bool_acq /* 2.36 */

typedef int __libc_lock_t;
#define _LIBC_LOCK_INITIALIZER 0
#define LLL_LOCK_INITIALIZER 0
#define __libc_lock_define(storage, name) storage int name
#define __libc_lock_define_initialized(storage, name) storage int name
#define __libc_lock_init(name) ((void)(name))
#define __libc_lock_lock(name) ((void)(name))
#define __libc_lock_trylock(name) 0
#define __libc_lock_unlock(name) ((void)(name))

/* ---- memory and its tags, which x86-64 has not */

#define memcpy __builtin_memcpy
#define memset __builtin_memset
#define strlen __builtin_strlen
#define __MTAG_GRANULE_SIZE 1
#define __libc_mtag_tag_region(at, size) (at)
#define __libc_mtag_tag_zero_region(at, size) __builtin_memset(at, 0, size)
#define __libc_mtag_new_tag(at) (at)
#define __libc_mtag_address_get_tag(at) (at)
#define __set_vma_name(at, size, name) ((void)0) /* 2.41 */

/* ---- the process: its errors, pages and settings */

#define __set_errno(value) ((void)(errno = (value)))
#define GLRO(variable) shim_##variable
#define shim_dl_pagesize ((size_t)PAGE)
#define __libc_enable_secure 0
#define __libc_initial true
#define __libc_alloca_cutoff(size) 0
#define __get_nprocs() 1
#define __get_nprocs_sched() 1
#define check_may_shrink_heap() false

/* No GLIBC_TUNABLES: every setting keeps the value malloc.c gives it. */
typedef struct {
    uint64_t numval;
} tunable_val_t;
#define TUNABLE_CALLBACK(name) shim_tunable_##name
#define TUNABLE_GET(name, type, callback) ((void)0)
#define TUNABLE_GET_FULL(top, space, name, type, callback) 0
#define TUNABLE_IS_INITIALIZED(name) false /* 2.41 */

/* The tcache key: random in a process, here what the page asked for. */
extern uint64_t shim_key;
#define shim_random(at, size) (*(at) = shim_key, (ssize_t)(size))
#define __getrandom(at, size, flags) shim_random(at, size)
#define __getrandom_nocancel(at, size, flags) shim_random(at, size)
#define __getrandom_nocancel_nostatus_direct(at, size, flags) shim_random(at, size) /* 2.41 */
#define random_bits() ((uint32_t)shim_key)

/* ---- the end: the text is kept for the page, then the module traps */

_Noreturn void shim_message(const char *format, ...);
#if GLIBC_MINOR < 38
enum shim_action { do_message, do_abort };
#define __libc_message(action, ...) shim_message(__VA_ARGS__)
#define assert(condition)                                                                          \
    ((condition) ? (void)0 : __assert_fail(#condition, "malloc.c", __LINE__, __func__))
#else
#define __libc_message(...) shim_message(__VA_ARGS__)
/* The text names the line where the assertion begins. In the function-like macro, __LINE__ would be
 * where it ends. */
extern unsigned shim_line;
_Noreturn void shim_assertion(const char *assertion, const char *function);
#define assert shim_line = __LINE__, shim_assert
#define shim_assert(condition) ((condition) ? (void)0 : shim_assertion(#condition, __func__))
#endif

/* ---- what malloc_stats and mallinfo would want; nothing calls them here */

typedef struct {
    int _flags2;
} FILE;
extern FILE *stderr;
#define _IO_FLAGS2_NOTCANCEL 2
#define _IO_flockfile(file) ((void)0)
#define _IO_funlockfile(file) ((void)0)
#define fprintf(...) ((void)0)
#define fputs(text, file) ((void)0)

struct mallinfo {
    int arena, ordblks, smblks, hblks, hblkhd, usmblks, fsmblks, uordblks, fordblks, keepcost;
};
struct mallinfo2 {
    size_t arena, ordblks, smblks, hblks, hblkhd, usmblks, fsmblks, uordblks, fordblks, keepcost;
};
typedef struct malloc_state *mstate;

#endif
