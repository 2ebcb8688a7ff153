"""What a ticket is compared with: the same masks with other weights, and other masks of the same density."""

import time
from typing import Literal

from lth_sweep.lottery.common.errors import ConfigError
from lth_sweep.lottery.loop import measure
from lth_sweep.lottery.network.masks import Masks
from lth_sweep.lottery.network.structure import Network
from lth_sweep.lottery.pruning.criteria import noise
from lth_sweep.lottery.pruning.granularity import Granularity, Unit, Weight
from lth_sweep.lottery.pruning.selection import Pool, remove
from lth_sweep.lottery.recipe.methods import EdgePopup
from lth_sweep.lottery.recipe.rewinding import Reinit, Rewind, Scratch, ToInit, ToStep
from lth_sweep.lottery.recipe.trial import Runtime, TrialConfig
from lth_sweep.lottery.records import LevelRecord
from lth_sweep.lottery.runs.stages import Stages
from lth_sweep.lottery.runs.trajectory import Lab, Rung, stored_masks

Control = Literal["reinit", "scratch", "shuffle", "random"]
"""reinit: the same masks, another draw of the initial weights. scratch: where whole units are gone, the smaller network
with initial weights of its own, drawn for its own fan-in. shuffle: other masks, in which each layer has lost as
many items (weights or units) as the ticket's. random: other masks, in which each layer keeps as many single weights,
whatever the granularity; where that is single weights, the same as shuffle."""


class NoControl(ConfigError):
    """There is no such control of this ticket."""


def check_control(trial: TrialConfig, kind: Control) -> None:
    """Raise NoControl where a trial's tickets have no control of this kind."""
    if isinstance(trial.method, EdgePopup):
        raise NoControl("method edge-popup has no controls: they train weights, and it does not", "method")
    if kind == "scratch" and not isinstance(trial.granularity, Unit):
        raise NoControl("the control scratch trains the smaller network that is left when whole units go, but with "
                        f"granularity {trial.granularity.kind} the network keeps its shape", "granularity")  # fmt: skip


def control(trial: TrialConfig, store: Stages, runtime: Runtime, ticket: LevelRecord, kind: Control) -> LevelRecord:
    """Train a control of a ticket that this trial has found, to the end, and measure it; level and seed are its own.

    Other masks start from where the trial's rewind rule starts; from w_k, or w_0 after fine-tuning, if that is the
    trained weights, which belong to the ticket's masks. Raises NoControl for a supermask, whose weights are never
    trained, and for scratch where there is no smaller network; ConfigError for the dense network, and for a ticket that
    the store no longer has.
    """
    check_control(trial, kind)
    stage = store.load(*ticket.place)
    if stage is None:
        raise ConfigError(f"level {ticket.level}, seed {ticket.seed} is not in the store any more; run its trial again")
    masks = stored_masks(stage)
    if not masks.tensors:
        raise ConfigError(f"level {ticket.level} is the dense network, and there are no controls of that")

    lab = Lab(trial, store, runtime)
    rule: Rewind = trial.rewind
    if kind == "reinit":
        rule = Reinit()
    elif kind == "scratch":
        rule = Scratch()
        try:
            lab.smaller(masks)
        except ConfigError as error:
            raise NoControl(error.message, error.path) from error
    else:
        granularity = trial.granularity if kind == "shuffle" else Weight()
        masks = other_masks(masks, lab.network, granularity, ticket.seed)
        if rule.keeps_weights:
            rule = ToInit() if rule.tail(lab.clock) else ToStep(rule.at)  # type: ignore[attr-defined]
    dense = lab.dense(ticket.seed)
    path = lab.branch(dense, rule.step(lab.clock), masks, rule)
    started, before = time.monotonic(), lab.trained[ticket.seed]
    [trained] = lab.reach([path], lab.end(path))
    seconds = time.monotonic() - started
    return measure(lab, ticket.level, Rung(path, masks), trained, lab.end(path), before, seconds)


def other_masks(masks: Masks, network: Network, granularity: Granularity, seed: int) -> Masks:
    """Masks drawn at random, from a stream of the seed and `masks`, without as many items in each layer."""
    left, whole = granularity.left(masks, network), granularity.left(network.full, network)
    pools = [Pool((name,), whole[name], whole[name] - left[name]) for name in whole]
    scores = {layer: noise(masks[f"{layer}.weight"], seed, "control", masks.digest, layer) for layer in network.layers}
    return remove(lambda _: scores, network.full, network, granularity, pools)
