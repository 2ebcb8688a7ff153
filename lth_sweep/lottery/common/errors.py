"""The one exception that a user's own input can cause."""

import difflib
import importlib
from collections.abc import Iterable
from typing import Any


class ConfigError(ValueError):
    """Something that the user wrote cannot be used.

    `path` names the field, dotted ("train.optimizer.lr"), relative to the object that was being built; whoever knows
    the file and the line adds them.
    """

    def __init__(self, message: str, path: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.path = path

    def under(self, prefix: str) -> "ConfigError":
        """The same error, seen from one level further out."""
        return ConfigError(self.message, ".".join(part for part in (prefix, self.path) if part))

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" if self.path else self.message


def require(condition: bool, field: str, message: str) -> None:
    """Raise ConfigError for `field` unless `condition` holds."""
    if not condition:
        raise ConfigError(message, field)


def unknown(what: str, found: str, known: Iterable[str]) -> str:
    """The message for a name that is not known: what is allowed, and the nearest spelling."""
    names = sorted(known)
    near = difflib.get_close_matches(found, names, n=1, cutoff=0.5)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return f"unknown {what} {found!r}; allowed: {', '.join(names)}{hint}"


def import_optional(module: str, package: str, what: str) -> Any:
    """A module that the core does without, but for `what`; ConfigError where its package is not installed."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise ConfigError(f"{what} needs the package {package}: pip install {package}") from error
