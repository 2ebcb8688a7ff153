"""What happens after a level of a trial is said by one object, its policy; how is a matter of the sweep file."""

from lth_sweep.search.policy.base import Go, Policy, Stop, Wait, is_last
from lth_sweep.search.policy.race import Race
from lth_sweep.sweepfile import spec
from lth_sweep.sweepfile.objective import Objective
from lth_sweep.sweepfile.stopping import Constant, Diverged, Hopeless, Patience, StopRule

__all__ = ["Go", "Policy", "Stop", "Wait", "is_last", "policy_of"]


def policy_of(stop: spec.Stop, objective: Objective) -> Policy:
    """That of a sweep file's two sections."""
    rules: list[StopRule] = [Diverged(), Constant()]
    if stop.patience is not None:
        rules.append(Patience(stop.patience))
    if stop.hopeless:
        rules.append(Hopeless())
    rules += stop.rules
    return Policy(rules, objective) if stop.race is None else Race(rules, objective, stop.race)
