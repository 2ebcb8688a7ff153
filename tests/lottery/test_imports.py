"""The core runs on a machine that has torch, numpy and safetensors and nothing else that this package depends on."""

import subprocess
import sys

PROGRAM = """
import sys
for name in (
    "mlflow", "obstore", "optuna", "pandas", "pooch", "pyarrow", "pydantic", "ray", "requests", "rich", "sklearn",
    "yaml",
):
    sys.modules[name] = None
import lth_sweep.lottery.loop
print("imported")
"""


def test_the_core_imports_without_everything_else() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("imported\n", "")
