"""Benchmarks: each compares with a peer, or with a floor, measured in the same run."""
