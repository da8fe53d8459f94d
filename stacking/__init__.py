"""Level 2: members, stackers, the score ladder, and the submission."""

from .columns import TABLE, TableColumns
from .ladder import Comparison, Ladder, Rung
from .stack import stack_target
from .submission import Submissions, write_submissions

__all__ = [
    "TABLE",
    "Comparison",
    "Ladder",
    "Rung",
    "Submissions",
    "TableColumns",
    "stack_target",
    "write_submissions",
]
