"""Classes and functions from the user's own modules: their options checked, their calls guarded, their source known."""

import hashlib
import inspect
import json
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from lth_sweep.lottery.common.errors import ConfigError, unknown
from lth_sweep.lottery.common.registry import import_object

NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


def check_options(path: str, found: Callable[..., Any], options: Mapping[str, Any],
                  reserved: tuple[str, ...] = ()) -> str:  # fmt: skip
    """The options as canonical JSON (a frozen dataclass can hold that, and be hashed). `reserved`: further names,
    which the caller has taken out of the options, for the message.

    Raises ConfigError for an option that `found` does not have, one that it needs, and one that is not plain data.
    """
    parameters = signature(path, found)
    if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        names = [name for name, parameter in parameters.items() if parameter.kind in NAMED]
        for option in options:
            if option not in names:
                allowed = [*names, *reserved]
                raise ConfigError(f"{path}: {unknown('option', option, allowed)}" if allowed else
                                  f"{path}: unknown option {option!r}; it takes no options", option)  # fmt: skip
    for name, parameter in parameters.items():
        optional = parameter.default is not parameter.empty or parameter.kind in (
            parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)  # fmt: skip
        if not optional and name not in options:
            raise ConfigError(f"{path} needs the option {name!r}, which is not given", name)
    for option, value in options.items():
        try:
            json.dumps(value, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise ConfigError(f"{path}: must be a number, text, true, false, null, a list or a mapping of those, "
                              f"but got {value!r}", option) from error  # fmt: skip
    return json.dumps(dict(options), sort_keys=True)


def signature(path: str, found: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    try:
        return inspect.signature(found).parameters
    except (TypeError, ValueError) as error:
        raise ConfigError(f"cannot tell which options {path} takes: {error}; wrap it in a function of yours") from error


@contextmanager
def guarded(path: str, doing: str) -> Iterator[None]:
    """Turn whatever the user's code raises into a ConfigError that says where it happened."""
    try:
        yield
    except ConfigError:
        raise
    except (Exception, SystemExit) as error:  # the user's code, which may fail in any way
        frames = traceback.extract_tb(error.__traceback__)
        file = getattr(sys.modules.get(path.partition(":")[0]), "__file__", None)
        frame = ([frame for frame in frames if frame.filename == file] or frames)[-1]
        raise ConfigError(f"{path}: {doing} raised {type(error).__name__}: {error} "
                          f"({frame.filename}, line {frame.lineno})") from error  # fmt: skip


@cache
def source_digest(path: str) -> str | None:
    """Of the source file that defines the object at `path`, as it was at the first call in this process, which is when
    the module was imported; None for what has no source. Modules that the file itself imports are not part of it."""
    found = import_object(path)
    file = getattr(sys.modules.get(getattr(found, "__module__", "")), "__file__", None)
    if file is None or not Path(file).is_file():
        return None
    return hashlib.blake2b(Path(file).read_bytes(), digest_size=16).hexdigest()
