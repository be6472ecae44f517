"""The commands of ``heapscope``: one module each, with ``add`` and ``run``; see ``cli``."""
