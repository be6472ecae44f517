"""Reading allocation traces: leaks by call site, the peak, memory over time, symbols, pprof.

``report("service.trace")`` is all that most need.
"""

from __future__ import annotations

from heapscope.traces.format import TraceError
from heapscope.traces.report import Peak, Point, Process, Report, Site, Usage, report
from heapscope.traces.symbols import Frame

__all__ = [
    "Frame",
    "Peak",
    "Point",
    "Process",
    "Report",
    "Site",
    "TraceError",
    "Usage",
    "report",
]
