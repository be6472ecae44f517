"""glibc's heap: layouts by version, and the decoder."""
