/* Numbers of Linux on x86-64 and of glibc's interface; mmap(2), mremap(2), errno(3), mallopt(3). */
#ifndef CONSTANTS_H
#define CONSTANTS_H

#define EFAULT 14
#define EINVAL 22
#define ENOMEM 12

#define GRND_NONBLOCK 1

#define MADV_DONTNEED 4
#define MADV_HUGEPAGE 14

#define MAP_ANONYMOUS 0x20
#define MAP_FAILED ((void *)-1)
#define MAP_FIXED 0x10
#define MAP_NORESERVE 0x4000
#define MAP_PRIVATE 2
#define MREMAP_MAYMOVE 1
#define PROT_NONE 0
#define PROT_READ 1
#define PROT_WRITE 2

#define M_MXFAST 1
#define M_TRIM_THRESHOLD -1
#define M_TOP_PAD -2
#define M_MMAP_THRESHOLD -3
#define M_MMAP_MAX -4
#define M_CHECK_ACTION -5
#define M_PERTURB -6
#define M_ARENA_TEST -7
#define M_ARENA_MAX -8

#endif
