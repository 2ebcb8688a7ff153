"""Choosing masks: the lowest scores go, as many as the pools say."""

from collections.abc import Sequence
from dataclasses import replace

from lth_sweep.lottery.network.masks import Masks
from lth_sweep.lottery.pruning.criteria import Criterion
from lth_sweep.lottery.pruning.granularity import Granularity
from lth_sweep.lottery.pruning.selection import Pool, remove, scored
from lth_sweep.lottery.pruning.view import View


def prune(view: View, pools: Sequence[Pool], criterion: Criterion, granularity: Granularity) -> Masks:
    """The masks that are left of the view's when of each pool as many items are gone as it says."""
    view = replace(view, layers=scored(pools, granularity, view.network))
    return remove(
        lambda left: criterion.scores(replace(view, masks=left)),
        view.masks, view.network, granularity, pools, criterion.rounds,
    )  # fmt: skip
