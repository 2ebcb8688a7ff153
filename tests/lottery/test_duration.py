import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lth_sweep.lottery.common.duration import Clock, Duration
from lth_sweep.lottery.common.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        ("600 steps", 600),
        ("1 step", 1),
        ("2 epochs", 38),
        ("1.5 epochs", 29),
        ("0.5epochs", 10),
        ("20%", 200),
        (" 0 steps ", 0),
    ],
)
def test_a_duration_becomes_steps(text: str, steps: int) -> None:
    assert Clock(per_epoch=19, length=1000).steps(Duration.parse(text)) == steps


@pytest.mark.parametrize(
    "text", ["", "600", "steps", "-1 steps", "1.5 steps", "101%", "6 parsecs", "1e3 steps", "nan%"]
)
def test_what_is_not_a_duration_is_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        Duration.parse(text)


def test_a_share_needs_a_length() -> None:
    with pytest.raises(ConfigError, match="no length"):
        Duration.parse("20%").to_steps(10)


@given(st.integers(0, 10**9), st.sampled_from(["steps", "epochs"]))
def test_text_and_back(amount: int, unit: str) -> None:
    duration = Duration.parse(f"{amount} {unit}")
    assert duration.amount == amount
    if amount < 10**6:
        assert Duration.parse(str(duration)) == duration


@given(st.text(max_size=12))
def test_any_text_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(ConfigError):
        assert Duration.parse(text).amount >= 0
