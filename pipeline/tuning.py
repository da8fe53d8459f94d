"""`jigstack ablate --optuna`: search settings of one head fold by fold, and say that the winner was tuned."""

import importlib.util
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..configs import Config, load_config
from ..configs.errors import UserError
from ..datasets.files import digest
from ..scoring.metrics import METRICS
from .commands import run
from .console import Console
from .judging import judge
from .variants import Plan, alone, first_folds, varied
from .workspace import Workspace

if TYPE_CHECKING:
    import optuna

STARTUP = 4
"""Trials that are finished whatever they score, before the median of the others may end one."""


@dataclass(frozen=True)
class Space:
    """What one key may be: numbers from `low` to `high`, or one of `choices`."""

    key: str
    low: float = 0.0
    high: float = 0.0
    whole: bool = False
    choices: tuple[str, ...] = ()

    @classmethod
    def of(cls, text: str) -> "Space":
        """Read `key=1e-4..1e-2` or `key=a,b,c`.

        Raises:
            UserError: of neither form, or a range that does not rise.

        Example:
            >>> Space.of("tasks.era.epochs=5..20")
            Space(key='tasks.era.epochs', low=5.0, high=20.0, whole=True, choices=())
        """
        key, values = varied(text)
        if len(values) > 1:
            return cls(key, choices=tuple(values))
        first, dots, last = values[0].partition("..")
        try:
            low, high = float(first), float(last)
        except ValueError:
            low = high = 0.0
        if not dots or not low < high:
            raise UserError(
                f"--vary with --optuna: expected key=low..high or key=a,b,c, such as tasks.era.lr=1e-4..1e-2, received "
                f"{text!r}"
            )
        return cls(key, low, high, whole=first.strip().isdigit() and last.strip().isdigit())

    def ends(self) -> tuple[str, ...]:
        """Values to try a config with before the search: all choices, or both ends of a range."""
        whole = (str(int(self.low)), str(int(self.high)))
        return self.choices or (whole if self.whole else (repr(self.low), repr(self.high)))

    def suggest(self, trial: "optuna.Trial") -> str:
        """A value as the command line writes it; ranges of a factor of ten or more are searched by their logarithm."""
        if self.choices:
            return str(trial.suggest_categorical(self.key, self.choices))
        log = self.low > 0 and self.high / self.low >= 10
        if self.whole:
            return str(trial.suggest_int(self.key, int(self.low), int(self.high), log=log))
        return repr(trial.suggest_float(self.key, self.low, self.high, log=log))


@dataclass(frozen=True)
class Tuned:
    """The best setting of a search.

    Attributes:
        overrides: `key=value` texts.
        plan: the run that scored best.
        path: its directory.
    """

    overrides: tuple[str, ...]
    plan: Plan
    path: Path


def tune(
    config: Any,
    overrides: Sequence[str],
    head: str,
    spaces: Sequence[Space],
    trials: int,
    console: Console,
    *,
    smoke: bool = False,
    allow_plugins: bool = False,
) -> Tuned:
    """Search by optuna's TPE on the first folds; a trial whose score falls behind the median of the others is ended.

    Every trial is a run of its own, so what trials share is done once. The search is kept beside them in
    `<name>-tune.log`, so that the same command goes on; a trial that was cut off goes on in its own directory.

    Args:
        config, overrides: as for `run`.
        head: what is tuned.
        spaces: which keys, and what they may be.
        trials: how many in all, with those of earlier commands.
        console: told of every trial.
        smoke: 200 rows and one epoch.
        allow_plugins: as for `run`.

    Raises:
        UserError: optuna is not installed, or a key does not exist.
    """
    if importlib.util.find_spec("optuna") is None:
        raise UserError("--optuna: expected optuna, which is not installed; pip install 'jigstack[optuna]'")
    import optuna
    from optuna.trial import TrialState

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    base = load_config(config, overrides, allow_plugins=allow_plugins)
    folds = first_folds(base)
    name = digest([base.model_dump(mode="json"), head, [repr(space) for space in spaces], smoke])[:8]
    journal = Path(base.runs) / f"{base.name}-tune.log"
    journal.parent.mkdir(parents=True, exist_ok=True)

    def planned(settings: Sequence[str], place: int) -> Plan:
        changed: Config = load_config(config, [*overrides, *settings], allow_plugins=allow_plugins)
        return alone(changed, head, ", ".join(settings), f"tune-{name}-{place}", folds)

    def score(trial: "optuna.Trial", number: int) -> float:
        settings = [f"{space.key}={space.suggest(trial)}" for space in spaces]
        place = trial.user_attrs.get("place", trial.number)
        trial.set_user_attr("settings", settings)
        trial.set_user_attr("place", place)
        plan, found = planned(settings, place), float("nan")
        for step, fold in enumerate(folds):
            result = run(plan.config, until="features", folds=[fold], smoke=smoke, quiet=True, report=False)
            [judged] = judge(plan, result.path, smoke)
            found = judged.score
            trial.report(found, step)
            if step + 1 < len(folds) and trial.should_prune():
                console.say(
                    f"trial {number + 1} of {trials}: {', '.join(settings)}: {found:.4f}, ended early"
                )
                raise optuna.TrialPruned
        console.say(f"trial {number + 1} of {trials}: {', '.join(settings)}: {found:.4f}")
        return found

    study = _study(journal, name, base, head)
    # Stopped or killed ones go on in their own directories.
    for cut_off in study.get_trials(states=[TrialState.RUNNING]):
        study.tell(cut_off.number, state=TrialState.FAIL)
        place = cut_off.user_attrs.get("place", cut_off.number)
        study.enqueue_trial(cut_off.params, user_attrs={"place": place})
    ended = (TrialState.COMPLETE, TrialState.PRUNED)
    while (number := len(study.get_trials(states=ended))) < trials:
        # A draw of its own for each trial: a search that was stopped goes on as if it had not been.
        study.sampler = optuna.samplers.TPESampler(seed=base.seed + number)
        trial = study.ask()
        try:
            found = score(trial, number)
        except optuna.TrialPruned:
            study.tell(trial, state=TrialState.PRUNED)
        else:
            study.tell(trial, found)
    best = study.best_trial
    plan = planned(best.user_attrs["settings"], best.user_attrs["place"])
    result = run(plan.config, until="features", smoke=smoke, quiet=True, report=False)
    return Tuned(tuple(best.user_attrs["settings"]), plan, result.path)


def _study(journal: Path, name: str, base: Config, head: str) -> "optuna.Study":
    """The search of this name in the journal, begun if it is not there."""
    import optuna
    from optuna.storages.journal import JournalFileBackend

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        storage = optuna.storages.JournalStorage(JournalFileBackend(str(journal)))
    measure = next(iter(Workspace(base).targets[head].measures))
    return optuna.create_study(
        study_name=name,
        storage=storage,
        load_if_exists=True,
        direction="maximize" if METRICS[measure].greater_is_better else "minimize",
        pruner=optuna.pruners.MedianPruner(n_startup_trials=STARTUP),
    )
