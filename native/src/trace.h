// clang-format off
/* The format of a heapscope trace, version 1.

   A trace is a folder. Each process image (a program between exec and exec, or between fork and
   its end) that allocates writes one file of its own there, "PID-N.heap", N = 0, 1, 2, … counting
   the images that had this process number. Nothing needs to be finished or flushed: a file can be
   read at any moment, also while the program runs and after kill -9.

   All numbers are in the machine's byte order (HS_MAGIC tells which) and naturally aligned.

   A file is a row of blocks of HS_BLOCK bytes. Block 0 is the header, struct hs_header. Each other
   block begins with a struct hs_block of 64 bytes. A block without HS_BLOCK_MAGIC is a hole: it was
   reserved and its writer has been killed before it was complete. Skip it. A file may end within a
   block; what is missing is zero.

   Kinds of blocks:

   HS_WINDOW   is mapped into the program's memory and is what one thread writes to at present.
   HS_DONE     is a copy of a window that was full. Windows are used over and over: each has a
               number (`window`) and counts its fillings (`seq`). Read, for each window number, its
               HS_DONE blocks by seq, then the window itself, unless there is an HS_DONE block with
               the window's own seq: then the writer was killed while it was clearing the window.
   HS_SHARED   belongs to no thread: events from signal handlers that interrupted the tracer, and
               from threads beyond the number of windows. Each event there is preceded by an
               HS_THREAD and an HS_TIME_ABS record, and dt is 0.
   HS_MAPS     text, `used` bytes: the executable lines of /proc/self/maps at `time`, each with its
               newline, for looking up addresses. It is written again when something new is mapped.
               A long list takes several blocks with the same time, by seq.

   Records: `used` bytes after the block's header, 16 bytes each, two words:

       w0:  bits  0..47  value         w1:  bits  0..3   op
            bits 48..63  dt                 bits  4..27  stack
                                            bits 28..63  size

   op 0 is a hole (reserved, not written): skip it.
   dt is the time since the previous record of the same window (holes count as 0), in ticks >>
   HS_TIME_SHIFT; the first record counts from hs_block.time. The time of a record is therefore
   hs_block.time + the sum of dt and of the values of HS_TIME records so far. Ticks become seconds
   by the two clock readings in the header. An allocation has its time after the allocator returned,
   a release before the allocator is called, so that for one address releases come before the
   allocation that uses it again, also from another thread; two cores' clocks may differ by some ten
   nanoseconds, so a reader should bear with "allocated although live" when a release follows at
   once from another thread.

   The events (value is a pointer, 0 = the call failed; size is in bytes as asked for):
   HS_MALLOC   also strdup and strndup.
   HS_CALLOC   size is the product.
   HS_ALIGNED  aligned_alloc, posix_memalign, memalign, valloc, pvalloc; HS_ALIGN precedes it.
   HS_FREE     size is 0. free(NULL) is not recorded.
   HS_REALLOC_BEGIN   value: the old pointer; not there for realloc(NULL, n). Then, from the same
               thread,
   HS_REALLOC_END     value: the new pointer. Between the two the old block is neither live nor
               free: at the end it is gone if the new pointer is not 0 or if the size is 0, else it
               lives on. reallocarray is realloc with the product.
   A calloc or reallocarray whose product overflows has the size 2^64 - 1. A release has its call
   site alone for a stack, and so have HS_REALLOC_BEGIN and what is recorded in HS_SHARED.

   The others (HS_WIDE and HS_ALIGN are in the same block as the event that they belong to):
   HS_WIDE     the next record's size does not fit into 36 bits: it is value | size << 48. (The
               record itself has HS_SIZE_MAX there.)
   HS_ALIGN    value: the alignment of the next record.
   HS_TIME     value: ticks >> HS_TIME_SHIFT to add to the time; dt is 0.
   HS_TIME_ABS value: low 48 bits of the ticks >> HS_TIME_SHIFT, for the next record; HS_SHARED
               only.
   HS_THREAD   value: the thread number (gettid) of the records from here on in this window. It
               stays in force over the window's next fillings.
   HS_FRAME    one frame of a stack: value: an address; stack: the stack's number; size: bits 0..7
               the frame's index (0 is the call site), bit 8 is 1 for a Go frame. dt is 0. A stack's
               frames may stand in another window than its events, and later in the file.
   HS_LOST     value: events of this window that were lost before this record.

   Stack 0 is "not known". Addresses in frames are return addresses: look up address - 1. Frame 0 is
   always the address that the allocation function returns to. The Go frames of a stack come after
   its C frames: runtime.cgocall, the cgo wrapper, and then the Go functions up to goexit or the
   depth. Two equal stacks may have two numbers.

   A process that was forked starts with its parent's live blocks: HS_FORKED is set in flags, and a
   release of an unknown block is a release of one of these. */
// clang-format on

#ifndef HEAPSCOPE_TRACE_H
#define HEAPSCOPE_TRACE_H

#include <stdint.h>

#define HS_MAGIC 0x3165636172747368ull /* "hstrace1" */
#define HS_VERSION 1
#define HS_BLOCK 65536
#define HS_BLOCK_MAGIC 0x6b6c6273 /* "sblk" */
#define HS_TIME_SHIFT 2
#define HS_SIZE_MAX ((1ull << 36) - 1)

enum hs_kind { HS_WINDOW = 1, HS_DONE, HS_SHARED, HS_MAPS };

enum hs_op {
    HS_HOLE,
    HS_MALLOC,
    HS_CALLOC,
    HS_REALLOC_BEGIN,
    HS_REALLOC_END,
    HS_FREE,
    HS_ALIGNED,
    HS_THREAD,
    HS_TIME,
    HS_TIME_ABS,
    HS_WIDE,
    HS_ALIGN,
    HS_FRAME,
    HS_LOST,
};

enum hs_flag {
    HS_FORKED = 1,   /* the image began with fork, not with exec */
    HS_TSC = 2,      /* ticks are the processor's time stamp counter; else nanoseconds */
    HS_GO = 4,       /* stacks go on into Go */
    HS_FINISHED = 8, /* the program came to its end by exit or return from main; Go's end is none */
    HS_ALLOCATOR = 16, /* the program has an allocator of its own, not glibc's */
};

/* Block 0; HS_BLOCK bytes, what is not named is zero. */
struct hs_header {
    uint64_t magic;       /* HS_MAGIC */
    uint32_t version;     /* HS_VERSION */
    uint32_t block;       /* HS_BLOCK */
    uint32_t pid, parent; /* process numbers */
    uint32_t flags;       /* enum hs_flag */
    uint32_t depth;       /* frames asked for; 0 and 1: the call site alone */
    uint64_t blocks;      /* blocks reserved so far, this one included */
    uint64_t lost;        /* events lost in all */
    uint32_t stopped;     /* 0, or the errno that ended the recording; ENOSPC: disk full */
    uint32_t stacks;      /* numbers given to stacks so far */
    uint64_t cut_stacks;  /* events whose stack was cut to the call site: table of stacks full */
    /* Two readings of the clocks; the second is renewed as the program goes on. Nanoseconds. */
    uint64_t ticks0, monotonic0, real0;
    uint64_t ticks1, monotonic1;
    char parent_file[64]; /* for HS_FORKED: the parent's file in the same folder; may be empty */
    char exe[1024];       /* path of the program; all text ends with a zero */
    char command[4096];   /* its arguments as in /proc/self/cmdline, each followed by a zero */
    uint32_t command_size;
};

/* The beginning of every other block. 64 bytes. */
struct hs_block {
    uint32_t magic; /* HS_BLOCK_MAGIC */
    uint32_t kind;  /* enum hs_kind */
    uint32_t window;
    uint32_t thread; /* in force at the block's beginning; 0: HS_SHARED, HS_MAPS */
    uint64_t seq;
    uint64_t used; /* bytes after this header; may exceed HS_BLOCK - 64 by what did not fit */
    uint64_t time; /* at the beginning, ticks >> HS_TIME_SHIFT */
    uint64_t last; /* the writer's own */
    uint64_t lost; /* the writer's own */
    uint64_t spare;
};

#endif
