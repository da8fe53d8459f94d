"""Level 2: members, stackers, the score ladder, and the submission."""

from .ladder import Comparison, Ladder, Rung
from .stack import stack_target
from .submission import Submissions, write_submissions

__all__ = ["Comparison", "Ladder", "Rung", "Submissions", "stack_target", "write_submissions"]
