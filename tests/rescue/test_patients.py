"""Recipes made sick on purpose: is the known cause found, and does what addresses it help?"""

from pathlib import Path

import pytest

from benchmarks.rescue import PATIENTS, best_cure, nearest, place, treat


@pytest.mark.parametrize("name", ["stopped-early", "harsh"])
def test_a_sick_recipe_and_its_cure(name: str, tmp_path: Path) -> None:
    done = treat(name, tmp_path, seeds=3)
    assert place(name, done) in (1, 2)
    cure = best_cure(name, done)
    assert cure
    assert cure.matches or cure is nearest(done)
    assert done.best is cure
    assert cure.word == "helped"


@pytest.mark.slow
@pytest.mark.parametrize("first", [0, 100, 200])
@pytest.mark.parametrize("name", [name for name, sick in PATIENTS.items() if sick.cause])
def test_every_sick_recipe_on_other_seeds(name: str, first: int, tmp_path: Path) -> None:
    done = treat(name, tmp_path, first)
    assert place(name, done) in (1, 2)
    cure = best_cure(name, done)
    assert cure
    assert cure.matches or cure is nearest(done)


@pytest.mark.slow
@pytest.mark.parametrize("first", [0, 100, 200])
def test_a_healthy_recipe(first: int, tmp_path: Path) -> None:
    assert treat("healthy", tmp_path, first).matches
