"""What eight small sweeps find, recorded before the code is changed and compared with what they find afterwards.

    python benchmarks/regression.py record FILE.json.gz
    python benchmarks/regression.py compare FILE.json.gz                      equal bit by bit, on the same kind of CPU
    python benchmarks/regression.py compare FILE.json.gz --tolerance 0.05     on another one

The sweeps are those of regression/*.yaml. They are run by the command line alone, with the lth_sweep of the working
folder or else the installed one, and read from their files: no module of the package is named but that of the commands.
Kept is all that was found: recipes, levels and seeds, curves, steps, endings, pairs on test data, the answer. Left out
is what it cost, when and where; digests are numbered in the order in which they come. The recording of this repository
is data/regression.json.gz. Exit code 1 if anything differs.
"""

import argparse
import gzip
import json
import math
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

SWEEPS = Path(__file__).with_suffix("")
EXACT = {"density", "layer_density", "effective_density", "cut_units", "dead_units", "rare_units", "constant", "sizes",
         "picks", "value", "bound"}  # fmt: skip
"""Numbers with a point that are counts, densities or options all the same: never compared with the tolerance."""


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("action", choices=["record", "compare"])
    parser.add_argument("file", type=Path, metavar="FILE.json.gz")
    parser.add_argument("--tolerance", type=float, default=0.0, help="by which measured numbers may differ (default 0)")
    parser.add_argument("--only", choices=sorted(spec.stem for spec in SWEEPS.glob("*.yaml")), help="one sweep")
    parser.add_argument("--show", type=int, default=20, metavar="N", help="print the first N differences (default 20)")
    arguments = parser.parse_args()
    specs = [spec for spec in sorted(SWEEPS.glob("*.yaml")) if arguments.only in (None, spec.stem)]
    kept = {} if arguments.action == "record" else json.loads(gzip.decompress(arguments.file.read_bytes()))
    found = {}
    for spec in specs:
        started = time.monotonic()
        found[spec.stem] = sweep(spec)
        print(f"{spec.stem}: {len(found[spec.stem]['trials'])} trials, {time.monotonic() - started:.1f} s", flush=True)
    if arguments.action == "record":
        text = json.dumps(found, separators=(",", ":"))
        arguments.file.write_bytes(gzip.compress(text.encode(), compresslevel=9, mtime=0))
        print(f"{arguments.file}: {arguments.file.stat().st_size:,} bytes")
        return 0
    kept = {name: one for name, one in kept.items() if arguments.only in (None, name)}
    differing = list(differences(kept, found, arguments.tolerance))
    print(*differing[: arguments.show], f"differences: {len(differing)}", sep="\n")
    return 1 if differing else 0


def sweep(spec: Path) -> dict[str, Any]:
    """Run a sweep in a temporary folder, and collect what it has found."""
    with tempfile.TemporaryDirectory() as runs:
        done = command("run", str(spec), "--serial", "--runs", runs)
        if done.returncode != 0:
            raise SystemExit(f"{spec.name} ended with exit code {done.returncode}:\n{done.stderr[-3000:]}")
        [folder] = [path.parent for path in Path(runs).glob("*/records")]
        best = command("best", folder.name, "--json", "--runs", runs)
        names: dict[str, str] = {}
        return {
            "trials": [trial(path, names) for path in sorted((folder / "records").glob("*.jsonl"))],
            "verification": verification(folder / "verification.json"),
            "best": {"exit code": best.returncode, "answer": costless(json.loads(best.stdout))},
        }


def command(*words: str) -> subprocess.CompletedProcess[str]:
    own = {name: value for name, value in os.environ.items() if not name.startswith(("LTH_SWEEP", "MLFLOW"))}
    return subprocess.run(
        [sys.executable, "-m", "lth_sweep.cli", *words],
        capture_output=True, text=True, check=False, env={**own, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
    )  # fmt: skip


def trial(path: Path, names: dict[str, str]) -> dict[str, Any]:
    """A trial's file: of a level that was written twice, as it got more seeds, the last counts."""
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    levels = {line["level"][0]["level"]: line["level"] for line in lines if "level" in line}
    ends = [line for line in lines if "ending" in line]
    return {
        "number": lines[0]["number"],
        "picks": lines[0]["picks"],
        "levels": [[costless(record, names) for record in level] for level in levels.values()],
        "levels written": [[line["level"][0]["level"], len(line["level"])] for line in lines if "level" in line],
        "ends": [{key: end.get(key) for key in ("ending", "outcome", "reason", "steps_saved")} for end in ends],
        "faults": [line["fault"] for line in lines if "fault" in line],
    }


def verification(file: Path) -> list[Any]:
    """What was found out about each candidate. Their keys are digests, so they come in the order of their contents."""
    content = json.loads(file.read_text()) if file.exists() else {"candidates": {}}
    return sorted((costless(one) for one in content["candidates"].values()), key=json.dumps)


def costless(value: Any, names: dict[str, str] | None = None) -> Any:
    """Without seconds and memory; of a latency whether it was measured; of a recipe's and a stage's digest a number."""
    if isinstance(value, list):
        return [costless(one, names) for one in value]
    if not isinstance(value, dict):
        return value
    kept = {key: costless(one, names) for key, one in value.items() if key not in ("seconds", "memory")}
    if kept.get("latency") is not None:
        kept["latency"] = "measured"
    if names is not None and "stage" in kept:
        trajectory, _, step = kept["stage"].partition("/")
        kept["trial"] = names.setdefault(kept["trial"], f"#{len(names)}")
        kept["stage"] = f"{names.setdefault(trajectory, f'#{len(names)}')}/{step}"
    return kept


def differences(old: Any, new: Any, tolerance: float, path: tuple[str, ...] = ()) -> Iterator[str]:
    """A line for each place where the two differ. NaN is equal to NaN."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in [*old, *(key for key in new if key not in old)]:
            inner = (*path, key)
            if key not in old or key not in new:
                yield f"{'.'.join(inner)}: only in the {'recording' if key in old else 'new results'}"
            else:
                yield from differences(old[key], new[key], tolerance, inner)
    elif isinstance(old, list) and isinstance(new, list):
        if len(old) != len(new):
            yield f"{'.'.join(path)}: {len(old)} -> {len(new)} entries"
        for index, (before, after) in enumerate(zip(old, new, strict=False)):
            yield from differences(before, after, tolerance, (*path, str(index)))
    elif not equal(old, new, 0.0 if EXACT.intersection(path) else tolerance):
        yield f"{'.'.join(path)}: {old!r} -> {new!r}"


def equal(old: Any, new: Any, tolerance: float) -> bool:
    """Only numbers with a point may differ, also those within words."""
    if isinstance(old, float) and isinstance(new, float):
        return old == new or (math.isnan(old) and math.isnan(new)) or abs(old - new) <= tolerance
    if isinstance(old, str) and isinstance(new, str) and tolerance:
        return re.sub(r"[-+]?\d+\.\d+", "#", old) == re.sub(r"[-+]?\d+\.\d+", "#", new)
    return type(old) is type(new) and bool(old == new)


if __name__ == "__main__":
    sys.exit(main())
