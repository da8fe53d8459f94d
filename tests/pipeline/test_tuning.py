"""The search of settings: what may be searched, what is kept, and what is said of the winner."""

import pytest
from jigstack.configs.errors import UserError
from jigstack.pipeline import tuning
from jigstack.pipeline.ablating import ablate
from jigstack.pipeline.console import Console
from jigstack.pipeline.tuning import Space, tune
from jigstack.training.interrupt import Interrupted

from .conftest import MakeConfig

EPOCHS = "tasks.era.epochs=1,4"


def test_a_range_or_a_list_says_what_a_key_may_be():
    assert Space.of("tasks.era.lr=1e-4..1e-2") == Space("tasks.era.lr", 1e-4, 1e-2)
    assert Space.of("tasks.era.epochs=5..20").whole
    assert Space.of("tasks.era.freeze=none,all").choices == ("none", "all")
    for bad in ("tasks.era.lr=1e-3", "tasks.era.lr=1e-2..1e-4", "tasks.era.lr=a..b"):
        with pytest.raises(UserError, match=r"expected key=low\.\.high or key=a,b,c"):
            Space.of(bad)


def test_a_search_that_is_stopped_goes_on_as_if_it_had_not_been(
    make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch, tmp_path
):
    """The same settings in the same order; the one that was cut off in its own directory."""
    space, console, real = [Space.of("tasks.era.lr=1e-4..1e-2")], Console(quiet=True), tuning.run

    def searched(name: str, stop_at: int | None) -> list[tuple[str, str]]:
        config = make_config(name=name, runs=str(tmp_path / name))
        asked: list[tuple[str, str]] = []

        def noted(config, **options):
            if len(asked) == stop_at:
                asked.append(("stopped", ""))
                raise Interrupted
            [task] = config.tasks.values()
            asked.append((config.name.split("-")[-1], f"{task.lr} {options.get('folds')}"))
            return real(config, **options)

        monkeypatch.setattr(tuning, "run", noted)
        if stop_at is not None:
            with pytest.raises(Interrupted):
                tune(config, (), "era", space, 3, console)
            asked.remove(("stopped", ""))
            stop_at = None
        tune(config, (), "era", space, 3, console)
        return asked

    whole, stopped = searched("whole", None), searched("stopped", 4)  # in the second trial
    # What was done before the stop is looked up again; after that all is the same.
    settings = [setting for _, setting in whole]
    assert [setting for _, setting in stopped] == [*settings[:4], settings[3], *settings[4:]]
    assert {place for place, _ in stopped[3:6]} == {"1"}
    assert len({setting for setting in whole if setting[1].endswith("[0]")}) == 3


def test_the_winner_is_marked_as_tuned_and_estimated_again_on_the_other_folds(
    make_config: MakeConfig, capsys: pytest.CaptureFixture[str]
):
    config = make_config(folds={"scheme": "group", "n": 4, "group": "series"})
    found = ablate(config, rows=["scratch"], vary=[EPOCHS], optuna=2)
    said = capsys.readouterr().out
    assert found is not None and "and at most 2 trials of 3 folds" in said
    tuned, again = found.rows[-2:]
    assert tuned.tuned and set(tuned.folds) == {0, 1, 2}
    assert not again.tuned and set(again.folds) == {3} and "folds 3 alone" in again.label
    assert f"{tuned.label} (tuned)" in said and "head alone" not in said
    assert tuned.label not in found.sentence.replace(again.label, "")  # a tuned score is no finding


def test_without_a_key_to_search_it_says_what_is_missing(make_config: MakeConfig):
    with pytest.raises(UserError, match="--optuna: expected what to search"):
        ablate(make_config(), optuna=3, quiet=True)


def test_without_optuna_it_says_how_to_get_it(make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(tuning.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install 'jigstack\[optuna\]'"):
        tune(make_config(), (), "era", [Space.of(EPOCHS)], 1, Console(quiet=True))
