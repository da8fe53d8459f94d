"""The search of settings: what may be searched, what is kept, and what is said of the winner."""

import pytest
from jigstack.configs.errors import UserError
from jigstack.pipeline import tuning
from jigstack.pipeline.ablating import ablate
from jigstack.pipeline.console import Console
from jigstack.pipeline.tuning import Space, tune

from .conftest import MakeConfig

EPOCHS = "tasks.era.epochs=1,4"


def test_a_range_or_a_list_says_what_a_key_may_be():
    assert Space.of("tasks.era.lr=1e-4..1e-2") == Space("tasks.era.lr", 1e-4, 1e-2)
    assert Space.of("tasks.era.epochs=5..20").whole
    assert Space.of("tasks.era.freeze=none,all").choices == ("none", "all")
    for bad in ("tasks.era.lr=1e-3", "tasks.era.lr=1e-2..1e-4", "tasks.era.lr=a..b"):
        with pytest.raises(UserError, match=r"expected key=low\.\.high or key=a,b,c"):
            Space.of(bad)


def test_a_search_goes_on_where_it_was_cut_off(make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch):
    config, console = make_config(), Console(quiet=True)
    real, asked = tuning.run, []

    def run_once_then_stop(*arguments, **options):
        asked.append(options.get("folds"))
        if len(asked) == 5:  # in the second trial
            raise KeyboardInterrupt
        return real(*arguments, **options)

    monkeypatch.setattr(tuning, "run", run_once_then_stop)
    with pytest.raises(KeyboardInterrupt):
        tune(config, (), "era", [Space.of(EPOCHS)], 3, console)
    found = tune(config, (), "era", [Space.of(EPOCHS)], 3, console)
    assert found.trials == 3 and found.overrides[0] in ("tasks.era.epochs=1", "tasks.era.epochs=4")
    count = len(asked)
    assert tune(config, (), "era", [Space.of(EPOCHS)], 3, console) == found
    assert len(asked) == count + 1  # only the winner is looked up again


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
    assert f"{tuned.label} (tuned)" in said
    assert tuned.label not in found.sentence.replace(again.label, "")  # a tuned score is no finding


def test_without_a_key_to_search_it_says_what_is_missing(make_config: MakeConfig):
    with pytest.raises(UserError, match="--optuna: expected what to search"):
        ablate(make_config(), optuna=3, quiet=True)


def test_without_optuna_it_says_how_to_get_it(make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(tuning.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install 'jigstack\[optuna\]'"):
        tune(make_config(), (), "era", [Space.of(EPOCHS)], 1, Console(quiet=True))
