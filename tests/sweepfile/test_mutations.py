"""However a sweep file is damaged: it is read, or refused with a SpecError; nothing else is raised."""

import random
import tempfile
from collections.abc import Callable
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lth_sweep.sweepfile.load import load_spec
from lth_sweep.sweepfile.mistakes import SpecError
from lth_sweep.sweepfile.spec import SweepSpec

QUICKSTART = (Path(__file__).parents[2] / "sweeps" / "quickstart.yaml").read_text()
WORDS = sorted({word for word in QUICKSTART.replace(",", " ").replace(":", " ").split() if len(word) > 1})
VALUES = [
    "", "~", "null", "true", "on", "0", "-1", "1e-3", "1e400", ".inf", ".nan", "9" * 30, "010", "1:30", "2024-01-01",
    "''", "'3'", "[]", "{}", "[1, a]", "{kind: step}", "{kind: }", "{choice: [a, a]}", "{between: [1, 1]}", "&a", "*a",
    "!!python/name:os.system ", "!!binary eA==", "os:system", "builtins:exit", ":", "a:", ":b", "..x:y", "50 steps",
    "20%", "0 epochs", "sgd", "unit", "lenet-300-100", "crop-flip", '"\\ud800"', "|", ">", "---", "...", "? ", "- ",
    "%", "\t", "\x00", "\x85", "\u2028", "\ufeff", "@", "`",
]  # fmt: skip


def replace_value(random: random.Random, lines: list[str]) -> None:
    at = random.randrange(len(lines))
    key, colon, _ = lines[at].partition(":")
    lines[at] = f"{key}{colon} {random.choice(VALUES)}"


def replace_word(random: random.Random, lines: list[str]) -> None:
    at = random.randrange(len(lines))
    lines[at] = lines[at].replace(random.choice(WORDS), random.choice(WORDS + VALUES))


def move_line(random: random.Random, lines: list[str]) -> None:
    line = random.choice(lines)
    if random.random() < 0.7:
        lines.remove(line)
    if random.random() < 0.5 or not lines:
        lines.insert(random.randrange(len(lines) + 1), line)


def indent(random: random.Random, lines: list[str]) -> None:
    at = random.randrange(len(lines))
    lines[at] = random.choice(["", " ", "  ", "\t", "      "]) + lines[at].lstrip(" " if random.random() < 0.5 else "")


def change_character(random: random.Random, lines: list[str]) -> None:
    at = random.randrange(len(lines))
    place = random.randrange(len(lines[at]) + 1)
    new = random.choice(["", *"[]{},:-#&*!|>'\"%@ 0159eE.\n", *random.choice(VALUES)])
    lines[at] = lines[at][:place] + new + lines[at][place + random.randrange(2) :]


MUTATIONS: list[Callable[[random.Random, list[str]], None]] = [
    replace_value, replace_word, move_line, indent, change_character,
]  # fmt: skip


def load_or_refuse(content: bytes) -> SweepSpec | None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "sweep.yaml"
        file.write_bytes(content)
        try:
            return load_spec(file)
        except SpecError as error:
            refusal = error
        assert str(refusal).startswith(str(file))
        assert refusal.message
        assert str(refusal).encode()
        assert [path.name for path in Path(folder).iterdir()] == ["sweep.yaml"]
        return None


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.randoms(use_true_random=False), st.lists(st.sampled_from(MUTATIONS), min_size=1, max_size=4))
def test_damaged_text(random: random.Random, mutations: list[Callable[[random.Random, list[str]], None]]) -> None:
    lines = QUICKSTART.splitlines()
    for mutate in mutations:
        if lines:
            mutate(random, lines)
    spec = load_or_refuse("\n".join(lines).encode())
    if spec is not None:
        assert spec.space
        assert spec.name


@settings(max_examples=100, deadline=None)
@given(st.integers(0, len(QUICKSTART.encode())), st.binary(max_size=3), st.integers(0, 3))
def test_damaged_bytes(at: int, new: bytes, removed: int) -> None:
    content = QUICKSTART.encode()
    load_or_refuse(content[:at] + new + content[at + removed :])


def test_undamaged_text_is_read() -> None:
    assert load_or_refuse(QUICKSTART.encode()) is not None
