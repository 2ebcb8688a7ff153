"""What a ticket is compared with: the same masks with other weights, and other masks of the same density."""

from typing import Literal

from lth_sweep.lottery.common.errors import ConfigError
from lth_sweep.lottery.network.masks import Masks
from lth_sweep.lottery.network.structure import Network
from lth_sweep.lottery.probes.measuring import Measuring
from lth_sweep.lottery.pruning.criteria import noise
from lth_sweep.lottery.pruning.granularity import Granularity, Weight
from lth_sweep.lottery.pruning.selection import Pool, remove
from lth_sweep.lottery.recipe.rewinding import Reinit, Rewind, Scratch
from lth_sweep.lottery.recipe.trial import Runtime, TrialConfig
from lth_sweep.lottery.records import LevelRecord
from lth_sweep.lottery.runs.stages import Stages
from lth_sweep.lottery.runs.states import States
from lth_sweep.lottery.ticket.ticket import Ticket

Control = Literal["reinit", "scratch", "shuffle", "random"]
"""reinit: the same masks, another draw of the initial weights. scratch: where whole units are gone, the smaller network
with initial weights of its own, drawn for its own fan-in. Both draw pretrained weights, too. shuffle: other masks, in
which each layer has lost as many items (weights or units) as the ticket's. random: other masks, in which each layer
keeps as many single weights, whatever the granularity; where that is single weights, the same as shuffle."""


class NoControl(ConfigError):
    """There is no such control of this ticket."""


def check_control(trial: TrialConfig, kind: Control) -> None:
    """Raise NoControl where a trial's tickets have no control of this kind."""
    if not trial.method.trains_weights:
        raise NoControl(f"method {trial.method.kind} has no controls: they train weights, and it does not", "method")
    if kind == "scratch" and not trial.granularity.removes_units:
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
    masks = Ticket.load(trial, ticket, store).masks
    if not masks.tensors:
        raise ConfigError(f"level {ticket.level} is the dense network, and there are no controls of that")

    states = States(trial, store, runtime)
    rule: Rewind = trial.rewind
    if kind == "reinit":
        rule = Reinit()
    elif kind == "scratch":
        rule = Scratch()
        try:
            states.smaller(masks)
        except ConfigError as error:
            raise NoControl(error.message, error.path) from error
    else:
        granularity = trial.granularity if kind == "shuffle" else Weight()
        masks = other_masks(masks, states.network, granularity, ticket.seed)
        rule = rule.for_masks()
    start = rule.start(states.clock)
    path = states.tree.branch(states.tree.dense(ticket.seed), start.at, masks, start)  # whose masks stay
    measuring = Measuring(states)
    return measuring.level(ticket.level, [path], states.at([path], path.last), path.last)[0]


def other_masks(masks: Masks, network: Network, granularity: Granularity, seed: int) -> Masks:
    """Masks drawn at random, from a stream of the seed and `masks`, without as many items in each layer."""
    left, whole = granularity.left(masks, network), granularity.left(network.full, network)
    pools = [Pool((name,), whole[name], whole[name] - left[name]) for name in whole]
    purpose = (seed, "control", masks.digest)
    scores = {layer: noise(masks[name], *purpose, layer) for layer, name in network.weights.items()}
    return remove(lambda _: scores, network.full, network, granularity, pools)
