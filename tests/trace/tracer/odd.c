/* Things that programs do at odd moments. The first argument says which. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

#define KEEP(p) __asm__ volatile("" ::"r"(p) : "memory")
static long count;
static char **words;

static void some(long n) {
    for (long i = 0; i < n; i++) {
        void *p = malloc(100);
        KEEP(p);
        free(p);
    }
}

static int is(const char *what) {
    return words && !strcmp(words[1], what);
}

/* before main and after it */
__attribute__((constructor)) static void before(int c, char **v) {
    words = c > 2 ? v : NULL;
    if (words)
        count = atol(v[2]);
    if (is("ends"))
        some(count);
}
static void late(void) {
    some(count);
}
__attribute__((destructor)) static void after(void) {
    if (is("ends"))
        some(count);
}

/* at the end of a thread */
static pthread_key_t key;
static void goodbye(void *p) {
    free(p);
    some(10);
}
static void *brief(void *p) {
    pthread_setspecific(key, malloc(10));
    some(5);
    return p;
}
static void *many(void *p) {
    some(count);
    return p;
}

static void threads(int n, void *(*work)(void *), int at_once) {
    pthread_t t[64];
    for (int done = 0; done < n; done += at_once) {
        for (int i = 0; i < at_once; i++)
            pthread_create(&t[i], NULL, work, NULL);
        for (int i = 0; i < at_once; i++)
            pthread_join(t[i], NULL);
    }
}

/* a tree of processes, each made in another way */
#if !__GLIBC_PREREQ(2, 34)
#define _Fork() ((pid_t)syscall(SYS_fork))
#endif
static void tree(int depth) {
    some(count);
    if (!depth)
        return;
    for (int way = 0; way < 3; way++) {
        pid_t child = way == 0 ? fork() : way == 1 ? (pid_t)syscall(SYS_fork) : _Fork();
        if (child == 0) {
            tree(depth - 1);
            _exit(0);
        }
        if (child < 0)
            abort();
        waitpid(child, NULL, 0);
    }
    some(count);
}

static void *forker(void *p) {
    tree(1);
    return p;
}

/* a signal every now and then, whose handler allocates: `quick` does it safely */
static volatile long handled;
static sigjmp_buf back;
static volatile int jumps;
static void handler(int number) {
    (void)number;
    void *p = malloc(33);
    KEEP(p);
    free(p);
    handled++;
    if (jumps && handled % 7 == 0)
        siglongjmp(back, 1);
}

static void alarms(int stack) {
    static char other[65536];
    stack_t s = {.ss_sp = other, .ss_size = sizeof other};
    if (stack)
        sigaltstack(&s, NULL);
    struct sigaction action = {.sa_handler = handler, .sa_flags = stack ? SA_ONSTACK : 0};
    sigaction(SIGALRM, &action, NULL);
    struct itimerval often = {{0, 100}, {0, 100}}, never = {{0, 0}, {0, 0}};
    setitimer(ITIMER_REAL, &often, NULL);
    volatile long i = 0;
    sigsetjmp(back, 1);
    for (; i < count; i++)
        some(1);
    setitimer(ITIMER_REAL, &never, NULL);
    printf("%ld\n", handled);
}

/* frame pointers that lead nowhere */
#if defined(__x86_64__)
static void *with_frame(uintptr_t rbp) {
    void *p;
    __asm__ volatile(
        "push %%rbp\n\tmov %%rsp,%%r12\n\tsub $256,%%rsp\n\tand $-16,%%rsp\n\t"
        "mov %1,%%rbp\n\tmov $40,%%edi\n\tcall malloc@PLT\n\tmov %%r12,%%rsp\n\tpop %%rbp"
        : "=a"(p)
        : "r"(rbp)
        : "rdi", "rsi", "rdx", "rcx", "r8", "r9", "r10", "r11", "r12", "memory", "cc");
    return p;
}
#else
static void *with_frame(uintptr_t rbp) {
    (void)rbp;
    return malloc(40);
}
#endif

static void frames(void) {
    uintptr_t here = (uintptr_t)__builtin_frame_address(0), seed = 1;
    uintptr_t loop[2] = {(uintptr_t)loop, (uintptr_t)some + 4};
    uintptr_t fixed[] = {0,
                         1,
                         8,
                         4096,
                         UINTPTR_MAX,
                         UINTPTR_MAX - 7,
                         0x8000000000000000u,
                         here,
                         here + 1,
                         here - 64,
                         here + 4096 * 1024,
                         here - 4096 * 1024,
                         (uintptr_t)loop,
                         (uintptr_t)some,
                         (uintptr_t)environ};
    for (size_t i = 0; i < sizeof fixed / sizeof *fixed; i++)
        free(with_frame(fixed[i]));
    for (long i = 0; i < count; i++) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        uintptr_t way = seed >> 60, value = seed >> 20;
        free(with_frame(way < 8 ? here + value % 20000 - 10000 : way < 12 ? seed : value));
    }
    /* from there to the very top of the stack */
    for (char **e = environ; *e; e++)
        free(with_frame((uintptr_t)*e & ~(uintptr_t)7));
}

static __thread ucontext_t home, away;
static void elsewhere(void) {
    for (;;) {
        some(1);
        swapcontext(&away, &home);
    }
}
static void coroutines(void) {
    getcontext(&away);
    char *stack = mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    away.uc_stack.ss_sp = stack, away.uc_stack.ss_size = 65536;
    makecontext(&away, elsewhere, 0);
    for (long i = 0; i < count; i++) {
        some(1);
        swapcontext(&home, &away);
    }
}
static void *in_thread(void *p) {
    frames();
    coroutines();
    return p;
}

int main(int c, char **v) {
    if (c < 3)
        return 2;
    pthread_key_create(&key, goodbye);
    if (is("ends")) {
        atexit(late);
        some(count);
    } else if (is("threads")) {
        threads(8, many, 8);
    } else if (is("brief")) {
        threads((int)count, brief, 4);
    } else if (is("tree")) {
        tree(2);
    } else if (is("forker")) {
        threads(1, forker, 1);
    } else if (is("exec")) {
        some(count);
        if (count > 1) {
            char next[20];
            snprintf(next, sizeof next, "%ld", count - 1);
            execv("/proc/self/exe", (char *[]){v[0], v[1], next, NULL});
            return 3;
        }
    } else if (is("vfork")) {
        for (volatile long i = 0; i < count; i++) {
            pid_t child = vfork();
            if (child == 0) {
                some(1);
                execv("/proc/self/exe", (char *[]){v[0], (char *)"nothing", (char *)"1", NULL});
                _exit(1);
            }
            waitpid(child, NULL, 0);
        }
    } else if (is("alarms")) {
        alarms(0);
    } else if (is("alarms-other-stack")) {
        alarms(1);
    } else if (is("jumps")) {
        jumps = 1;
        alarms(0);
    } else if (is("frames")) {
        frames();
        coroutines();
        threads(4, in_thread, 4);
    } else if (is("forever")) {
        for (long i = 0;; i++) {
            void *p = malloc(24);
            KEEP(p);
            free(p);
            if (i % count == 0)
                dprintf(1, "%ld\n", i);
        }
    } else if (is("crash")) {
        some(count);
        *(volatile int *)8 = 1;
    } else if (is("few-files")) {
        struct rlimit less = {3, 0}, old;
        if (count % 2)
            some(1);
        getrlimit(RLIMIT_NOFILE, &old);
        less.rlim_max = old.rlim_max;
        setrlimit(RLIMIT_NOFILE, &less);
        some(count);
        setrlimit(RLIMIT_NOFILE, &old);
        some(count);
    } else if (is("closes")) {
        closefrom(3);
        int fd[8];
        char name[] = "/tmp/heapscope-closes-XXXXXX";
        for (int i = 0; i < 8; i++)
            fd[i] = i ? dup(fd[0]) : mkstemp(name);
        some(count);
        if (lseek(fd[0], 0, SEEK_END) != 0)
            return 4;
        if (fd[0] != 3)
            return 5;
        unlink(name);
    }
    puts("done");
    return 0;
}
