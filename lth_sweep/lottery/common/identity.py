"""Canonical JSON, and digests of it: what determines a result, and nothing else."""

import dataclasses
import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from lth_sweep.lottery.common.duration import Clock, Duration
from lth_sweep.lottery.common.registry import Strategy
from lth_sweep.lottery.common.user_code import source_digest

VERSION = 1
"""Goes into every digest; raised when the same configuration comes to mean another computation."""


def canonical(value: Any, clock: Clock | None = None, source: bool = False) -> Any:
    """`value` as plain JSON in which only what matters differs, with `source` also of what its own code says, where it
    or a part of it is a strategy from outside.

    Fields are sorted by name and defaults are written out; 1 and 1.0 are the same number; with a clock, durations are
    steps, so that "1 epoch" equals the number of steps that it is.
    """
    if isinstance(value, Duration):
        return clock.steps(value) if clock else str(value)
    if isinstance(value, Strategy):
        code = source_digest(value.kind) if source and ":" in value.kind else None
        return canonical(value.identity(), clock, source) | ({"source code": code} if code else {})
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: canonical(getattr(value, field.name), clock, source) for field in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {str(key): canonical(item, clock, source) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [canonical(item, clock, source) for item in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"no canonical form for {type(value).__name__}")


def digest(value: Any, clock: Clock | None = None) -> str:
    """32 hexadecimal digits that stand for `value`."""
    text = json.dumps([VERSION, canonical(value, clock, source=True)], sort_keys=True, separators=(",", ":"))
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def derive(seed: int, *purpose: str | int) -> int:
    """A seed for one purpose, such as (seed, "order", epoch): independent of all others, and of what ran before."""
    text = json.dumps([seed, *purpose]).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big") >> 1


def plain(value: Any) -> Any:
    """A result as JSON knows it: mappings, dataclasses and named tuples as dicts, sequences as lists, at any depth, NaN
    and infinity as None. Fields whose metadata say {"json": False} are left out."""
    if dataclasses.is_dataclass(value):
        fields = [field.name for field in dataclasses.fields(value) if field.metadata.get("json", True)]
        return {name: plain(getattr(value, name)) for name in fields}
    if hasattr(value, "_asdict"):
        return plain(value._asdict())
    if isinstance(value, Mapping):
        return {name: plain(part) for name, part in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [plain(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
