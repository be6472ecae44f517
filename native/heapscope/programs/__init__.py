"""Compile and run C and Go programs: with limits, and without leftovers."""
