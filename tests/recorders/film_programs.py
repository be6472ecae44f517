"""Random C programs for films: most are right, some are not."""

from __future__ import annotations

import random

_HEAD = """\
#include <stdlib.h>
#include <string.h>

struct item {
    int id;
    struct item *next;
    char *text;
};

static long calls;

static struct item *push(struct item *list, int id, const char *text)
{
    struct item *made = malloc(sizeof *made);
    calls++;
    made->id = id;
    made->next = list;
    made->text = strdup(text);
    return made;
}

static struct item *pop(struct item *list) {
    struct item *next = list->next;
    free(list->text);
    free(list);
    return next;
}

static int sum(const unsigned char *from, size_t size)
{
    int total = 0;
    for (size_t i = 0; i < size; i += size / 2)
        total += from[i];
    return total;
}

int main(void)
{
    struct item *list = NULL;
    int n = 0;
"""
_TAIL = """\
    return n < 0;
}
"""
SIZES = (1, 8, 24, 25, 40, 100, 120, 500, 1000, 1032, 1100, 5000, 200_000)


class _Writer:
    """Writes one program; knows which block each variable holds."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.lines: list[str] = []
        self.sizes: dict[str, int] = {}  # of the blocks in use, by variable
        self.freed: list[str] = []
        self.items = 0

    def say(self, *lines: str) -> None:
        self.lines += [f"    {line}" for line in lines]

    def some(self) -> str | None:
        """Return a variable that holds a block, if there is one."""
        return self.random.choice(sorted(self.sizes)) if self.sizes else None

    def allocate(self) -> None:
        size = self.random.choices(SIZES, weights=[4] * 12 + [1])[0]
        name, new = f"p{self.random.randrange(4)}", ""
        if name in self.sizes:
            return
        if not any(f" *{name} " in line for line in self.lines):
            new = "char *"
        call = f"malloc({size})"
        if self.random.random() < 0.3:
            size = size & ~7 or 8
            call = f"calloc({size // 8}, 8)"
        self.say(f"{new}{name} = {call};")
        self.sizes[name] = size
        if name in self.freed:
            self.freed.remove(name)

    def write(self) -> None:
        name = self.some()
        if name is None:
            return self.allocate()
        size, sign = self.sizes[name], self.random.randrange(33, 126)
        kind = self.random.randrange(3)
        if kind == 0:
            self.say(f"memset({name}, {sign}, {size});")
        elif kind == 1:
            self.say(f"{name}[{self.random.randrange(size)}] = {sign};")
        else:
            count = min(size, 9)
            self.say(f'memcpy({name}, "some text", {count});')
        return None

    def read(self) -> None:
        name = self.some()
        if name is not None and self.sizes[name] > 1:
            self.say(f"memset({name}, 1, {self.sizes[name]});")
            self.say(f"n += sum((unsigned char *){name}, {self.sizes[name]});")

    def resize(self) -> None:
        name = self.some()
        if name is None:
            return self.allocate()
        size = self.random.choice(SIZES[:12])
        self.say(f"{name} = realloc({name}, {size});")
        self.sizes[name] = size
        return None

    def free(self) -> None:
        name = self.some()
        if name is None:
            return
        self.say(f"free({name});")
        del self.sizes[name]
        self.freed.append(name)

    def grow_list(self) -> None:
        text = "".join(self.random.choices("abcxyz", k=self.random.choice((1, 9, 30))))
        self.say(f'list = push(list, {self.random.randrange(99)}, "{text}");')
        self.items += 1

    def shrink_list(self) -> None:
        if self.items:
            self.say("list = pop(list);")
            self.items -= 1

    def repeat(self) -> None:
        self.say(
            f"for (int i = 0; i < {self.random.randrange(1, 4)}; i++) {{",
            f"    void *q = malloc({self.random.choice(SIZES[:11])});",
            "    free(q);",
            "}",
        )

    def fault(self) -> None:
        """Do what C does not allow."""
        kind = self.random.randrange(4)
        name = self.some()
        if kind == 0 and name is not None:  # into what follows the block
            end = self.sizes[name] + 8 - self.sizes[name] % 8
            self.say(f"{name}[{end + self.random.randrange(8)}] = {self.random.randrange(1, 99)};")
        elif kind == 1 and self.freed:
            self.say(f"{self.freed[-1]}[{self.random.randrange(2)}] = 'X';")
        elif kind == 2 and self.freed:
            self.say(f"free({self.freed[-1]});")
        elif name is not None:
            self.say(f"free({name} + {self.random.choice((1, 8, 16))});")

    def program(self) -> str:
        ways = [self.allocate] * 4 + [self.write] * 3 + [self.free] * 3 + [self.resize] * 2
        ways += [self.grow_list] * 2 + [self.shrink_list, self.repeat, self.read]
        for _ in range(self.random.randrange(6, 14)):
            self.random.choice(ways)()
        if self.random.random() < 0.35:
            self.fault()
            for _ in range(3):
                self.random.choice(ways)()
        return _HEAD + "\n".join(self.lines) + "\n" + _TAIL


def program(seed: int) -> str:
    """Return the program number `seed`; the same number gives the same program."""
    return _Writer(seed).program()
