from __future__ import annotations

import dataclasses
import random

import pytest

from silri.bench.suite import cells
from silri.bench.suite_file import built_in_names, load_suite
from silri.core.errors import ConfigError, UnknownNameError
from silri.envs.registry import EXPERT_CEILINGS
from tests.fakes.suites import BUDGET, TOML, small_suite, write_suite


def test_a_suite_is_what_its_file_says(tmp_path):
    suite = small_suite(tmp_path)
    assert suite.name == "small"
    assert suite.seeds == (0, 1)
    assert [task.steps for task in suite.tasks] == [3000, 4000]
    assert suite.tasks[1].ceiling == 0.8
    assert [variant.learns_online for variant in suite.variants] == [True, True, False]
    assert suite.reference["rival"] == "hil_serl"
    with pytest.raises(dataclasses.FrozenInstanceError):
        suite.name = "other"


def test_cells_go_seed_by_seed(tmp_path):
    names = [cell.name for cell in cells(small_suite(tmp_path))]
    assert len(names) == 12
    assert names[:6] == [
        *("push_silri_steady_s0", "box_silri_steady_s0"),
        *("push_hil_serl_steady_s0", "box_hil_serl_steady_s0"),
        *("push_bc_steady_s0", "box_bc_steady_s0"),
    ]
    assert all(name.endswith("_s1") for name in names[6:])


def test_a_cell_is_a_preset_with_the_overrides_of_its_rows(tmp_path):
    by_name = {cell.name: cell for cell in cells(small_suite(tmp_path))}
    config = by_name["box_hil_serl_steady_s1"].config()
    assert (config.agent_name, config.env_name) == ("hil_serl", "metaworld/box-close-v3")
    assert (config.steps, config.seed, config.operator_name) == (4000, 1, "steady")
    assert config.env.reset_range == 0.03
    assert config.agent.batch_size == 16  # the variant's wins over the suite's
    assert by_name["push_bc_steady_s0"].config().steps == 0


def test_filters_keep_what_they_name(tmp_path):
    suite = small_suite(tmp_path)
    kept = cells(suite, tasks=["box"], variants=["bc", "silri"], seeds=[1])
    assert [cell.name for cell in kept] == ["box_silri_steady_s1", "box_bc_steady_s1"]
    with pytest.raises(UnknownNameError, match=r"unknown task 'bos'. Did you mean 'box'\?"):
        cells(suite, tasks=["bos"])
    with pytest.raises(UnknownNameError, match="unknown seed '7'"):
        cells(suite, seeds=[7])


def test_overrides_may_be_lists_and_truth_values(tmp_path):
    text = TOML.replace(
        "agent.batch_size = 8", "operator.gate.hold = [2, 4]\nruntime.tensorboard = false"
    )
    config = cells(small_suite(tmp_path, text))[0].config()
    assert config.operator.gate.hold == (2, 4)
    assert config.runtime.tensorboard is False


def test_a_person_may_do_some_tasks_only(tmp_path):
    text = TOML + '\n[[people]]\nlabel = "new"\noperator = "novice"\ntasks = ["push"]\n'
    names = [cell.name for cell in cells(small_suite(tmp_path, text))]
    assert "push_bc_new_s0" in names
    assert "box_bc_new_s0" not in names


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("seeds = 2", "seed = 2", "unknown key 'seed'. Did you mean 'seeds'"),
        ("seeds = 2", "seeds = 0", "seeds = 0; it takes a whole number from 1"),
        ("seeds = 2", "seeds = true", "seeds = True; it takes a whole number"),
        ("steps = 3000", 'steps = "many"', "steps = 'many'; it takes a whole number"),
        ("steps = 3000", "", "steps is missing"),
        ("ceiling = 0.8", "ceiling = 1.2", "ceiling = 1.2; it takes the expert's"),
        ('label = "push"', 'label = "pu/sh"', "label = 'pu/sh'; it takes letters"),
        ('label = "push"', 'label = "box"', "label = 'box' is there 2 times"),
        (
            "metaworld/push-v3",
            "metaworld/pusch-v3",
            "env: unknown environment 'metaworld/pusch-v3'",
        ),
        ('agent = "hil_serl"', 'agent = "hilserl"', "agent: unknown agent 'hilserl'.*'hil_serl'"),
        ('agent = "bc"', 'agent = "bc"\npreset = "x"', "preset: unknown preset of agent bc 'x'"),
        ('operator = "steady"', 'operator = "stead"', "operator: unknown operator 'stead'"),
        ('rival = "hil_serl"', 'rival = "sac"', "rival: unknown variant 'sac'"),
        ("[reference]", '[reference]\nother = "bc"', "unknown key 'other'"),
        ("agent.batch_size = 8", "seed = 8", "overrides.seed is no override of a suite; it is"),
        ("agent.batch_size = 8", 'env.name = "x"', "overrides.env.name is no override"),
        ("agent.batch_size = 16", "steps = 8", "hil_serl: overrides.steps is no override"),
        ('label = "bc"', 'label = "bc"\nseeds = 3', "seeds = 3; it takes at most the suite's 2"),
        ("steps_of_rival", "steps_of_rivals", "unknown key 'steps_of_rivals'"),
        ("steps_of_rival = 0.33", "steps_of_rival = 0", "steps_of_rival = 0; it takes a number"),
        ("budgets = 3.0", 'budgets = "x"', "fall: budgets = 'x'; it takes a number"),
        ("[goals]", "[goals]\nsteps_of_published = 1.0", r"need \[reference\] published"),
        ('ours = "silri"\n', "", r"need \[reference\] ours"),
        ("long_horizon = true", "", "need a task with long_horizon = true"),
        (
            "[goals]",
            "[goals]\ndisturbed = { share = 0.5, of_drops_from = 0.1 }",
            "need disturbances = true",
        ),
        ("[[people]]", "[[persons]]", "unknown key 'persons'"),
        ('= "steady"', '= "steady"\nbudget_of = "stedy"', "budget_of: unknown person 'stedy'"),
        ('= "steady"', '= "steady"\nbudget_of = "steady"', "without a budget_of"),
        ('summary = "two', 'study = "speed"\nsummary = "two', "unknown study 'speed'"),
        ('summary = "two', 'development = ["psh"]\nsummary = "two', "unknown task 'psh'"),
        ('name = "small"', 'name = "../small"', "a name without '/'"),
        ("seeds = 2", "seeds = ", "is no TOML"),
    ],
)
def test_what_does_not_fit_is_named_with_its_place(tmp_path, old, new, words):
    assert old in TOML
    path = write_suite(tmp_path, TOML.replace(old, new, 1))
    with pytest.raises(ConfigError, match=words) as caught:
        load_suite(str(path))
    assert str(path) in str(caught.value)


def test_labels_whose_folders_would_be_the_same_are_refused(tmp_path):
    text = TOML.replace('label = "push"', 'label = "box_a"')
    text = text.replace('label = "bc"', 'label = "a_silri"').replace('n = "bc"', 'n = "silri"')
    with pytest.raises(ConfigError, match="would share the folder box_a_silri_steady_s"):
        small_suite(tmp_path, text)


def test_an_unknown_suite_lists_the_right_ones(tmp_path):
    with pytest.raises(UnknownNameError, match=r"'papers'. Did you mean 'paper'\?.*quick.*\.toml"):
        load_suite("papers")
    with pytest.raises(ConfigError, match="cannot be read"):
        load_suite(str(tmp_path / "none.toml"))


@pytest.mark.parametrize("name", built_in_names())
def test_every_cell_of_a_built_in_suite_has_a_configuration(name):
    suite = load_suite(name)
    assert suite.name == name
    seen = set()
    for cell in cells(suite, seeds=suite.seeds[:1]):
        seen.add((cell.variant.label, cell.person.label))
        config = cell.config()
        assert config.steps == cell.steps
    assert len(seen) >= len(suite.variants)


def test_a_budget_is_what_another_person_drove(tmp_path):
    suite = small_suite(tmp_path, BUDGET)
    of = {cell.name: cell for cell in cells(suite, seeds=[1])}
    assert of["push_bc_steady_s1"].source is None
    cell = of["push_bc_blind_s1"]
    assert cell.source == of["push_bc_steady_s1"]
    assert cell.config().operator.gate.budget is None
    assert cell.config(70).operator.gate.budget == 70
    of_nobody = BUDGET.replace('operator = "steady"\nbudget', 'operator = "none"\nbudget')
    cell = cells(small_suite(tmp_path, of_nobody))[-1]
    with pytest.raises(ConfigError, match=r"blind: budget_of"):
        cell.config(70)


def test_the_built_in_suites_are_those_of_the_proof():
    names = "ablations cameras coach full operators paper people quick rewards takeovers unseen"
    assert built_in_names() == names.split()
    paper = load_suite("paper")
    assert [task.paper for task in paper.tasks] == [
        *("Close Trashbin", "Open Cabinet", "Insert USB", "Hang Chinese Knot"),
        *("Pick Spoon", "Push-T", ""),
    ]
    assert all(task.analogy for task in paper.tasks)
    assert len(cells(paper)) == 7 * 6 * 5 + 7 * 3
    assert {cell.seed for cell in cells(paper, variants=["no_task_knowledge"])} == {0, 1, 2}
    assert {t.label for t in paper.tasks if t.long_horizon} == {
        "assembly",
        "pick-place",
        "box-close",
    }
    full = load_suite("full")
    assert "env" not in full.overrides
    assert [task.label for task in full.tasks] == [task.label for task in paper.tasks]
    on_axis = [p.quality for p in load_suite("operators").people if p.quality is not None]
    assert on_axis == [0.0, 0.5, 1.0, 1.5]


def test_only_the_main_comparison_states_goals():
    stated = {name: load_suite(name).goals.roles() for name in built_in_names()}
    assert stated.pop("paper") == ("ours", "rival", "published", "imitation")
    assert not any(stated.values())


def test_the_ablations_begin_with_the_default():
    """Each other row takes a part of it away: none is pinned to an earlier default."""
    suite = load_suite("ablations")
    first = suite.variants[0]
    assert (first.label, first.preset, first.overrides) == ("silri", "default", {})
    assert suite.overrides.keys() == {"env", "evaluation"}
    assert all(v.overrides or v.preset != "default" for v in suite.variants[1:])


def test_the_unseen_tasks_are_those_that_were_drawn():
    """What had been trained on by the day of the draw; the file says how it was made."""
    seen = "assembly box-close door-close drawer-open peg-insert-side pick-place pick-place-wall"
    seen += " push reach soccer stick-push plate-slide-side"
    left = {task.removesuffix("-v3") for task in EXPERT_CEILINGS} - set(seen.split())
    drawn = sorted(random.Random(20261127).sample(sorted(left), 10))
    unseen = load_suite("unseen")
    assert [task.label for task in unseen.tasks] == drawn
    for task in unseen.tasks:
        assert task.env == f"metaworld/{task.label}-v3"
        assert task.ceiling == EXPERT_CEILINGS[f"{task.label}-v3"]
    assert not unseen.overrides  # everything as it is by default
