"""The contract's records for plain Python, where componentize-py has not generated them. Only for tests."""

import sys
from dataclasses import dataclass, field
from enum import Enum


@dataclass
class Field:
    """A column of a schema."""

    name: str
    data_type: str
    nullable: bool


@dataclass
class Column:
    """The values of one column in Arrow's physical layout."""

    validity: bytes = b""
    offsets: bytes = b""
    values: bytes = b""
    children: list = field(default_factory=list)


@dataclass
class Batch:
    """Rows as columns."""

    rows: int
    columns: list


@dataclass
class Parameter:
    """Something a transform may be configured with."""

    name: str
    kind: str
    required: bool
    doc: str


@dataclass
class Description:
    """What a transform says of itself."""

    name: str
    version: str
    input: list
    output: list
    parameters: list


@dataclass
class Context:
    """Where a batch comes from."""

    view: str = ""
    generation: int = 0
    partition: str = ""
    first_position: str = ""
    attempt: int = 1


@dataclass
class Rejection:
    """An input row that cannot be used."""

    row: int
    reason: str


@dataclass
class Output:
    """What became of a batch."""

    batch: Batch
    input_rows: bytes
    rejected: list


class Err(Exception):
    """An answer that is an error."""

    def __init__(self, value: str):
        super().__init__(value)
        self.value = value


class host_log:  # noqa: N801 (a module elsewhere)
    """Messages go to standard error."""

    class Level(Enum):
        """How important a message is."""

        ERROR = 0
        WARN = 1
        INFO = 2
        DEBUG = 3
        TRACE = 4

    @staticmethod
    def log(level: Level, message: str) -> None:
        """Writes a message."""
        sys.stderr.write(f"{level.name}: {message}\n")
