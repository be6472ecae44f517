"""Recorders bring bytes, calls and variables; :mod:`heapscope.glibc` says what they mean."""
