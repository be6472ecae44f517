"""Checks whose figures stand on the page 'What we tested'.

Each check is a module of this package, ``NAME.py``, run as ``python -m tests.trust.NAME`` from the
repository's folder; ``python -m tests.trust`` (``make tested``) runs all of them one after the
other. A check tries something for real, prints its figures, writes ``figures/NAME.json``, and
exits with 1 when a figure is not met. The page is made from these files by the directive
``{tested} NAME`` (``heapscope.sphinx.tested``); a file that is missing is said to be missing.

The short tests beside the checks (``test_NAME.py``) belong to ``make test``; a check's full volume
is a test marked ``long`` or the check itself.

A check, in full::

    from .record import Check

    def main() -> int:
        check = Check("leaks", "Leaks", "python -m tests.trust.leaks")
        found = count()
        check.figure("programs with a leak", f"{found} of 30 were found", "all", found == 30)
        check.figure("the same on aarch64", "untested: there is no qemu here", "all", None)
        return check.finish(gcc="12.2.0")

    if __name__ == "__main__":
        sys.exit(main())

The file, all keys needed and no others::

    {"title": "Leaks",                    a heading, text
     "command": "python -m …",            what shows it all again
     "measured": {"date": "2025-11-25",   ISO; the rest is names and versions of what took part
                  "versions": {"glibc": "2.36", "Python": "3.11.7", …}},
     "figures": [
       {"what": "programs with a leak",   what was tried, and how often
        "value": "30 of 30 were found",   what came of it
        "aim": "all",                     what had to come of it
        "met": true,                      false: not met; null: not tried, and "value" says why
        "command": "python -m …"}]}       what shows this one; may be the same for all

All values but ``met`` are plain text; it is shown as it is written, markup included.
``finish`` adds the date and the versions of Python, glibc, the kernel and the machine.
"""

from __future__ import annotations

CHECKS = (
    "hostile",
    "fuzz",
    "interrupted",
    "text",
    "matrix",
    "pythons",
    "reproducible",
    "accessibility",
    "licences",
)
"""Names of the modules, in the order of the page."""
