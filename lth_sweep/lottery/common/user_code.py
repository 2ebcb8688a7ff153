"""Classes and functions from the user's own modules, by import path: their options checked, their calls guarded, their
source known."""

import ast
import hashlib
import importlib
import inspect
import json
import sys
import sysconfig
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from importlib.machinery import PathFinder
from importlib.util import resolve_name
from itertools import accumulate
from pathlib import Path
from types import ModuleType
from typing import Any

from lth_sweep.lottery.common.errors import ConfigError, unknown

PACKAGE = __name__.partition(".")[0]
STANDARD_LIBRARY = Path(sysconfig.get_path("stdlib")).resolve()
NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


def import_object(path: str) -> Any:
    """The object at "package.module:Name"; ConfigError says which half of the path is wrong."""
    module_name, _, name = path.partition(":")
    module = _import(path)
    try:
        return getattr(module, name)
    except AttributeError:
        names = [key for key, value in vars(module).items() if isinstance(value, type) and not key.startswith("_")]
        raise ConfigError(f"module {module_name!r}: {unknown('name', name, names)}") from None


def _import(path: str) -> ModuleType:
    """The module of "package.module:Name"."""
    name = path.partition(":")[0]
    _check_no_clash(path, name.partition(".")[0])
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"cannot import {path!r}: no module named {error.name!r}; "
            "it must be installed, or lie beside the sweep file"
        ) from error
    except Exception as error:  # the user's module runs at import, and may fail in any way
        raise ConfigError(f"cannot import {path!r}: {type(error).__name__}: {error}") from error


def _check_no_clash(path: str, name: str) -> None:
    """Raise ConfigError where a file of the user's own cannot be imported, or would be by others in place of theirs, as
    a library's module has its name."""
    loaded = getattr(sys.modules.get(name), "__file__", None) if name != PACKAGE else None
    if (loaded and _is_installed(Path(loaded))) or name in sys.stdlib_module_names:
        spec = PathFinder.find_spec(name)
        if spec and spec.origin and not _is_installed(Path(spec.origin)):
            raise ConfigError(f"cannot import {path!r}: {spec.origin} has the name of a library's module, which is "
                              "found in its place; rename the file")  # fmt: skip


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
    """Of the code behind "package.module:Name": the module, the one that defines the object, and all that these import,
    directly or not, out of the folder that the module is imported from; None for what has no source file.

    Libraries and this package are no part of it, nor are comments and layout; docstrings are. It is of the code as it
    was at the first call in this process, which is when it was imported.
    """
    name, _, attribute = path.partition(":")
    module = _import(path)
    sources: dict[str, str] = {}
    for root in {name, getattr(getattr(module, attribute, None), "__module__", None) or name}:
        file = getattr(sys.modules.get(root), "__file__", None)
        if file and root.partition(".")[0] != PACKAGE and Path(file).is_file():
            sources |= _sources(root, Path(file))
    text = json.dumps(sources, sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest() if sources else None


def _sources(module: str, file: Path) -> dict[str, str]:
    """Module -> code, of this one and of what it imports out of its folder; of a library's, of this one alone."""
    folder = file.parents[module.count(".") + (file.stem == "__init__")]
    waiting: dict[str, Path | None] = {module: file}
    found: dict[str, str] = {}
    while waiting:
        name, place = waiting.popitem()
        if place is None or name in found:
            continue
        try:
            with warnings.catch_warnings(action="ignore"):  # which were there when it was imported
                tree = ast.parse(place.read_bytes())
            found[name] = ast.unparse(tree)
            imported = () if _is_installed(file) else (name, *_imports(tree, name, place.stem == "__init__"))
        except (SyntaxError, ValueError, ImportError):  # no Python, or nothing that has ever been imported
            found[name], imported = place.read_bytes().hex(), ()
        for path in imported:
            outer = accumulate(path.split("."), "{}.{}".format)  # a package is run before what lies in it
            waiting |= {each: _file(folder, each) for each in outer if path.partition(".")[0] != PACKAGE}
    return found


def _imports(tree: ast.AST, module: str, is_package: bool) -> Iterator[str]:
    """The absolute names of all that may be modules."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            package = module if is_package else module.rpartition(".")[0]
            origin = resolve_name("." * node.level + (node.module or ""), package)
            yield from (origin, *(f"{origin}.{alias.name}" for alias in node.names))


def _file(folder: Path, module: str) -> Path | None:
    place = folder.joinpath(*module.split("."))
    files = (place / "__init__.py", place.with_name(f"{place.name}.py"))
    return next((file for file in files if file.is_file()), None)


def _is_installed(file: Path) -> bool:
    """Whether a module is a library's, and not the user's own."""
    return bool({"site-packages", "dist-packages"} & {*file.parts}) or STANDARD_LIBRARY in file.resolve().parents
