"""The table of all levels as CSV, which the MLflow UI shows: a row per trial, level and seed."""

import csv
import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from lth_sweep.tracking.metrics import COSTS

if TYPE_CHECKING:
    from lth_sweep.lottery.records import Level


def levels_csv(trials: Mapping[int, Sequence["Level"]]) -> str:
    rows = [{"trial": trial, "level": record.level, "seed": record.seed, "density": record.density,
             **record.metrics, **record.sizes, **{name: getattr(record, name) for name in COSTS}}
            for trial, levels in sorted(trials.items()) for level in levels for record in level]  # fmt: skip
    out = io.StringIO()
    writer = csv.DictWriter(out, list(dict.fromkeys(column for row in rows for column in row)), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()
