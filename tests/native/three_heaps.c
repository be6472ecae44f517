/* Uses src/heap.c as the package does, and prints what it saw. The argument is an hs_layout as
 * Python filled it in, its bytes in hex. */
#include "heap.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int main(int argc, char **argv) {
    hs_layout layout;
    if (argc != 2 || strlen(argv[1]) != 2 * sizeof layout)
        return 2;
    for (size_t i = 0; i < sizeof layout; i++) {
        unsigned byte;
        if (sscanf(argv[1] + 2 * i, "%2x", &byte) != 1)
            return 2;
        ((unsigned char *)&layout)[i] = (unsigned char)byte;
    }
    char error[512];
    for (int round = 0; round < 3; round++) {
        hs_heap heap;
        if (hs_open(&heap, &layout, error, sizeof error) != 0) {
            printf("%s\n", error);
            return 1;
        }
        heap.check = 1;
        void *blocks[200];
        blocks[0] = hs_malloc(&heap, 24);
        printf("found %d\n", heap.ready);
        for (int i = 1; i < 200; i++)
            blocks[i] = hs_calloc(&heap, (size_t)i, 37);
        for (int i = 0; i < 200; i += 2)
            hs_free(&heap, blocks[i]);
        for (int i = 1; i < 200; i += 2)
            blocks[i] = hs_realloc(&heap, blocks[i], (size_t)i * 11 + 1);
        int watched = heap.word_count > 500;
        printf("sound %d refused %d words %d\n", hs_sound(&heap), heap.refused, watched);
        ((unsigned char *)blocks[199])[-8] ^= 0x40;
        hs_free(&heap, blocks[1]);
        int named = heap.bad.at == (uintptr_t)blocks[199] - 8;
        printf("refused %d at the size word %d\n", heap.refused, named);
        hs_close(&heap);
        hs_close(&heap);
    }
    return 0;
}
