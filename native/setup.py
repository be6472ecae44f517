"""Tell setuptools about the C extension and the tracer, which pyproject.toml has no words for."""

from setuptools import Extension, setup

# Not a module: a shared library that `heapscope trace` puts before libc (recorders/trace.py).
tracer = Extension(
    "heapscope._trace",
    ["src/trace.c"],
    depends=["src/trace.h"],
    libraries=["dl", "pthread"],
    extra_compile_args=[
        "-std=gnu11",
        "-O2",
        "-fno-omit-frame-pointer",
        "-fno-builtin",
        "-fvisibility=hidden",
    ],
    py_limited_api=True,
)

setup(cffi_modules=["heapscope/_heap_build.py:ffibuilder"], ext_modules=[tracer])
