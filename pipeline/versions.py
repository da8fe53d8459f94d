"""The version of what each stage computes: part of its key, so that no older result is taken for a newer one."""

from typing import Any

from ..configs.heads import RegressionOptions
from ..configs.schema import Task

# A change of the code that changes a stage's results raises its number: 1 stands for what was first.
CODE: dict[str, int] = {
    "pretrain": 2,  # colours and blur of views
    "probe": 1,
    "finetune": 2,  # colours and blur of augmentation
    "predict": 2,  # batch norm folded
    "importance": 1,
    "embed": 1,
    "frozen": 1,
    "features": 1,
    "stack": 2,  # the rung `mean` of pearson, the ridge with outliers in table columns
}
# A change that concerns one kind of pretext, head, backbone, learner or metric raises a number here, and every other
# result stays good. A kind that is not listed has none in its keys, as before there were any.
CODE_OF_KIND: dict[tuple[str, str], int] = {
    ("finetune", "pearson of columns"): 2,  # calibrated to the columns' units
}


def code_of(stage: str, *kinds: str) -> dict[str, Any]:
    """What a stage's key holds of the code.

    Args:
        stage: its name.
        kinds: of what takes part in it: the pretext, heads, backbones, the learner, the metric.

    Example:
        >>> code_of("probe", "tabnet")
        {'code': 1}
    """
    listed = {kind: CODE_OF_KIND[stage, kind] for kind in sorted(set(kinds)) if (stage, kind) in CODE_OF_KIND}
    return {"code": CODE[stage]} | {f"code of {kind}": number for kind, number in listed.items()}


def kind_of_head(task: Task) -> str:
    """What a head is called here: its kind, or what it correlates."""
    if task.kind != "regression" or (within := RegressionOptions(**task.options).correlates) is None:
        return task.kind
    return f"pearson of {within}s"
