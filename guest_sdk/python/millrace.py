"""Write Millrace transforms in Python.

A transform is a function over rows, or over whole columns, between two `NamedTuple` classes. Annotations say the column
types; the decorator makes the component's exports of it:

    from typing import NamedTuple
    from millrace import int64, timestamp, transform

    class Impression(NamedTuple):
        user_uuid: str
        timestamp: timestamp

    class Count(NamedTuple):
        user_id: str
        impression: int64
        timestamp: timestamp

    @transform
    def user_impression_counts(event: Impression) -> Count:
        return Count(event.user_uuid, 1, event.timestamp)

Outside of a component the module works too, so that transforms can be tested with plain Python: a decorated function
remains the function that it was, and its `component` attribute takes batches.

What this module deliberately does not do: keep anything between batches, or import anything later than at build time,
which is when a component's imports happen.
"""

import json
import sys
from array import array
from itertools import accumulate, chain
from types import NoneType, UnionType
from typing import Annotated, Any, NamedTuple, Union, get_args, get_origin, get_type_hints

try:
    from componentize_py_types import Err
    from wit_world.imports import log as host_log
    from wit_world.imports.types import Batch, Column, Context, Description, Field, Output, Parameter, Rejection

    _IN_COMPONENT = True
except ImportError:  # plain Python: the same records
    from millrace_native import Batch, Column, Context, Description, Err, Field, Output, Parameter, Rejection, host_log

    _IN_COMPONENT = False

if sys.byteorder != "little" or array("i").itemsize != 4 or array("q").itemsize != 8:
    raise ImportError("columns are little-endian arrays of 4 and 8 bytes, which this Python does not have")


class Type(NamedTuple):
    """A column type: what an annotation comes to."""

    text: str
    kind: str
    code: str = ""
    children: tuple = ()
    make: Any = None


class Nullable(NamedTuple):
    """A column or field: its type, and whether values may be missing."""

    type: Type
    nullable: bool


def _fixed(python: type, text: str, code: str) -> Any:
    return Annotated[python, Type(text, "fixed", code)]


int8, int16, int32, int64 = (_fixed(int, f"int{8 << n}", "bhiq"[n]) for n in range(4))
uint8, uint16, uint32, uint64 = (_fixed(int, f"uint{8 << n}", "BHIQ"[n]) for n in range(4))
float32, float64 = _fixed(float, "float32", "f"), _fixed(float, "float64", "d")
timestamp = _fixed(int, "timestamp", "q")
"""Microseconds since 1970-01-01T00:00:00Z."""
date = _fixed(int, "date", "i")
"""Days since 1970-01-01."""


def decimal(precision: int, scale: int) -> Any:
    """A decimal number, as its unscaled integer: 1999 is 19.99 if `scale` is 2."""
    if not (1 <= precision <= 38 and 0 <= scale <= precision):
        raise TypeError(f"decimal({precision}, {scale}) is out of range: 1 to 38 digits")
    return Annotated[int, Type(f"decimal({precision},{scale})", "decimal")]


_SIMPLE = {
    bool: Type("bool", "bool"),
    int: Type("int64", "fixed", "q"),
    float: Type("float64", "fixed", "d"),
    str: Type("string", "string"),
    bytes: Type("bytes", "bytes"),
}


def _type(annotation: Any, where: str) -> Nullable:
    """Reads an annotation."""
    for note in getattr(annotation, "__metadata__", ()):
        if isinstance(note, Type):
            return Nullable(note, False)
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin in (Union, UnionType):
        rest = [argument for argument in arguments if argument is not NoneType]
        if len(rest) == 1 and len(arguments) == 2:
            return Nullable(_type(rest[0], where).type, True)
    elif origin is list:
        item = _type(arguments[0], where)
        return Nullable(Type(f"list<{item.type.text}>", "list", "", (item,)), False)
    elif origin is dict:
        key, value = (_type(argument, where) for argument in arguments)
        return Nullable(Type(f"map<{key.type.text}, {value.type.text}>", "map", "", (key, value)), False)
    elif annotation in _SIMPLE:
        return Nullable(_SIMPLE[annotation], False)
    elif hasattr(annotation, "_fields"):
        fields = _fields(annotation)
        text = ", ".join(f"{name}: {field.type.text}" for name, field in fields.items())
        return Nullable(Type(f"struct<{text}>", "struct", "", tuple(fields.values()), annotation), False)
    raise TypeError(f"{where}: no column type is written `{annotation}`")


def _fields(row: type) -> dict[str, Nullable]:
    if not hasattr(row, "_fields"):
        raise TypeError(f"`{getattr(row, '__name__', row)}` is no NamedTuple")
    hints = get_type_hints(row, include_extras=True)
    return {name: _type(hints[name], f"{row.__name__}.{name}") for name in row._fields}


class Reject(Exception):
    """Raised by a row function: the input row cannot be used, for the reason given."""


class Rows(NamedTuple):
    """What a function over columns may return to give none or many output rows for an input row, or to refuse some."""

    columns: Any
    input_rows: list[int]
    """The input row of each output row, never descending."""
    rejected: dict[int, str] = {}
    """Refused input rows, each with its reason."""


# ---- from buffers to values


def _bits(buffer: bytes, rows: int) -> list[bool]:
    number = int.from_bytes(buffer, "little")
    # The text of a number is the fastest way to its bits.
    text = f"{number:0{rows}b}"[::-1] if rows else ""
    return [bit == "1" for bit in text[:rows]]


class Values:
    """A column of the input: a sequence of its values, read when they are first asked for.

    Returned as it is for an output column of the same type, its buffers are passed on untouched.
    """

    def __init__(self, batch: Batch, column: Column, rows: int, field: Nullable, name: str):
        self.batch, self.column, self.rows, self.field, self.name = batch, column, rows, field, name
        self._list: list | None = None

    def __len__(self) -> int:
        return self.rows

    def __iter__(self):
        return iter(self.to_list())

    def __getitem__(self, row):
        return self.to_list()[row]

    def to_list(self) -> list:
        """All values, `None` where there is none."""
        if self._list is None:
            values = self._read()
            if self.column.validity:
                valid = _bits(self.column.validity, self.rows)
                values = [value if there else None for value, there in zip(values, valid)]
            self._list = values
        return self._list

    def missing(self) -> dict[int, str]:
        """Rows that lack a value which the annotation does not allow to be missing."""
        if not self._may_lack():
            return {}
        lacking = [row for row, value in enumerate(self.to_list()) if self._lacks(value, self.field)]
        return {row: "is null" if self[row] is None else "holds a null" for row in lacking}

    def _may_lack(self) -> bool:
        return bool(self.column.validity) and not self.field.nullable or any(child._may_lack() for child in self._children(1))

    def _lacks(self, value: Any, field: Nullable) -> bool:
        if value is None:
            return not field.nullable
        if field.type.kind == "list":
            return any(self._lacks(item, field.type.children[0]) for item in value)
        if field.type.kind == "map":
            return any(self._lacks(item, field.type.children[1]) for item in value.values())
        if field.type.kind == "struct":
            return any(self._lacks(item, child) for item, child in zip(value, field.type.children))
        return False

    def _offsets(self) -> list[int]:
        return memoryview(self.column.offsets).cast("i").tolist() if self.column.offsets else [0]

    def _children(self, depth: int = 0) -> list["Values"]:
        kind, count = self.field.type.kind, self.rows
        if kind in ("list", "map"):
            count = self._offsets()[self.rows] if self.rows else 0
        return [
            Values(self.batch, self.batch.columns[index], count, child, self.name)
            for index, child in zip(self.column.children, self.field.type.children)
        ]

    def _read(self) -> list:
        kind, values, rows = self.field.type.kind, self.column.values, self.rows
        if kind == "fixed":
            return memoryview(values).cast(self.field.type.code)[:rows].tolist() if rows else []
        if kind == "bool":
            return _bits(values, rows)
        if kind == "decimal":
            return [int.from_bytes(values[at : at + 16], "little", signed=True) for at in range(0, rows * 16, 16)]
        if kind == "struct":
            children = [child.to_list() for child in self._children()]
            return list(map(self.field.type.make._make, zip(*children)))
        offsets = self._offsets()
        if kind == "string":
            text = values.decode()
            # Offsets count bytes: in text that is all ASCII those are characters.
            if len(text) == len(values):
                return [text[offsets[row] : offsets[row + 1]] for row in range(rows)]
            return [values[offsets[row] : offsets[row + 1]].decode() for row in range(rows)]
        if kind == "bytes":
            return [values[offsets[row] : offsets[row + 1]] for row in range(rows)]
        children = [child.to_list() for child in self._children()]
        if kind == "list":
            return [children[0][offsets[row] : offsets[row + 1]] for row in range(rows)]
        entries = list(zip(*children))
        return [dict(entries[offsets[row] : offsets[row + 1]]) for row in range(rows)]


# ---- from values to buffers


def _pack(bits: list) -> bytes:
    text = "".join("1" if bit else "0" for bit in reversed(bits))
    return int(text, 2).to_bytes((len(bits) + 7) // 8, "little") if text else b""


class _Built(NamedTuple):
    column: Column
    children: list


def _build(values: list, field: Nullable, name: str) -> _Built:
    """Lays values out in buffers. Every buffer is exactly `bytes`: the bindings trap on anything like it."""
    validity = b""
    if None in values:
        if not field.nullable:
            raise ValueError(f"output column `{name}` is null in output row {values.index(None)}, but not optional")
        validity = _pack([value is not None for value in values])
    type_, offsets, data, children = field.type, b"", b"", []
    try:
        if type_.kind == "fixed":
            filled = [0 if value is None else value for value in values] if validity else values
            data = array(type_.code, filled).tobytes()
        elif type_.kind == "bool":
            data = _pack(values)
        elif type_.kind == "decimal":
            data = b"".join((value or 0).to_bytes(16, "little", signed=True) for value in values)
        elif type_.kind == "struct":
            empty = (None,) * len(type_.children)
            rows = [empty if value is None else value for value in values]
            # Within a null struct every field is null, whatever its annotation says.
            columns = list(zip(*rows)) or [()] * len(type_.children)
            children = [
                _build(list(column), Nullable(child.type, child.nullable or bool(validity)), name)
                for column, child in zip(columns, type_.children)
            ]
        else:
            parts = [() if value is None else value for value in values]
            if type_.kind == "string":
                parts = [value.encode() if value else b"" for value in parts]
            offsets = array("i", accumulate(map(len, parts), initial=0)).tobytes()
            if type_.kind in ("string", "bytes"):
                data = b"".join(part or b"" for part in parts)
            elif type_.kind == "list":
                children = [_build(list(chain.from_iterable(parts)), type_.children[0], name)]
            else:
                parts = [part or {} for part in parts]
                keys = list(chain.from_iterable(parts))
                items = list(chain.from_iterable(part.values() for part in parts))
                children = [_build(keys, type_.children[0], name), _build(items, type_.children[1], name)]
    except (TypeError, AttributeError, OverflowError) as error:
        raise ValueError(f"output column `{name}` cannot be made {type_.text}: {error}") from error
    return _Built(Column(validity, offsets, data, []), children)


def _column(values: Any, field: Nullable, name: str) -> _Built:
    if isinstance(values, Values):
        same = values.field.type.text == field.type.text and not field.type.children
        if same and (field.nullable or not values.column.validity):
            column = values.column
            return _Built(Column(column.validity, column.offsets, column.values, []), [])
        values = values.to_list()
    return _build(values if isinstance(values, list) else list(values), field, name)


def _flatten(rows: int, waiting: list) -> Batch:
    """Level by level, so that a child stands behind its parent."""
    columns: list[Column] = []
    while waiting:
        following: list = []
        first = len(columns) + len(waiting)
        for column, children in waiting:
            column.children = list(range(first + len(following), first + len(following) + len(children)))
            following.extend(children)
            columns.append(column)
        waiting = following
    return Batch(rows, columns)


# ---- parameters


def _json_kind(annotation: Any) -> str:
    annotation = get_args(annotation)[0] if hasattr(annotation, "__metadata__") else annotation
    rest = [argument for argument in get_args(annotation) if argument is not NoneType]
    if get_origin(annotation) in (Union, UnionType):
        return _json_kind(rest[0]) if len(rest) == 1 else "any"
    kinds = {bool: "bool", int: "integer", float: "number", str: "string", list: "list", dict: "object"}
    return kinds.get(get_origin(annotation) or annotation, "any")


_JSON_TYPES = {"bool": bool, "integer": int, "number": (int, float), "string": str, "list": list, "object": dict}


def _parameters(settings: type | None) -> list[Parameter]:
    if settings is None:
        return []
    hints = get_type_hints(settings, include_extras=True)
    defaults = settings._field_defaults
    return [Parameter(name, _json_kind(hints[name]), name not in defaults, "") for name in settings._fields]


def _read_parameters(text: str, settings: type | None) -> Any:
    given = json.loads(text or "{}")
    if settings is None:
        if given:
            raise ValueError("this transform takes no parameters")
        return None
    known = {parameter.name: parameter for parameter in _parameters(settings)}
    for name, value in given.items():
        if name not in known:
            raise ValueError(f"unknown parameter `{name}`; this transform takes {', '.join(known)}")
        wanted = known[name].kind
        if value is not None and wanted in _JSON_TYPES:
            fits = isinstance(value, _JSON_TYPES[wanted]) and (wanted == "bool" or not isinstance(value, bool))
            if not fits:
                raise ValueError(f"parameter `{name}` is {value!r}, which is no {wanted}")
    for name, parameter in known.items():
        if parameter.required and name not in given:
            raise ValueError(f"parameter `{name}` is missing")
    return settings(**given)


# ---- messages

_LEVELS = ("ERROR", "WARN", "INFO", "DEBUG", "TRACE")
_level = 2


def _log(level: int, message: Any) -> None:
    if level <= _level:
        host_log.log(host_log.Level[_LEVELS[level]], str(message))


def error(message: Any) -> None:
    """Logs that something failed."""
    _log(0, message)


def warn(message: Any) -> None:
    """Logs that something looks wrong."""
    _log(1, message)


def info(message: Any) -> None:
    """Logs that something of note happened."""
    _log(2, message)


def debug(message: Any) -> None:
    """Logs something for whoever writes the transform."""
    _log(3, message)


def trace(message: Any) -> None:
    """Logs even more of that."""
    _log(4, message)


class _Lines:
    """Where `print` goes in a component, which has no standard output: each line is a message."""

    def __init__(self, level: int):
        self.level, self.rest = level, ""

    def write(self, text: str) -> int:
        *lines, self.rest = (self.rest + text).split("\n")
        for line in lines:
            _log(self.level, line)
        return len(text)

    def flush(self) -> None:
        """Nothing is held back but the beginning of a line."""


# ---- the component


def _guarded(method):
    """An exception that leaves an export ends the instance without a word; an `Err` is an answer."""

    def guarded(self, *arguments):
        try:
            return method(self, *arguments)
        except Err:
            raise
        except BaseException as problem:
            raise Err(describe_exception(problem)) from None

    return guarded


def describe_exception(problem: BaseException) -> str:
    """The exception and where it was raised. (The `traceback` module looks for source files, which a guest has not.)"""
    places, at = [], problem.__traceback__
    while at is not None:
        code = at.tb_frame.f_code
        # What the SDK did on the way is of no interest.
        if code.co_filename != describe_exception.__code__.co_filename:
            places.append(f"{code.co_filename}:{at.tb_lineno} in {code.co_name}")
        at = at.tb_next
    text = f"{type(problem).__name__}: {problem}" if str(problem) else type(problem).__name__
    return f"{text} ({' < '.join(reversed(places))})" if places else text


class Component:
    """The exports of a transform."""

    def __init__(self, function, whole: bool, name: str, version: str):
        hints = get_type_hints(function, include_extras=True)
        arguments = function.__code__.co_varnames[: function.__code__.co_argcount]
        if not arguments or arguments[0] not in hints or "return" not in hints:
            raise TypeError(f"annotate the first argument and the result of `{function.__name__}`")
        self.function, self.whole, self.name, self.version = function, whole, name, version
        self.input, self.output = hints[arguments[0]], hints["return"]
        # `-> Row | None`, `-> list[Row]`, `-> Iterator[Row]` all name the one class of output rows.
        for _ in range(3):
            inner = [one for one in get_args(self.output) if one is not NoneType]
            if hasattr(self.output, "_fields") or not inner:
                break
            self.output = inner[0]
        self.input_fields, self.output_fields = _fields(self.input), _fields(self.output)
        self.extra = arguments[1:]
        settings = [hints.get(extra) for extra in self.extra if extra != "context"]
        if len(settings) > 1 or settings and not hasattr(settings[0], "_fields"):
            raise TypeError(f"after its rows, `{function.__name__}` takes parameters (a NamedTuple) and `context`")
        self.settings = settings[0] if settings else None
        self.params: Any = None

    @_guarded
    def describe(self) -> Description:
        fields = ([Field(name, field.type.text, field.nullable) for name, field in fields.items()]
                  for fields in (self.input_fields, self.output_fields))
        return Description(self.name, self.version, *fields, _parameters(self.settings))

    @_guarded
    def open(self, parameters: str, input: list, level: Any) -> None:
        global _level
        _level = level.value
        if _IN_COMPONENT:
            sys.stdout, sys.stderr = _Lines(2), _Lines(1)
        self.params = _read_parameters(parameters, self.settings)

    @_guarded
    def process(self, input: Batch, context: Context) -> Output:
        columns = [
            Values(input, column, input.rows, field, name)
            for column, (name, field) in zip(input.columns, self.input_fields.items())
        ]
        if len(columns) < len(self.input_fields):
            raise ValueError(f"expected {len(self.input_fields)} columns, got {len(columns)}")
        extra = [context if name == "context" else self.params for name in self.extra]
        lacking: dict[int, str] = {}
        for column in columns:
            for row, problem in column.missing().items():
                lacking.setdefault(row, f"column `{column.name}` {problem}, which this transform does not expect")
        return (self._columns if self.whole else self._rows)(input.rows, columns, extra, lacking)

    def _rows(self, rows: int, columns: list, extra: list, lacking: dict[int, str]) -> Output:
        function, make = self.function, self.input._make
        out: list = []
        input_rows, rejected = [], lacking
        for row, values in enumerate(zip(*map(iter, columns))):
            if row in lacking:
                continue
            try:
                result = function(make(values), *extra)
                if result is None:
                    continue
                # A row is a tuple itself, so it is recognized by its fields.
                given = [result] if hasattr(result, "_fields") else list(result)
            except Reject as reason:
                rejected[row] = str(reason)
                continue
            out.extend(given)
            input_rows.extend([row] * len(given))
        if input_rows == list(range(rows)):
            input_rows = []
        return self._output(len(out), list(zip(*out)), input_rows, rejected)

    def _columns(self, rows: int, columns: list, extra: list, lacking: dict[int, str]) -> Output:
        if lacking:
            raise ValueError(next(iter(lacking.values())))
        result = self.function(self.input(*columns), *extra)
        result = result if isinstance(result, Rows) else Rows(result, [])
        lengths = dict(zip(self.output_fields, map(len, result.columns)))
        if len(set(lengths.values())) > 1:
            raise ValueError(f"output columns differ in length: {lengths}")
        return self._output(max(lengths.values()), result.columns, result.input_rows, result.rejected)

    def _output(self, rows: int, columns: Any, input_rows: list[int], rejected: dict[int, str]) -> Output:
        columns = columns or [[] for _ in self.output_fields]
        built = [_column(values, field, name) for values, (name, field) in zip(columns, self.output_fields.items())]
        mapping = array("I", input_rows).tobytes()
        return Output(_flatten(rows, built), mapping, [Rejection(row, rejected[row]) for row in sorted(rejected)])


def _decorate(function, whole: bool, name: str | None, version: str):
    component = Component(function, whole, name or function.__name__, version)
    exports = {export: staticmethod(getattr(component, export)) for export in ("describe", "open", "process")}
    # What componentize-py looks for: a class with the interface's name in the guest's module.
    function.__globals__["Transform"] = type("Transform", (), exports)
    function.component = component
    return function


def transform(function=None, *, name: str | None = None, version: str = "0.1.0"):
    """Makes a component of a function over rows: `def f(event: In) -> Out`.

    It may return one row, `None`, a list or a generator of rows, and may raise `Reject`. Further arguments: parameters,
    annotated with a `NamedTuple` whose defaults make them optional, and `context`.
    """
    if function is None:
        return lambda function: _decorate(function, False, name, version)
    return _decorate(function, False, name, version)


def transform_columns(function=None, *, name: str | None = None, version: str = "0.1.0"):
    """Makes a component of a function over columns: it gets and returns the same classes, each field a whole column."""
    if function is None:
        return lambda function: _decorate(function, True, name, version)
    return _decorate(function, True, name, version)
