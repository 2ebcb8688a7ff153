"""Initial weights: their distributions, and streams that do not disturb each other."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from lth_sweep.lottery.network.initial.initialization import (
    INITS,
    Default,
    Init,
    KaimingNormal,
    KaimingUniform,
    Orthogonal,
    SignedConstant,
    XavierNormal,
    XavierUniform,
)
from lth_sweep.lottery.network.masks import Masks
from lth_sweep.lottery.network.models import Mlp
from lth_sweep.lottery.network.state import State
from lth_sweep.lottery.recipe.trial import Runtime, TrialConfig
from lth_sweep.lottery.runs.stages import Store
from lth_sweep.lottery.runs.states import States

DRAWN = [kind for kind in INITS if kind != "pretrained"]


def drawn(init: Init, layer: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    init.draw(layer)
    return layer


def weight(init: Init, out: int = 200, inputs: int = 300) -> Tensor:
    layer = drawn(init, nn.Linear(inputs, out))
    assert isinstance(layer, nn.Linear)
    return layer.weight.detach()


@pytest.mark.parametrize(
    ("init", "std", "largest"),
    [
        (Default(), 1 / math.sqrt(3 * 300), 1 / math.sqrt(300)),
        (KaimingNormal(), math.sqrt(2 / 300), None),
        (KaimingUniform(), math.sqrt(2 / 300), math.sqrt(6 / 300)),
        (XavierNormal(), math.sqrt(2 / 500), None),
        (XavierUniform(), math.sqrt(2 / 500), math.sqrt(6 / 500)),
        (SignedConstant(), math.sqrt(2 / 300), math.sqrt(2 / 300)),
    ],
)
def test_spread(init: Init, std: float, largest: float | None) -> None:
    """60,000 draws: the standard deviation is known to 0.3%."""
    found = weight(init)
    assert found.std().item() == pytest.approx(std, rel=0.015)
    assert abs(found.mean().item()) < 0.02 * std
    if largest is None:
        assert found.abs().max().item() > 3.5 * std
    else:
        assert found.abs().max().item() == pytest.approx(largest, rel=0.001)


def test_signed_constant_has_the_signs_of_kaiming_normal_and_one_magnitude() -> None:
    found = weight(SignedConstant())
    assert torch.equal(found.sign(), weight(KaimingNormal()).sign())
    assert found.abs().unique().tolist() == [pytest.approx(math.sqrt(2 / 300))]


def test_the_fan_in_of_a_convolution_counts_its_kernel() -> None:
    layer = drawn(SignedConstant(), nn.Conv2d(4, 8, 3))
    assert isinstance(layer, nn.Conv2d)
    assert layer.weight.abs().unique().tolist() == [pytest.approx(math.sqrt(2 / 36))]


@pytest.mark.parametrize(("out", "inputs"), [(20, 30), (30, 20)])
def test_orthogonal(out: int, inputs: int) -> None:
    found = weight(Orthogonal(), out, inputs)
    product = found @ found.T if out < inputs else found.T @ found
    torch.testing.assert_close(product, 2 * torch.eye(20), atol=1e-5, rtol=0)
    layer = drawn(Orthogonal(), nn.Conv2d(4, 8, 3))
    assert isinstance(layer, nn.Conv2d)
    rows = layer.weight.detach().flatten(1)
    torch.testing.assert_close(rows @ rows.T, 2 * torch.eye(8), atol=1e-5, rtol=0)


@pytest.mark.parametrize("kind", DRAWN)
def test_biases_are_zero_but_by_default_and_other_layers_reset(kind: str) -> None:
    layer = drawn(INITS[kind](), nn.Conv2d(2, 5, 3))
    assert isinstance(layer, nn.Conv2d)
    assert layer.bias is not None
    assert bool((layer.bias == 0).all()) == (kind != "default")
    norm = nn.BatchNorm2d(3)
    with torch.no_grad():
        norm.weight.fill_(7)
        norm.running_mean.fill_(7)  # type: ignore[union-attr]
    drawn(INITS[kind](), norm)
    assert norm.weight.tolist() == [1, 1, 1]
    assert norm.running_mean.tolist() == [0, 0, 0]  # type: ignore[union-attr]


@pytest.mark.parametrize("kind", DRAWN)
def test_a_layers_draw_depends_on_its_name_and_the_seed_alone(kind: str, tmp_path: Path) -> None:
    def initial(hidden: tuple[int, ...], seed: int, *purpose: str) -> dict[str, Tensor]:
        trial = TrialConfig(model=Mlp(hidden), init=INITS[kind]())
        return States(trial, Store(tmp_path), Runtime()).initial(seed, *purpose).model

    small, large = initial((16, 16), 0), initial((16, 16, 16), 0)
    for name in ("fc1.weight", "fc1.bias", "fc2.weight"):
        assert torch.equal(small[name], large[name])
    assert not torch.equal(small["fc1.weight"], initial((16, 16), 1)["fc1.weight"])
    assert not torch.equal(small["fc1.weight"], initial((16, 16), 0, "reinit")["fc1.weight"])
    assert not torch.equal(large["fc2.weight"], large["fc3.weight"])


def test_scaling_is_by_the_share_that_is_kept() -> None:
    """A quarter is kept, so the weights double; biases stay."""
    state = State({"a.weight": torch.ones(2, 4), "a.bias": torch.ones(2)}, {})
    mask = torch.tensor([[True, False, False, False], [True, False, False, False]])
    scaled = replace(state, masks=Masks({"a.weight": mask}, {"a.bias": torch.tensor([True, False])})).scaled()
    assert scaled.model["a.weight"].tolist() == [[2.0] * 4] * 2
    assert scaled.model["a.bias"].tolist() == [1.0, 1.0]


@pytest.mark.parametrize("init", [KaimingNormal(), SignedConstant()])
def test_scaling_is_of_tickets_and_leaves_the_dense_run_shared(init: Init, tmp_path: Path) -> None:
    plain = States(TrialConfig(init=init), Store(tmp_path), Runtime())
    scaling = States(TrialConfig(init=replace(init, scaled=True)), Store(tmp_path), Runtime())  # type: ignore[type-var]
    assert plain.tree.dense(0).digest == scaling.tree.dense(0).digest
    masks = Masks({name: torch.rand(mask.shape) < 0.25 for name, mask in plain.network.full.tensors.items()})
    one, other = (lab.tree.branch(lab.tree.dense(0), 0, masks) for lab in (plain, scaling))
    assert one.digest != other.digest
    factor = math.sqrt(masks["fc1.weight"].numel() / masks.kept["fc1.weight"])
    assert 1.9 < factor < 2.1
    [unscaled], [scaled] = plain.at([one], 0), scaling.at([other], 0)
    torch.testing.assert_close(scaled.state.model["fc1.weight"], unscaled.state.model["fc1.weight"] * factor)
