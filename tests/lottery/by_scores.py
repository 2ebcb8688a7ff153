"""Pruning by scores that are given."""

from collections.abc import Mapping

from torch import Tensor

from lth_sweep.lottery.network.masks import Masks
from lth_sweep.lottery.network.structure import Network
from lth_sweep.lottery.pruning.granularity import Granularity
from lth_sweep.lottery.pruning.selection import Scope, pools_of_rate, remove


def prune(
    scores: Mapping[str, Tensor],
    masks: Masks,
    network: Network,
    granularity: Granularity,
    scope: Scope,
    rate: float,
    layer_rates: dict[str, float],
) -> Masks:
    """Remove the share `rate` of the items that are left, lowest scores first."""
    pools = pools_of_rate(rate, masks, network, granularity, scope, layer_rates)
    return remove(lambda _: scores, masks, network, granularity, pools)
