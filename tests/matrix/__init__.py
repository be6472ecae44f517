"""The instrument on other systems: versions of glibc, of Python, another processor.

``make matrix`` (``python -m tests.matrix``) makes a folder for each version of glibc with
debootstrap, runs ``record.c`` in it, and compares what heapscope reads in the heap's bytes with
what glibc's own types say. ``python -m tests.matrix.pythons`` sets the repository up, tests it and
builds the book with each version of Python that is there.

``chroot.py``
    Debian in a folder: made once, entered without leaving a mount behind.
``record.c``
    The program that takes its heap through many states.
``reader.py``
    Runs in gdb: reads the heap at each state through glibc's own types.
``record.py``
    Compiles and runs both in a folder, and makes a recording of what they say.
``compare.py``
    Decodes a recording and compares; ``test_recorded.py`` does it with the recordings in
    ``tests/glibc/recorded``.
"""
