"""Which examples are trained on, which validate and which test: by a seed, evenly by class, or in whole groups."""

from collections.abc import Hashable, Mapping, Sequence

import torch
from torch import Tensor

from lth_sweep.lottery.common.errors import ConfigError, require
from lth_sweep.lottery.data.base import permutation


def shuffled(n: int, shares: Mapping[str, float], seed: int) -> dict[str, Tensor]:
    """Split -> the numbers of its examples, int64; what the shares leave is "train"."""
    counts = {name: round(n * share) for name, share in shares.items()}
    counts["train"] = n - sum(counts.values())
    for name, count in counts.items():
        require(count >= 1, name if name in shares else "", f"{n} examples leave none for the {name} split")
    return dict(zip(counts, permutation(n, seed).split(list(counts.values())), strict=True))


def stratified(labels: Tensor, shares: Mapping[str, float], seed: int) -> dict[str, Tensor]:
    """The same, with each share of each class, to the nearest example. labels: int64 [n].

    Raises ConfigError for a class with too few examples to give one to each split.
    """
    order = permutation(len(labels), seed)
    part = torch.zeros(len(labels), dtype=torch.long)
    for label in labels.unique().tolist():
        members, start = order[labels[order] == label], 0
        for number, (name, share) in enumerate(shares.items(), 1):
            count = round(len(members) * share)
            require(count >= 1, "stratify", f"class {label} has {len(members)} examples, too few for a share of "
                    f"{share:g} in the {name} split; make the share larger, or leave stratify out")  # fmt: skip
            part[members[start : start + count]] = number
            start += count
        require(start < len(members), "stratify", f"class {label} has {len(members)} examples, which leave none for "
                "the train split")  # fmt: skip
    return {name: order[part[order] == number] for number, name in enumerate(["train", *shares])}


def grouped(groups: Sequence[Hashable], shares: Mapping[str, float], seed: int) -> dict[str, Tensor]:
    """The same, with all examples of a group in one split. A share is met to within half of the largest group;
    where all that are left are more than twice as large, by the smallest of them.

    Raises ConfigError where there are too few groups.
    """
    members: dict[Hashable, list[int]] = {}
    for example, group in enumerate(groups):
        members.setdefault(group, []).append(example)
    names = list(members)
    waiting = [names[i] for i in permutation(len(names), seed).tolist()]
    require(len(names) > len(shares), "group", f"there are {len(names)} groups for {len(shares) + 1} splits, and each "
            "group must be in one split as a whole")  # fmt: skip
    found: dict[str, list[int]] = {}
    for name, share in {**shares, "train": 1.0}.items():
        if not waiting:
            raise ConfigError(f"groups are so few and so large that none is left for the {name} split", "group")
        taken = found[name] = []
        for group in list(waiting):
            if len(taken) + len(members[group]) / 2 <= len(groups) * share:
                waiting.remove(group)
                taken += members[group]
        if not taken:  # all are much larger than the share
            smallest = min(waiting, key=lambda group: len(members[group]))
            waiting.remove(smallest)
            taken += members[smallest]
    order = permutation(len(groups), seed)
    return {name: order[torch.isin(order, torch.tensor(taken))] for name, taken in found.items()}
