"""``heapscope doctor``."""

from __future__ import annotations

import argparse


def add(parser: argparse.ArgumentParser) -> None:
    """Describe the command."""
    parser.description = "Look for each tool that the book and heapscope use."
    parser.epilog = "exit status: 0 when everything is here, 1 when something is missing"


def run(args: argparse.Namespace) -> int:
    """Write what there is and what is missing."""
    from heapscope.doctor import report

    return report()
