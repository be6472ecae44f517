"""Reading allocation traces: leaks by call site, the peak, memory over time, symbols, pprof."""
