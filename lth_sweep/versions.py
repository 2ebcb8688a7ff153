"""The versions that what a trial does depends on."""

import platform
from functools import cache
from hashlib import blake2b
from importlib import metadata
from pathlib import Path

PACKAGES = ("torch", "numpy", "ray", "optuna", "mlflow", "pandas", "pydantic")


@cache
def versions() -> dict[str, str]:
    """Of Python, of the packages that results depend on, and of this one, with a digest of its code."""
    found = {"python": platform.python_version()} | {package: version(package) for package in PACKAGES}
    return found | {"lth_sweep": f"{version('lth-sweep')}, code {_code()}"}


def version(package: str) -> str:
    """Of an installed package."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


def _code() -> str:
    root, content = Path(__file__).parent, blake2b(digest_size=4)
    for path in sorted(root.rglob("*.py")):
        content.update(path.relative_to(root).as_posix().encode() + path.read_bytes())
    return content.hexdigest()
