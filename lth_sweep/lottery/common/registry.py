"""A name, or "package.module:Name", to a class.

A strategy is its own configuration: a frozen dataclass whose fields are its options and whose methods do the work.
Each family (criteria, rewinds, ...) is a base class and a dict from short names to its classes, so adding a member is
one class and one line. A class from outside needs only its import path.
"""

import dataclasses
import importlib
from collections.abc import Mapping
from typing import Any, ClassVar, Self

from lth_sweep.lottery.common.errors import ConfigError, unknown


class Strategy:
    """Base of all families. A family's base class sets `family` and `kinds`; its members are frozen dataclasses."""

    family: ClassVar[str] = "strategy"
    kinds: ClassVar[Mapping[str, type]] = {}

    @property
    def kind(self) -> str:
        """The short name, or the import path of a class from outside."""
        for name, member in self.kinds.items():
            if type(self) is member:
                return name
        return f"{type(self).__module__}:{type(self).__qualname__}"

    @classmethod
    def adopt(cls, path: str, found: Any, options: Mapping[str, Any]) -> Self:
        """Make a member of this family from a class outside it; families that allow it override this."""
        raise ConfigError(f"{path!r} is no {cls.family}: it must be a subclass of {cls.__module__}:{cls.__name__}")

    def identity(self) -> Any:
        """What of this strategy determines a result, as JSON: its kind and its fields."""
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}  # type: ignore[arg-type]
        return {"kind": self.kind, **fields}


def find(family: type[Strategy], kind: str) -> Any:
    """The class that `kind` names in `family`.

    Raises ConfigError for a name that is not known and for an import path that does not lead to a class.
    """
    if ":" in kind:
        return import_object(kind)
    if kind not in family.kinds:
        message = unknown(family.family, kind, family.kinds)
        raise ConfigError(f'{message} (or "package.module:Name" for a class of your own)')
    return family.kinds[kind]


def import_object(path: str) -> Any:
    """The object at "package.module:Name"; ConfigError says which half of the path is wrong."""
    module_name, _, name = path.partition(":")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"cannot import {path!r}: no module named {error.name!r}; "
            "it must be installed, or lie beside the sweep file"
        ) from error
    except Exception as error:  # the user's module runs at import, and may fail in any way
        raise ConfigError(f"cannot import {path!r}: {type(error).__name__}: {error}") from error
    try:
        found = getattr(module, name)
    except AttributeError:
        names = [key for key, value in vars(module).items() if isinstance(value, type) and not key.startswith("_")]
        raise ConfigError(f"module {module_name!r}: {unknown('name', name, names)}") from None
    return found
