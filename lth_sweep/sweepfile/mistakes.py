"""What is wrong with a sweep file: all of it at once."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from lth_sweep.lottery.common.errors import ConfigError


class ConfigErrors(ConfigError):
    """Several mistakes. The path is that of the first."""

    def __init__(self, errors: Sequence[ConfigError]) -> None:
        super().__init__("\n".join(map(str, errors)), errors[0].path)
        self.errors = tuple(errors)

    def under(self, prefix: str) -> "ConfigErrors":
        return ConfigErrors([error.under(prefix) for error in self.errors])

    def __str__(self) -> str:
        return self.message


class SpecError(ConfigError):
    """A sweep file that cannot be used. `str()` has all that people need: file, line, path, what to do."""

    def __init__(self, message: str, path: str = "", file: str = "", line: int | None = None) -> None:
        super().__init__(message, path)
        self.file = file
        self.line = line

    def __str__(self) -> str:
        where = self.file if self.line is None else f"{self.file}, line {self.line}"
        return f"{where}: {super().__str__()}"


class SpecErrors(SpecError):
    """A sweep file with several mistakes, in the order of its lines."""

    def __init__(self, errors: Sequence[SpecError]) -> None:
        self.errors = tuple(sorted(errors, key=lambda error: error.line or 0))
        first = self.errors[0]
        super().__init__("\n".join(map(str, self.errors)), first.path, first.file, first.line)

    def __str__(self) -> str:
        return self.message


class Mistakes:
    """Those found so far; of each field the first."""

    def __init__(self) -> None:
        self.found: dict[str, ConfigError] = {}

    def add(self, error: ConfigError) -> None:
        for one in each(error):
            self.found.setdefault(one.path, one)

    @contextmanager
    def under(self, path: str) -> Iterator[None]:
        """Note the ConfigErrors raised inside, with `path` before theirs, and go on after it."""
        try:
            yield
        except ConfigError as error:
            self.add(error.under(path))

    def refuse(self) -> None:
        """Raise what was found: a ConfigError for one mistake, ConfigErrors for several."""
        errors = list(self.found.values())
        if errors:
            raise errors[0] if len(errors) == 1 else ConfigErrors(errors)


def each(error: ConfigError) -> Sequence[ConfigError]:
    """The mistakes that an error tells of."""
    return error.errors if isinstance(error, ConfigErrors) else (error,)


def in_file(error: ConfigError, file: str, line: Callable[[str], int]) -> SpecError:
    """The same, where `line` is the line of a path."""
    errors = [SpecError(one.message, one.path, file, line(one.path)) for one in each(error)]
    return errors[0] if len(errors) == 1 else SpecErrors(errors)


@contextmanager
def under(path: str) -> Iterator[None]:
    """Put `path` before the paths of ConfigErrors."""
    try:
        yield
    except ConfigError as error:
        raise error.under(path) from error
