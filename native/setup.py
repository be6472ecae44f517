"""Tell setuptools about the C extension, which pyproject.toml has no words for."""

from setuptools import setup

setup(cffi_modules=["heapscope/_heap_build.py:ffibuilder"])
