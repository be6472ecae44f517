/* malloc and free in a loop, below a number of frames, in a number of threads. Prints nanoseconds
   of wall-clock time and of CPU time for each of the two calls. */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static long pairs;
static int frames;

static double seconds(clockid_t clock) {
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static __attribute__((noinline)) void below(int depth) {
    if (depth > 0) {
        below(depth - 1);
        __asm__ volatile("" ::: "memory"); /* no tail call */
        return;
    }
    for (long i = 0; i < pairs; i++) {
        void *p = malloc(16 + (size_t)i % 64 * 8);
        __asm__ volatile("" ::"r"(p) : "memory");
        free(p);
    }
}

static void *thread(void *p) {
    below(frames);
    return p;
}

int main(int count, char **word) {
    if (count != 4)
        return 2;
    pairs = atol(word[1]);
    frames = atoi(word[2]);
    int threads = atoi(word[3]);
    pthread_t made[64];
    if (threads > 64)
        return 2;
    double wall = seconds(CLOCK_MONOTONIC), cpu = seconds(CLOCK_PROCESS_CPUTIME_ID);
    if (threads == 1) {
        below(frames);
    } else {
        for (int i = 0; i < threads; i++)
            if (pthread_create(&made[i], NULL, thread, NULL))
                return 1;
        for (int i = 0; i < threads; i++)
            pthread_join(made[i], NULL);
    }
    double calls = 2.0 * (double)pairs * threads;
    wall = seconds(CLOCK_MONOTONIC) - wall, cpu = seconds(CLOCK_PROCESS_CPUTIME_ID) - cpu;
    printf("%.3f %.3f\n", wall * 1e9 / calls, cpu * 1e9 / calls);
    return 0;
}
