"""Exercises: ``check("ID", answer)`` tries the reader's answer and says what it saw.

One module for each chapter; a checker is a function with ``@exercise("ID")`` that takes the answer
and returns ``Right`` or ``NotYet``.
"""

from heapscope.teaching.exercises.base import NotYet, Right, Verdict, check, exercise, judge

__all__ = ["NotYet", "Right", "Verdict", "check", "exercise", "judge"]
