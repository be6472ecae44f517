/* A program on strings: does the allocator calls it is told on stdin, one a line, and nothing else
   on its heap (no stdio).  A line is: thread number, letter, arguments; the answer is a hex number.
 */
#define _GNU_SOURCE
#include <link.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char line[1 << 16];
static unsigned long answer;
static int turn = -1; /* whose turn it is: -1 main's, else the thread's number */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t change = PTHREAD_COND_INITIALIZER;
static pthread_t threads[8];

static int find_tls(struct dl_phdr_info *info, size_t size, void *out) {
    (void)size;
    unsigned long *result = out;
    if (!strstr(info->dlpi_name, "libc.so"))
        return 0;
    for (int i = 0; i < info->dlpi_phnum; i++)
        if (info->dlpi_phdr[i].p_type == PT_TLS) {
            result[0] = (unsigned long)info->dlpi_tls_data;
            result[1] = info->dlpi_phdr[i].p_memsz;
        }
    return 1;
}

static void act(char *text) {
    char *end = text + 1;
    unsigned long a = strtoul(end, &end, 16), b = strtoul(end, &end, 16),
                  c = strtoul(end, &end, 16);
    unsigned long tls[2] = {0, 0};
    switch (*text) {
    case 'm':
        answer = (unsigned long)malloc(a);
        break;
    case 'c':
        answer = (unsigned long)calloc(a, b);
        break;
    case 'r':
        answer = (unsigned long)realloc((void *)a, b);
        break;
    case 'f':
        free((void *)a);
        answer = 0;
        break;
    case 'a':
        answer = (unsigned long)aligned_alloc(a, b);
        break;
    case 'w':
        memcpy((void *)a, &b, c);
        answer = 0;
        break;
    case 't':
        dl_iterate_phdr(find_tls, tls);
        answer = tls[0];
        break;
    case 'T':
        dl_iterate_phdr(find_tls, tls);
        answer = tls[1];
        break;
    }
}

static void *worker(void *number) {
    int me = (int)(intptr_t)number;
    pthread_mutex_lock(&lock);
    for (;;) {
        while (turn != me)
            pthread_cond_wait(&change, &lock);
        act(line + 2);
        turn = -1;
        pthread_cond_broadcast(&change);
    }
    return 0;
}

int main(void) {
    for (;;) {
        size_t have = 0;
        do {
            if (read(0, line + have, 1) != 1)
                return 0;
        } while (line[have++] != '\n' && have < sizeof line - 1);
        line[have] = 0;
        int who = line[0] - '0';
        if (who == 0)
            act(line + 2);
        else {
            pthread_mutex_lock(&lock);
            if (!threads[who])
                pthread_create(&threads[who], 0, worker, (void *)(intptr_t)who);
            turn = who;
            pthread_cond_broadcast(&change);
            while (turn != -1)
                pthread_cond_wait(&change, &lock);
            pthread_mutex_unlock(&lock);
        }
        char out[17];
        for (int i = 15; i >= 0; i--, answer >>= 4)
            out[i] = "0123456789abcdef"[answer & 15];
        out[16] = '\n';
        if (write(1, out, 17) != 17)
            return 1;
    }
}
