"""Small programs, right and wrong, and the verdict that each tool must give.

`says` is (plain, ASan + UBSan, valgrind) or (plain, -asan): a kind, with "@line" where the tool
must name the line. "none" stands for silence. `born` and `died` are the lines on which the block
was allocated and freed, as far as every tool that names them agrees.
"""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Case:
    name: str
    text: str
    says: tuple[str, ...]
    born: int | None = None
    died: int | None = None
    options: dict[str, object] = field(default_factory=dict)


C = [
    # ---------------------------------------------------------------- nothing wrong
    Case("empty", "", ("none", "none", "none")),
    Case("hello", 'puts("hello");', ("none", "none", "none")),
    Case("malloc and free", "free(malloc(24));", ("none", "none", "none")),
    Case("free of NULL", "free(NULL);\nfree(NULL);", ("none", "none", "none")),
    Case(
        "calloc is read",
        "int *p = calloc(4, sizeof *p);\nint x = p[3];\nfree(p);\nreturn x;",
        ("none", "none", "none"),
    ),
    Case(
        "realloc kept",
        "char *p = malloc(8);\nchar *q = realloc(p, 8000);\nfree(q ? q : p);",
        ("none", "none", "none"),
    ),
    Case(
        "still reachable at the end",
        "static char *keep;\nint main(void) {\n    keep = malloc(40);\n    return keep == 0;\n}\n",
        ("none", "none", "none"),
        options={"flags": "-include stdlib.h"},
    ),
    Case(
        "a status is no fault",
        'fputs("free(): not really\\n", stderr);\nreturn 3;',
        ("none", "none", "none"),
    ),
    Case(
        "a huge request is refused",
        "void *p = malloc(SIZE_MAX / 2);\nif (p) return 1;\nfree(p);",
        ("none", "none", "none"),
    ),
    Case(
        "unsigned numbers may wrap",
        "unsigned x = UINT_MAX;\nx++;\nreturn (int) x;",
        ("none", "none", "none"),
    ),
    Case(
        "a list, freed in order",
        "struct node { struct node *next; };\n"
        "struct node *head = NULL;\n"
        "for (int i = 0; i < 5; i++) {\n"
        "    struct node *n = malloc(sizeof *n);\n"
        "    n->next = head;\n"
        "    head = n;\n"
        "}\n"
        "while (head) {\n"
        "    struct node *next = head->next;\n"
        "    free(head);\n"
        "    head = next;\n"
        "}\n",
        ("none", "none", "none"),
    ),
    Case(
        "threads that wait for one another",
        "static void *work(void *p) {\n    free(p);\n    return NULL;\n}\n"
        "pthread_t t;\n"
        "pthread_create(&t, NULL, work, malloc(8));\n"
        "pthread_join(t, NULL);\n",
        ("none", "none", "none"),
    ),
    # ---------------------------------------------------------------- leaks
    Case("leak", "char *p = malloc(24);\np[0] = 'x';\n", ("none", "leak", "leak"), born=1),
    Case(
        "leak by overwriting",
        "char *p = malloc(8);\np = malloc(9);\nfree(p);\n",
        ("none", "leak", "leak"),
        born=1,
    ),
    Case(
        "leak of strdup", 'char *p = strdup("abc");\nputs(p);\n', ("none", "leak", "leak"), born=1
    ),
    Case(
        "leak in a function",
        "static int length(void) {\n    char *p = malloc(10);\n    return p != NULL;\n}\n"
        "return length() - 1;\n",
        ("none", "leak", "leak"),
        born=2,
    ),
    Case(
        "leak of a whole list, reported by its head",
        "struct node { struct node *next; };\n"
        "struct node *head = NULL;\n"
        "for (int i = 0; i < 3; i++) {\n"
        "    struct node *n = malloc(sizeof *n);\n"
        "    n->next = head;\n"
        "    head = n;\n"
        "}\n"
        "head = NULL;\n",
        ("none", "leak", "leak"),
        born=4,
    ),
    # ---------------------------------------------------------------- double free
    Case(
        "double free",
        "char *p = malloc(40);\nfree(p);\nfree(p);\n",
        ("double free@3", "double free@3", "double free@3"),
        born=1,
        died=2,
    ),
    Case(
        "double free through an alias",
        "char *p = malloc(40);\nchar *q = p;\nfree(p);\np = NULL;\nfree(q);\n",
        ("double free@5", "double free@5", "double free@5"),
        born=1,
        died=3,
    ),
    Case(
        "double free that glibc misses",
        "char *p = malloc(40);\nfree(p);\nchar *q = malloc(40);\nfree(p);\nreturn q == NULL;\n",
        ("none", "double free@4", "double free@4"),
        born=1,
        died=2,
    ),
    Case(
        "double free of a large block",
        "char *p = malloc(2000), *q = malloc(8);\nfree(p);\nfree(p);\nfree(q);\n",
        ("double free@3", "double free@3", "double free@3"),
        born=1,
        died=2,
    ),
    Case(
        "double free, glibc blames another line",
        "char *tmp = malloc(16);\nfree(tmp);\nchar *a = malloc(16);\nfree(tmp);\n"
        "char *b = malloc(16);\nfree(a);\nfree(b);\n",
        ("double free@7", "double free@4", "double free@4"),
        born=1,
        died=2,
    ),
    Case(
        "double free in a function",
        "static void done(char *p) {\n    free(p);\n}\nchar *p = malloc(3);\ndone(p);\ndone(p);\n",
        ("double free@2", "double free@2", "double free@2"),
        born=4,
        died=2,
    ),
    # ---------------------------------------------------------------- use after free
    Case(
        "read after free",
        "int *p = malloc(40);\np[0] = 1;\nfree(p);\nreturn p[0] == 1;\n",
        ("none", "use after free@4", "use after free@4"),
        born=1,
        died=3,
    ),
    Case(
        "write after free",
        "int *p = malloc(40);\nfree(p);\np[3] = 7;\n",
        ("none", "use after free@3", "use after free@3"),
        born=1,
        died=2,
    ),
    Case(
        "the old pointer after realloc",
        "char *p = malloc(8);\nchar *q = realloc(p, 800000);\np[0] = 'x';\nfree(q);\n",
        ("none", "use after free@3", "use after free@3"),
        born=1,
        died=2,
    ),
    Case(
        "a string after free",
        'char *p = strdup("hello");\nfree(p);\nputs(p);\n',
        ("none", "use after free@3", "use after free@3"),
        born=1,
        died=2,
    ),
    Case(
        "a local after its function",
        "static int *local(void) {\n    int x = 3;\n    int *volatile p = &x;\n    return p;\n}\n"
        "int *p = local();\n*p = 4;\n",
        ("none", "use after return@7", "none"),
    ),
    # ---------------------------------------------------------------- overflow
    Case(
        "one byte behind",
        "char *p = malloc(10);\np[10] = 1;\nfree(p);\n",
        ("none", "overflow@2", "overflow@2"),
        born=1,
    ),
    Case(
        "one byte in front",
        "char *p = malloc(10);\np[-1] = 1;\nfree(p);\n",
        ("invalid free@3", "overflow@2", "overflow@2"),
        born=1,
    ),
    Case(
        "strcpy without room for the zero",
        'char *p = malloc(5);\nstrcpy(p, "hello");\nfree(p);\n',
        ("none", "overflow@2", "overflow@2"),
        born=1,
    ),
    Case(
        "the next chunk's size overwritten",
        "char *p = malloc(24), *q = malloc(24);\nmemset(p, 'A', 32);\nfree(q);\nfree(p);\n",
        ("invalid free@3", "overflow@2", "overflow@2"),
        born=1,
    ),
    Case(
        "top overwritten",
        "char *p = malloc(24);\nmemset(p, 0xff, 32);\nvoid *q = malloc(2000);\nreturn q != NULL;\n",
        ("corrupted heap@3", "overflow@2", "overflow@2"),
        born=1,
    ),
    Case(
        "read behind the end",
        "int *p = calloc(4, 4);\nint x = p[4];\nfree(p);\nreturn x & 0;\n",
        ("none", "overflow@2", "overflow@2"),
        born=1,
    ),
    Case(
        "an array on the stack",
        "int a[4] = {0};\nfor (int i = 0; i <= 4; i++)\n    a[i] = i;\n",
        ("none", "overflow@3", "none"),
    ),
    Case(
        "an array among the globals",
        "static char a[8];\nstatic void set(int i) {\n    a[i] = 1;\n}\nset(9);\n",
        ("none", "overflow@3", "none"),
    ),
    # ---------------------------------------------------------------- free of something else
    Case(
        "free of a local",
        "int x = 0;\nfree(&x);\n",
        ("invalid free@2", "invalid free@2", "invalid free@2"),
    ),
    Case(
        "free of the middle",
        "char *p = malloc(64);\nfree(p + 16);\n",
        ("invalid free@2", "invalid free@2", "invalid free@2"),
        born=1,
    ),
    Case(
        "free of a literal",
        'char *p = "text";\nfree(p);\n',
        ("invalid free@2", "invalid free@2", "invalid free@2"),
    ),
    Case(
        "realloc of a local",
        "char a[32] = {0};\nchar *p = realloc(a, 64);\nfree(p);\n",
        ("invalid free@2", "invalid free@2", "invalid free@2"),
    ),
    # ---------------------------------------------------------------- not initialised
    Case(
        "a decision on fresh memory",
        'int *p = malloc(4);\nif (*p == 3)\n    puts("three");\nfree(p);\n',
        ("none", "none", "uninitialised read@2"),
        born=1,
    ),
    Case(
        "fresh memory printed",
        'int *p = malloc(4);\nprintf("%d\\n", *p);\nfree(p);\n',
        ("none", "none", "uninitialised read@2"),
        born=1,
    ),
    Case(
        "a local without a value",
        'int x;\nif (x)\n    puts("set");\n',
        ("none", "none", "uninitialised read@2"),
    ),
    # ---------------------------------------------------------------- C++
    Case(
        "new and free",
        "#include <cstdlib>\nint main() {\n    int *p = new int(3);\n    free(p);\n}\n",
        ("none", "mismatched free@4", "mismatched free@4"),
        born=3,
        options={"language": "c++"},
    ),
    Case(
        "malloc and delete",
        "#include <cstdlib>\nint main() {\n    int *p = (int *) malloc(4);\n    delete p;\n}\n",
        ("none", "mismatched free@4", "mismatched free@4"),
        born=3,
        options={"language": "c++"},
    ),
    Case(
        "new, delete",
        "int main() {\n    int *p = new int[3];\n    delete[] p;\n}\n",
        ("none", "none", "none"),
        options={"language": "c++"},
    ),
    # ---------------------------------------------------------------- addresses, numbers, the rest
    Case(
        "NULL is written",
        "int *volatile p = NULL;\n*p = 1;\n",
        ("null dereference@2", "null dereference@2", "null dereference@2"),
    ),
    Case(
        "a field of NULL",
        "struct s { long a, b; };\nstatic long get(struct s *s) {\n    return s->b;\n}\n"
        "return (int) get(NULL);\n",
        ("null dereference@3", "null dereference@3", "null dereference@3"),
    ),
    Case(
        "a wild pointer",
        "int *p = (int *) 0x123456789000;\nreturn *p;\n",
        ("invalid access@2", "invalid access@2", "invalid access@2"),
    ),
    Case(
        "an address that is none",
        "int *p = (int *) 0x4141414141414141;\nreturn *p;\n",
        ("invalid access@2", "invalid access@2", "invalid access@2"),
    ),
    Case(
        "a signed sum too large",
        "int x = INT_MAX;\nx += 1;\nreturn x > 0;\n",
        ("none", "signed integer overflow@2", "none"),
    ),
    Case(
        "a signed product too large",
        "int n = 70000;\nint size = n * n;\nfree(malloc(size < 0 ? 1 : 2));\n",
        ("none", "signed integer overflow@2", "none"),
    ),
    Case(
        "a failed assertion",
        "int x = 2;\nassert(x == 3);\n",
        ("other fault@2", "other fault", "other fault"),
    ),
    Case(
        "a division by zero",
        "volatile int x = 0;\nreturn 10 / x;\n",
        ("other fault@2", "other fault@2", "other fault"),
    ),
    # ---------------------------------------------------------------- as they are met in practice
    Case(
        "a node freed and left in its list",
        "struct node { int id; struct node *next; };\n"
        "struct node *b = calloc(1, sizeof *b);\n"
        "struct node *a = calloc(1, sizeof *a);\n"
        "a->next = b;\n"
        "free(b);\n"
        "int sum = a->id + a->next->id;\n"
        "free(a);\n"
        "return sum == 1;\n",
        ("none", "use after free@6", "use after free@6"),
        born=2,
        died=5,
    ),
    Case(
        "a buffer that forgets the zero",
        "size_t cap = 16, len = 0;\n"
        "char *data = malloc(cap);\n"
        "for (int i = 0; i < 2; i++) {\n"
        '    memcpy(data + len, "eight ch", 9);\n'
        "    len += 8;\n"
        "}\n"
        "free(data);\n",
        ("none", "overflow@4", "overflow@4"),
        born=2,
    ),
    Case(
        "a buffer that grows in time",
        "size_t cap = 16, len = 0;\n"
        "char *data = malloc(cap);\n"
        "for (int i = 0; i < 9; i++) {\n"
        "    if (len + 9 > cap)\n"
        "        data = realloc(data, cap *= 2);\n"
        '    memcpy(data + len, "eight ch", 9);\n'
        "    len += 8;\n"
        "}\n"
        "free(data);\n",
        ("none", "none", "none"),
    ),
    Case(
        "a size in elements, not in bytes",
        "int *p = malloc(10);\nfor (int i = 0; i < 10; i++)\n    p[i] = i;\nfree(p);\n",
        ("none", "overflow@3", "overflow@3"),
        born=1,
    ),
    Case(
        "the pointer moved on before free",
        "char *p = malloc(40);\nstrcpy(p, \"  x\");\nwhile (*p == ' ')\n    p++;\nfree(p);\n",
        ("invalid free@5", "invalid free@5", "invalid free@5"),
        born=1,
    ),
    Case(
        "a struct freed, what it holds not",
        "struct box { char *text; };\n"
        "struct box *b = malloc(sizeof *b);\n"
        "b->text = malloc(40);\n"
        "free(b);\n",
        ("none", "leak", "leak"),
        born=3,
    ),
]

GO = [
    # ---------------------------------------------------------------- nothing wrong
    Case("hello", 'fmt.Println("hello")', ("none", "none")),
    Case("CString, freed", 'p := C.CString("x")\nC.free(unsafe.Pointer(p))', ("none", "none")),
    Case("a status is no fault", "os.Exit(3)", ("none", "none")),
    Case(
        "a pinned pointer may be passed",
        "/*\nstruct box { int *p; };\nstatic void use(struct box *b) { *b->p = 3; }\n*/\n"
        "var pin runtime.Pinner\n"
        "x := new(C.int)\n"
        "pin.Pin(x)\n"
        "C.use(&C.struct_box{p: x})\n"
        "pin.Unpin()\n",
        ("none", "none"),
    ),
    # ---------------------------------------------------------------- C's faults, called from Go
    Case("leak", 'p := C.CString("x")\nfmt.Println(p != nil)\n', ("none", "leak"), born=1),
    Case(
        "leak, many",
        "for i := 0; i < 99; i++ {\n\tp := C.malloc(8)\n\tfmt.Sprint(p)\n}\n",
        ("none", "leak"),
        born=2,
    ),
    Case(
        "double free",
        "p := C.malloc(40)\nC.free(p)\nC.free(p)\n",
        ("double free@3", "double free@3"),
        born=1,
    ),
    Case(
        "double free on two threads",
        "runtime.LockOSThread()\np := C.malloc(40)\nC.free(p)\ndone := make(chan bool)\n"
        "go func() {\n\truntime.LockOSThread()\n\tC.free(p)\n\tdone <- true\n}()\n<-done\n",
        ("none", "double free@7"),
        born=2,
    ),
    Case(
        "use after free in C",
        "/*\n#include <stdlib.h>\nstatic int first(int *p) {\n    return p[0];\n}\n*/\n"
        "p := (*C.int)(C.calloc(4, 4))\nC.free(unsafe.Pointer(p))\nfmt.Println(C.first(p) > 9)\n",
        ("none", "use after free@4"),
        born=7,
        died=8,
    ),
    Case(
        "use after free in Go",
        "p := (*C.int)(C.calloc(4, 4))\nC.free(unsafe.Pointer(p))\n*p = 3\n",
        ("none", "use after free@3"),
        born=1,
        died=2,
    ),
    Case(
        "overflow in C",
        "/*\n#include <stdlib.h>\nstatic void fill(char *p, int n) {\n"
        "    for (int i = 0; i <= n; i++)\n        p[i] = 1;\n}\n*/\n"
        "p := (*C.char)(C.malloc(10))\nC.fill(p, 10)\nC.free(unsafe.Pointer(p))\n",
        ("none", "overflow@5"),
        born=8,
    ),
    Case(
        "free of Go's memory",
        "x := new([64]byte)\nC.free(unsafe.Pointer(x))\nfmt.Println(x)\n",
        ("invalid free@2", "invalid free@2"),
    ),
    Case(
        "NULL in C",
        "/*\nstatic void set(int *p) {\n    *p = 1;\n}\n*/\nC.set(nil)\n",
        ("null dereference@6", "null dereference@3"),
    ),
    Case(
        "freed by C and by Go",
        "/*\n#include <stdlib.h>\nstatic void done(void *p) {\n    free(p);\n}\n*/\n"
        "p := C.malloc(40)\nC.done(p)\nC.free(p)\n",
        ("double free@9", "double free@9"),
        born=7,
        died=4,
    ),
    # Go's own function looks for the end of the string, and -asan does not watch that one.
    Case(
        "a string read by Go after it was freed, which no tool sees",
        'p := C.CString("hello")\nC.free(unsafe.Pointer(p))\n'
        "fmt.Println(len(C.GoString(p)) > 99)\n",
        ("none", "none"),
    ),
    Case(
        "a slice over C's memory, too long",
        "p := C.malloc(40)\nv := unsafe.Slice((*byte)(p), 64)\nv[40] = 1\nC.free(p)\n",
        ("none", "overflow@3"),
        born=1,
    ),
    Case(
        "labels made in a callback, freed by nobody",
        "package main\n\n"
        "/*\n#include <stdlib.h>\n"
        "typedef struct { char *label; } item;\n"
        "extern void visit(item *it);\n"
        "static void each(item *list, int n) {\n"
        "    for (int i = 0; i < n; i++)\n        visit(&list[i]);\n}\n*/\n"
        'import "C"\nimport "unsafe"\n\n'
        "//export visit\n"
        'func visit(it *C.item) {\n\tit.label = C.CString("x")\n}\n\n'
        "func main() {\n"
        "\tlist := (*C.item)(C.calloc(3, C.sizeof_item))\n"
        "\tC.each(list, 3)\n\tC.free(unsafe.Pointer(list))\n}\n",
        ("none", "leak"),
        born=17,
    ),
    # ---------------------------------------------------------------- Go's own
    Case("nil in Go", "var p *int\n*p = 1\n", ("null dereference@2", "null dereference@2")),
    Case(
        "a Go pointer in a Go pointer",
        "/*\nstatic void use(void *p) { (void) p; }\n*/\n"
        "s := []*int{new(int)}\nC.use(unsafe.Pointer(&s[0]))\n",
        ("cgo pointer violation@5", "cgo pointer violation@5"),
    ),
    Case("a panic", 'panic("enough")\n', ("other fault@1", "other fault@1")),
    Case("a deadlock", "<-make(chan int)\n", ("other fault@1", "none"), options={"timeout": 3}),
]
