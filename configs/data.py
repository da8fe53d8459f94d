"""Where the rows and images of a run are, how files become arrays, and the fold plan."""

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from .section import Auto, Section, rising


class Decode(Section):
    """How image files become the uint8 array of the store."""

    fit: Literal["squash", "pad", "crop"] = "squash"
    """Make it square: `squash` the aspect, `pad` with the background, or `crop` the centre."""
    channels: Literal[1, 3] = 3
    window: tuple[float, float] | None = None
    """Intensities of 16-bit, 32-bit and float grey pictures and of .npy files other than uint8 that become 0 and 255;
    such files need it, and `jigstack check` proposes one."""
    background: Annotated[tuple[int, int, int], Field(description="RGB under alpha and padding, 0..255")] = (
        255,
        255,
        255,
    )

    @field_validator("window")
    @classmethod
    def _ordered(cls, value: tuple[float, float] | None) -> tuple[float, float] | None:
        return rising(value)

    @field_validator("background")
    @classmethod
    def _in_range(cls, value: tuple[int, int, int]) -> tuple[int, int, int]:
        if not all(0 <= v <= 255 for v in value):
            raise ValueError("three values from 0 to 255")
        return value


class Data(Section):
    """Where the rows and images are: paths relative to `root`, and `root` to the working directory."""

    root: str = "."
    id: str
    """The column that names a row; compared as text."""
    train: Annotated[list[str], Field(min_length=1)]
    """CSV or parquet files of the labelled rows; several files join 1:1 on the id."""
    test: list[str] = []
    unlabelled: list[str] = []
    """More inputs for pretraining: globs of images, or tables with the id and the columns of the others."""
    lists: dict[str, str] = {}
    """List files (id, name) with several rows an id."""
    images: str | None = None
    """A pattern with `{column}` fields ("photos/{object_id}.jpg"), a column that holds the path, or, for several
    images a row, a list file (views.csv, .tsv or .parquet) with columns id, `path` and, if you like, `view`; null: no
    pictures, for backbones and stacks of table columns."""
    columns: Auto | list[str] = "auto"
    """Table columns that networks of tables read, and stacks and frozen tasks with `table: true`: names, or patterns.
    `auto`: those that train and test share beside the id, the group, the folds, the image paths and whatever is
    learned."""
    kinds: dict[str, Literal["number", "boolean", "date", "category"]] = {}
    """What columns are to networks of tables, where it is not what they look like: `{code: category}`."""
    decode: Decode = Decode()
    sample_submission: str | None = None


class Folds(Section):
    """The one fold plan of the run."""

    scheme: Literal["kfold", "stratified", "group", "stratified_group", "holdout", "column"] = "kfold"
    n: Annotated[int, Field(ge=2, le=50)] = 5
    group: str | None = None
    """Column whose equal values must stay on one side of every split."""
    stratify: str | None = None
    """Column to balance over the folds; a continuous one is cut into `bins` quantiles."""
    bins: Annotated[int, Field(ge=2, le=50)] = 10
    column: str | None = None
    """For `scheme: column`: the column that holds each row's fold (empty: in no validation part)."""
    share: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.2
    """For `scheme: holdout`: the validation share."""

    @model_validator(mode="after")
    def _columns_are_given(self) -> "Folds":
        needs = {
            "stratified": ["stratify"],
            "group": ["group"],
            "stratified_group": ["group", "stratify"],
            "column": ["column"],
        }
        missing = [key for key in needs.get(self.scheme, []) if getattr(self, key) is None]
        if missing:
            raise ValueError(f"{' and '.join(missing)} to be given with scheme: {self.scheme}")
        read_by = {
            "group": ("group", "stratified_group", "holdout"),
            "stratify": ("stratified", "stratified_group", "holdout"),
            "column": ("column",),
        }
        for key, schemes in read_by.items():
            if getattr(self, key) is not None and self.scheme not in schemes:
                raise ValueError(
                    f"{key} left out with scheme: {self.scheme}, which does not read it; {' and '.join(schemes)} do"
                )
        return self
