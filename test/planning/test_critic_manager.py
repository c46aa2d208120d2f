"""Critics are found by name, added up by weight, and named when they misbehave."""

import re
from dataclasses import replace
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
import torch

from sana_wm_ros.planning.critic_manager import BadCritic, CriticManager, available
from sana_wm_ros.planning.critics import GROUP, SHIPPED
from sana_wm_ros.planning.types import Goal
from sana_wm_ros.world_model.toy import tiny_navigation_model


class Constant:
    """A user's critic: the same cost for everyone."""

    def __init__(self, name="constant", weight=1.0, cost=1.0):
        self.name, self.weight, self.cost = name, weight, cost

    def score(self, futures):
        return torch.full((len(futures.candidates),), self.cost)


@pytest.fixture
def futures(kit):
    return kit.futures([[[0.4, 0, 0]] * 4] * 2)


def entry(name, value="sana_wm_ros.planning.critics.smoothness:Smoothness"):
    return EntryPoint(name=name, value=value, group=GROUP)


def test_all_shipped_critics_load_by_name():
    manager = CriticManager.load(list(SHIPPED), found=[])
    assert list(manager.weights) == list(SHIPPED)
    assert manager.weights["collision"] == 20.0


def test_a_critic_of_another_package_is_found_and_built_with_its_settings(tmp_path, monkeypatch, futures):
    (tmp_path / "users_package.py").write_text(
        "import torch\n"
        "class Flat:\n"
        "    name = 'flat'\n"
        "    def __init__(self, weight=1.0, height=1.0): self.weight, self.height = weight, height\n"
        "    def score(self, futures): return torch.full((len(futures.candidates),), self.height)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    manager = CriticManager.load(
        ["flat"], {"flat": {"weight": 2.0, "height": 3.0}}, found=[entry("flat", "users_package:Flat")]
    )
    costs, shares = manager.score(futures)
    assert costs == pytest.approx([6.0, 6.0]) and shares["flat"] == pytest.approx([6.0, 6.0])


def test_an_unknown_name_lists_those_that_exist():
    with pytest.raises(BadCritic, match="no critic 'speed'; known are: clearance, collision"):
        CriticManager.load(["speed"], found=[])
    with pytest.raises(BadCritic, match="no critic 'sped'"):
        CriticManager.load(["progress"], {"sped": {}}, found=[])


def test_two_critics_of_one_name_are_named_but_registering_the_same_twice_is_fine():
    with pytest.raises(BadCritic, match="two critics are called 'progress'.*mine:Progress"):
        available([entry("progress", "mine:Progress")])
    assert set(available([entry("progress", SHIPPED["progress"])])) == set(SHIPPED)
    with pytest.raises(BadCritic, match="'progress' is listed twice"):
        CriticManager.load(["progress", "progress"], found=[])


@pytest.mark.parametrize("value", ["not_there:Critic", "sana_wm_ros.planning.critics.smoothness:Missing"])
def test_a_critic_that_cannot_be_imported_is_named(value):
    with pytest.raises(BadCritic, match="'mine' .* cannot be built"):
        CriticManager.load(["mine"], found=[entry("mine", value)])


def test_settings_that_a_critic_does_not_have_are_refused():
    with pytest.raises(BadCritic, match=r"'progress' .* cannot be built.*hight"):
        CriticManager.load(["progress"], {"progress": {"hight": 1}}, found=[])


def test_the_total_is_the_sum_of_weighted_shares(futures):
    manager = CriticManager([Constant("a", 2.0, 3.0), Constant("b", 0.5, 4.0), Constant("c", 0.0, 9.0)])
    costs, shares = manager.score(futures)
    assert costs == pytest.approx([8.0, 8.0])  # 2 * 3 + 0.5 * 4 + 0
    assert {name: share[0] for name, share in shares.items()} == {"a": 6.0, "b": 2.0, "c": 0.0}


def test_weights_are_live(futures):
    manager = CriticManager([Constant("a"), Constant("b")])
    manager.set_weights({"b": 5.0})
    assert manager.score(futures)[0] == pytest.approx([6.0, 6.0])
    assert manager.weights == {"a": 1.0, "b": 5.0}


@pytest.mark.parametrize("weights", [{"a": -1.0}, {"a": float("nan")}, {"a": 2.0, "zzz": 1.0}])
def test_a_bad_weight_is_refused_and_changes_nothing(weights):
    manager = CriticManager([Constant("a")])
    with pytest.raises(ValueError, match="a|zzz"):
        manager.set_weights(weights)
    assert manager.weights == {"a": 1.0}


def test_a_cost_that_is_not_a_number_is_refused_naming_critic_and_candidate(futures):
    with pytest.raises(BadCritic, match=r"'broken' gave nan for candidate 0 \(test\)"):
        CriticManager([Constant("fine"), Constant("broken", cost=float("nan"))]).score(futures)


def test_a_cost_of_the_wrong_shape_is_refused(futures):
    critic = Constant("wide")
    critic.score = lambda futures: torch.zeros(7)
    with pytest.raises(BadCritic, match=r"'wide' gave shape \(7,\), expected .* \(2,\)"):
        CriticManager([critic]).score(futures)


def test_the_package_registers_exactly_the_shipped_critics():
    setup = (Path(__file__).parents[2] / "setup.py").read_text()
    registered = re.findall(r'"(\w+) = (sana_wm_ros\.planning\.critics\.[\w.]+:\w+)"', setup)
    assert dict(registered) == SHIPPED


def model_that_foretells(*heads):
    return replace(tiny_navigation_model().spec, foretells=frozenset(heads))


def test_a_critic_that_needs_what_the_model_does_not_foretell_is_refused_by_both_names():
    manager = CriticManager.load(["collision", "novelty", "smoothness"], found=[])
    manager.meet(model_that_foretells("collision", "clearance", "place"))
    said = (
        "critic 'novelty' needs a world model that foretells place; this one foretells clearance, collision"
    )
    with pytest.raises(BadCritic, match=said):
        manager.meet(model_that_foretells("collision", "clearance"))
    CriticManager.load(["smoothness", "control_effort"], found=[]).meet(model_that_foretells())


def test_a_critic_of_weight_0_is_let_off_until_it_is_given_one(futures):
    manager = CriticManager.load(["novelty", "smoothness"], {"novelty": {"weight": 0.0}}, found=[])
    manager.meet(model_that_foretells())
    assert manager.score(futures)[1]["novelty"].tolist() == [0.0, 0.0]
    manager.set_weights({"novelty": 1.0})
    with pytest.raises(BadCritic, match="'novelty' needs a world model that foretells place"):
        manager.score(futures)


def test_a_need_that_no_model_knows_is_refused(futures):
    critic = Constant("misspelt")
    critic.needs = ("bump",)
    with pytest.raises(BadCritic, match=r"'misspelt' needs \('bump',\); models foretell collision, cl"):
        CriticManager([critic]).meet(model_that_foretells("collision"))


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_critics_say_what_they_need(kit, name):
    """Without the heads that a critic does not name, its cost is the same."""
    critic = CriticManager.load([name], found=[])._critics[name]
    needs = set(getattr(critic, "needs", ()))
    twists = [[[0.4, 0, 0]] * 4, [[0.2, 0, 0.3]] * 4]
    for goal in (Goal(x_m=1.0, y_m=0.0), None):
        whole = kit.futures(twists, collision=[0.0, 0.1, 0.2, 0.1], goal=goal)
        rollout = whole.rollout
        blank = {
            "collision": {"collision_NF": torch.full_like(rollout.collision_NF, torch.nan)},
            "clearance": {"clearance_NFK": rollout.clearance_NFK[..., :0]},
            "uncertainty": {"uncertainty_NF": torch.full_like(rollout.uncertainty_NF, torch.nan)},
            "place": {"place_NFE": rollout.place_NFE[..., :0]},
        }
        lacking = {key: value for head in set(blank) - needs for key, value in blank[head].items()}
        found = critic.score(replace(whole, rollout=replace(rollout, **lacking)))
        assert torch.equal(critic.score(whole), found)
