/* An allocator that may be interrupted anywhere: each block is new, small ones are not aligned
 * to 16. */
#include <errno.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

static _Alignas(4096) char memory[512 << 20];
static _Atomic size_t used = 8;

void *malloc(size_t size) {
    size_t need = ((size + 15) & ~(size_t)15) + 16;
    size_t at = atomic_fetch_add(&used, need);
    if (size <= 8)
        at += 8;
    if (size > sizeof memory || at + need + 8 > sizeof memory) {
        errno = ENOMEM;
        return NULL;
    }
    memcpy(memory + at, &size, sizeof size);
    return memory + at + 8;
}
void free(void *p) {
    if (p && ((char *)p < memory || (char *)p >= memory + sizeof memory))
        __builtin_trap();
}
void *calloc(size_t n, size_t size) {
    return malloc(n * size);
}
void *realloc(void *old, size_t size) {
    void *p = malloc(size);
    size_t had = 0;
    if (old)
        memcpy(&had, (char *)old - 8, 8);
    if (p && old)
        memcpy(p, old, had < size ? had : size);
    return p;
}
