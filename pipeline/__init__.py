"""Stages wired into a run: the functions behind the commands."""

from .checking import CheckReport, check
from .commands import RunResult, features, finetune, pretrain, run, stack
from .sampling import sample

__all__ = ["CheckReport", "RunResult", "check", "features", "finetune", "pretrain", "run", "sample", "stack"]
