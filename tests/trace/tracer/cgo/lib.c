#include "_cgo_export.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

__attribute__((noinline)) static void *deeper(size_t size) {
    char *p = malloc(size);
    if (p)
        memset(p, 1, size);
    return p;
}

void *in_c(size_t size) {
    char *p = deeper(size);
    if (p)
        p[0] = 2;
    return p;
}

/* Go calls C, C calls Go, Go calls C */
void twice(size_t size) {
    goCallback(size);
    free(deeper(size + 2));
}

static void *thread(void *size) {
    free(deeper(*(size_t *)size + 2));
    goCallback(*(size_t *)size);
    free(deeper(*(size_t *)size + 3));
    return NULL;
}

void from_a_c_thread(size_t size) {
    pthread_t t;
    pthread_create(&t, NULL, thread, &size);
    pthread_join(t, NULL);
}
