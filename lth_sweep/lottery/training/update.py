"""From a batch to the weights that the next step starts from: gradients, the optimizer, masks."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from lth_sweep.lottery.data.batch import mapped
from lth_sweep.lottery.network.state import State
from lth_sweep.lottery.training.groups import grouped
from lth_sweep.lottery.training.lanes import One, Stack
from lth_sweep.lottery.training.mask_rules import MaskRule
from lth_sweep.lottery.training.optimizers import go_on, kept
from lth_sweep.lottery.training.train import Train

COUNT = "averaged"
"""In a state's numbers: the steps that its average is of."""
SCALE, GROWTH = "loss_scale", "loss_scale_steps"
"""The factor on the losses in float16, and the steps since it has changed (torch.amp.GradScaler)."""


class Update:
    """Of the replicas of one call, which go on from their states."""

    def __init__(self, recipe: Train, lanes: One | Stack, device: torch.device) -> None:
        self._recipe, self._lanes, self._device = recipe, lanes, device
        self._parameters = list(lanes.parameters.values())
        groups = grouped(lanes.module, lanes.parameters, recipe.lr_factors, recipe.decay)
        self._optimizer = recipe.optimizer.make(
            [{"params": some} for some in groups.values()] if len(groups) > 1 else self._parameters
        )
        for group, (_, decays) in zip(self._optimizer.param_groups, groups, strict=True):
            if not decays:
                group["weight_decay"] = 0.0
        go_on(self._optimizer, {tensor: lanes.optimizer_state(name) for name, tensor in lanes.parameters.items()})
        self._lr_factors = [factor for factor, _ in groups]
        self._rate = math.nan
        # Of a single loss without a factor autograd knows the gradient, 1, sooner than it checks one that it is given.
        alone = not lanes.shape and recipe.precision != "float16"
        self._one = None if alone else torch.ones(lanes.shape, device=device)
        self._averages = lanes.averages()
        self._count = int(lanes.numbers.get(COUNT, 0))
        self._scaler = torch.amp.GradScaler(device.type, enabled=recipe.precision == "float16")
        if self._scaler.is_enabled():
            # Fused SGD that is told to skip its first step goes on from a momentum that was never set (PyTorch 2.13).
            self._optimizer._step_supports_amp_scaling = False  # type: ignore[attr-defined]
        if SCALE in lanes.numbers:
            scale: dict[str, Any] = {"scale": lanes.numbers[SCALE], "_growth_tracker": int(lanes.numbers[GROWTH])}
            self._scaler.load_state_dict(self._scaler.state_dict() | scale)
        self._set_masks(lanes.masked())
        self._mask()

    def gradients(self, x: Any, y: Any) -> Tensor:
        """Of a batch, which parameters then have in `grad`. The losses, one for each replica."""
        count, dim = self._recipe.accumulate, len(self._lanes.shape)
        if count == 1:
            return self._gradients(x, y, self._one)
        parts = list(_parts(x, y, count, dim))
        weights = torch.stack([self._lanes.weight(part) for _, part in parts])
        shares = (weights / weights.sum(0).clamp(min=1e-12)).to(self._device, torch.float32)
        return torch.stack([self._gradients(*part, share) * share
                            for part, share in zip(parts, shares, strict=True)]).sum(0)  # fmt: skip

    def _gradients(self, x: Any, y: Any, share: Tensor | None) -> Tensor:
        losses = self._lanes.losses(x, y)
        losses.backward(None if share is None else self._scaler.scale(share))
        return losses.detach()

    def optimize(self, rate: float) -> None:
        """The optimizer's step, with this learning rate."""
        if rate != self._rate:
            self._rate = rate
            for group, factor in zip(self._optimizer.param_groups, self._lr_factors, strict=True):
                group["lr"] = rate * factor
        self._scaler.unscale_(self._optimizer)  # rules that change masks read the gradients, too
        if self._recipe.clip_norm is not None:
            self._clip(self._recipe.clip_norm)
        with nullcontext() if self._recipe.optimizer.by_entry else self._whole_parameters():
            self._scaler.step(self._optimizer)
        self._scaler.update()

    @contextmanager
    def _whole_parameters(self) -> Iterator[None]:
        """For an optimizer that looks at whole parameters: what is masked is not there, and it may multiply matrices,
        for which it needs float32."""
        self._forget_masked()
        masked = [(self._lanes.parameters[name], mask) for name, mask in self._masked.items()]
        gradients = [parameter.grad for parameter, _ in masked]
        for (parameter, mask), gradient in zip(masked, gradients, strict=True):
            parameter.grad = None if gradient is None else gradient * mask
        with torch.autocast(self._device.type, enabled=False):
            yield
        for (parameter, _), gradient in zip(masked, gradients, strict=True):
            parameter.grad = gradient

    def _clip(self, most: float) -> None:
        """Scale each replica's gradient so that its norm is at most this. What is masked does not count, for without it
        the network is the same; but rules that bring weights back look at its gradient, too."""
        lanes = self._lanes
        pairs = [(name, parameter.grad) for name, parameter in lanes.parameters.items() if parameter.grad is not None]
        parts = [gradient * self._masked[name] if name in self._masked else gradient for name, gradient in pairs]
        norms = torch.stack([part.reshape(*lanes.shape, -1).norm(dim=-1) for part in parts]).norm(dim=0)
        factor = (most / (norms + 1e-6)).clamp(max=1)  # as torch.nn.utils.clip_grad_norm_ has it
        for _, gradient in pairs:
            gradient.mul_(factor.view(*lanes.shape, *[1] * (gradient.ndim - len(lanes.shape))))

    def change_masks(self, rule: MaskRule, step: int, seeds: Sequence[int]) -> None:
        """Let the rule change the masks, after `step` steps. What comes back has no past."""
        self._forget_masked()
        self._set_masks(self._lanes.change_masks(rule, step, seeds))
        for name, mask in self._masked.items():
            if name in self._averages:
                self._averages[name].mul_(mask)

    def _forget_masked(self) -> None:
        """Have the optimizer keep nothing of what is masked."""
        for name, mask in self._masked.items():
            for value in self._optimizer.state[self._lanes.parameters[name]].values():
                if isinstance(value, Tensor) and value.shape == mask.shape:
                    value.mul_(mask)

    def finish(self) -> None:
        """The end of a step: no gradients, all that is masked at zero, and the average of the step's weights."""
        for parameter in self._parameters:
            parameter.grad = None
        self._mask()
        if (share := self._recipe.average.share(self._count + 1)) is not None:
            self._count += 1
            now = self._lanes.averaged()
            self._averages = self._averages or {name: tensor.clone() for name, tensor in now.items()}
            torch._foreach_lerp_(list(self._averages.values()), [now[name] for name in self._averages], share)

    def _set_masks(self, masked: dict[str, Tensor]) -> None:
        self._masked = masked
        self._weights, self._masks = [self._lanes.parameters[name].detach() for name in masked], list(masked.values())

    def _mask(self) -> None:
        if self._weights:
            torch._foreach_mul_(self._weights, self._masks)

    def modules(self) -> Iterator[nn.Module]:
        """The network of each replica in turn, as it is evaluated."""
        return self._lanes.modules(self._averages)

    def states(self) -> list[State]:
        """Of the replicas, to go on from."""
        optimizer = {name: kept(self._optimizer, tensor) for name, tensor in self._lanes.parameters.items()}
        numbers = {COUNT: float(self._count)} if self._count else {}
        if self._scaler.is_enabled():
            now = self._scaler.state_dict()
            numbers |= {SCALE: float(now["scale"]), GROWTH: float(now["_growth_tracker"])}
        return self._lanes.states(optimizer, self._averages, numbers)


def _parts(x: Any, y: Any, count: int, dim: int) -> Iterator[tuple[Any, Any]]:
    """A batch in so many, of its examples, which are that dimension."""
    for number in range(count):

        def part(tensor: Tensor, number: int = number) -> Tensor:
            return tensor.chunk(count, dim)[number]

        yield mapped(part, x), mapped(part, y)
