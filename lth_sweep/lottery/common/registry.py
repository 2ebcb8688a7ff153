"""A name, or "package.module:Name", to a class.

A strategy is its own configuration: a frozen dataclass whose fields are its options and whose methods do the work.
Each family (criteria, rewinds, ...) is a base class and a dict from short names to its classes, so adding a member is
one class and one line. A class from outside needs only its import path.
"""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from lth_sweep.lottery.common.errors import ConfigError, unknown
from lth_sweep.lottery.common.user_code import guarded, import_object, source_digest


@dataclass(frozen=True)
class Imported:
    """Part of a strategy that is `Name(**options)` of the user's module, where that is no strategy itself."""

    family: ClassVar[str]
    path: str
    options: str = "{}"
    """Canonical JSON."""

    @property
    def kind(self) -> str:
        return self.path

    def identity(self) -> dict[str, Any]:
        return {"kind": self.path, "options": json.loads(self.options)}

    def make(self) -> Any:
        """What the user's class or function makes; ConfigError where it fails."""
        with guarded(self.path, f"making the {self.family}"):
            return import_object(self.path)(**json.loads(self.options))

    @classmethod
    def of(cls, path: str, found: Any, options: Mapping[str, Any]) -> Self:
        """Raises ConfigError where `found` cannot be used so, or the options are none that it takes."""
        raise NotImplementedError


class Strategy:
    """Base of all families. A family's base class sets `family` and `kinds`; its members are frozen dataclasses."""

    family: ClassVar[str] = "strategy"
    kinds: ClassVar[Mapping[str, type]] = {}
    imported: ClassVar[type[Imported] | None] = None
    """The member that an object from outside becomes which is none itself, in families that take such."""

    @property
    def kind(self) -> str:
        """The short name, or the import path of a class from outside."""
        for name, member in self.kinds.items():
            if type(self) is member:
                return name
        return f"{type(self).__module__}:{type(self).__qualname__}"

    @property
    def is_known(self) -> bool:
        """Whether it is one of this package."""
        return type(self) in self.kinds.values()

    @classmethod
    def adopt(cls, path: str, found: Any, options: Mapping[str, Any]) -> Any:
        """Make a member of this family from a class or a function outside it, with its options."""
        if cls.imported is None:
            raise ConfigError(f"{path!r} is no {cls.family}: it must be a subclass of {cls.__module__}:{cls.__name__}")
        return cls.imported.of(path, found, options)

    def check_trial(self, trial: Any) -> None:
        """Raise ConfigError where other parts of the trial, a `TrialConfig`, do not go with this one."""

    def identity(self) -> Any:
        """What of this strategy determines a result, as JSON: its kind and its fields. A digest is of its source, too,
        where it is from outside."""
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}  # type: ignore[arg-type]
        return {"kind": self.kind, **fields}


def find(family: type[Strategy], kind: str) -> Any:
    """The class that `kind` names in `family`.

    Raises ConfigError for a name that is not known and for an import path that does not lead to a class.
    """
    if ":" in kind:
        found = import_object(kind)
        source_digest(kind)  # as it is now
        return found
    if kind not in family.kinds:
        message = unknown(family.family, kind, family.kinds)
        raise ConfigError(f'{message} (or "package.module:Name" for a class of your own)')
    return family.kinds[kind]
