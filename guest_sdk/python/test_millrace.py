"""Tests of the SDK in plain Python: `python3 -m unittest` in this folder."""

import pathlib
import random
import re
import struct
import unittest
from collections.abc import Iterator
from typing import NamedTuple

import millrace
from millrace import Reject, Rows, Values, decimal, float32, int8, int32, timestamp, transform, transform_columns, uint64
from millrace_native import Context, Err, host_log


class Point(NamedTuple):
    x: float
    label: str | None


class Everything(NamedTuple):
    flag: bool
    small: int8
    number: int
    large: uint64
    ratio: float32 | None
    text: str
    maybe: str | None
    data: bytes
    at: timestamp
    price: decimal(20, 2)
    tags: list[str]
    gaps: list[int32 | None] | None
    counts: dict[str, int]
    point: Point
    points: list[Point] | None


TYPES = (
    "flag: bool, small: int8, number: int64, large: uint64, ratio: float32?, text: string, maybe: string?, data: bytes, "
    "at: timestamp, price: decimal(20,2), tags: list<string>, gaps: list<int32>?, counts: map<string, int64>, "
    "point: struct<x: float64, label: string>, points: list<struct<x: float64, label: string>>?"
)


def make(rows, kind):
    """A batch of rows."""
    fields = millrace._fields(kind)
    columns = list(zip(*rows)) or [()] * len(fields)
    built = [millrace._column(list(values), field, name) for values, (name, field) in zip(columns, fields.items())]
    return millrace._flatten(len(rows), built)


def rows_of(batch, kind):
    """The rows of a batch."""
    fields = millrace._fields(kind).items()
    columns = [Values(batch, column, batch.rows, field, name) for column, (name, field) in zip(batch.columns, fields)]
    return list(map(kind._make, zip(*columns)))


def everything(chance):
    """A random row."""

    def text():
        return "".join(chance.choice("aZ ß€😀\0") for _ in range(chance.randrange(5)))

    def maybe(value):
        return value if chance.random() < 0.7 else None

    def point():
        return Point(chance.random(), maybe(text()))

    return Everything(
        chance.random() < 0.5,
        chance.randrange(-128, 128),
        chance.randrange(-(2**63), 2**63),
        chance.randrange(2**64),
        maybe(chance.randrange(1000) / 8),
        text(),
        maybe(text()),
        chance.randbytes(chance.randrange(4)),
        chance.randrange(2**50),
        chance.randrange(-(10**20), 10**20),
        [text() for _ in range(chance.randrange(3))],
        maybe([maybe(chance.randrange(99)) for _ in range(chance.randrange(3))]),
        {text(): chance.randrange(9) for _ in range(chance.randrange(3))},
        point(),
        maybe([point() for _ in range(chance.randrange(3))]),
    )


class Event(NamedTuple):
    id: str
    amount: int | None


class Row(NamedTuple):
    id: str
    amount: int


class Settings(NamedTuple):
    factor: int
    prefix: str = "x"


class Source(NamedTuple):
    id: str | None
    amount: int | None


@transform(version="7")
def checked(event: Event, settings: Settings) -> Row | None:
    if event.amount is None:
        return None
    if event.amount < 0:
        raise Reject(f"{event.amount} is negative")
    return Row(settings.prefix + event.id, event.amount * settings.factor // event.amount)


@transform
def repeated(event: Event, context: Context) -> Iterator[Row]:
    yield from (Row(event.id, amount) for amount in range(event.amount or 0))


@transform_columns
def passed(events: Event) -> Row:
    return Row(events.id, [amount or 0 for amount in events.amount])


@transform_columns
def filtered(events: Event) -> Row:
    kept = [row for row, amount in enumerate(events.amount) if amount]
    return Rows(Row([events.id[row] for row in kept], [events.amount[row] for row in kept]), kept, {0: "first"})


class TestMillrace(unittest.TestCase):
    def call(self, function, rows, parameters="{}", kind=Source):
        component = function.component
        component.open(parameters, [], host_log.Level.INFO)
        output = component.process(make(rows, kind), Context())
        mapping = list(struct.unpack(f"<{len(output.input_rows) // 4}I", output.input_rows))
        rejected = [(rejection.row, rejection.reason) for rejection in output.rejected]
        return rows_of(output.batch, component.output), mapping, rejected

    def test_rows_come_back(self):
        chance = random.Random(1)
        for count in (0, 1, 7, 8, 9, 100):
            rows = [everything(chance) for _ in range(count)]
            batch = make(rows, Everything)
            self.assertEqual(rows_of(batch, Everything), rows)
            for index, column in enumerate(batch.columns):
                self.assertTrue(all(child > index for child in column.children))
                self.assertTrue(all(type(buffer) is bytes for buffer in (column.validity, column.offsets, column.values)))

    def test_annotations_are_types(self):
        fields = millrace._fields(Everything).items()
        self.assertEqual(", ".join(f"{n}: {f.type.text}{'?' if f.nullable else ''}" for n, f in fields), TYPES)
        with self.assertRaisesRegex(TypeError, "no column type is written"):
            millrace._fields(NamedTuple("Bad", [("x", complex)]))

    def test_rows_are_mapped_and_rejected(self):
        rows = [("a", 5), ("b", None), ("c", -1), (None, 4), ("d", 2)]
        made = self.call(checked, rows, '{"factor": 10}')
        null = "column `id` is null, which this transform does not expect"
        self.assertEqual(made, ([("xa", 10), ("xd", 10)], [0, 4], [(2, "-1 is negative"), (3, null)]))
        self.assertEqual(self.call(repeated, [("a", 2), ("b", 0), ("c", 1)])[:2], ([("a", 0), ("a", 1), ("c", 0)], [0, 0, 2]))
        self.assertEqual(self.call(repeated, [("a", 1), ("b", 1)])[1], [])

    def test_columns_pass_untouched(self):
        batch = make([("a", 1), ("ü", None)], Source)
        passed.component.open("{}", [], host_log.Level.INFO)
        output = passed.component.process(batch, Context())
        self.assertIs(output.batch.columns[0].values, batch.columns[0].values)
        self.assertEqual(self.call(passed, [("a", 1), ("ü", None)])[0], [("a", 1), ("ü", 0)])
        self.assertEqual(self.call(filtered, [("a", 0), ("b", 3)]), ([("b", 3)], [1], [(0, "first")]))

    def test_exceptions_say_where(self):
        with self.assertRaises(Err) as caught:
            self.call(checked, [("a", 0)], '{"factor": 10}')
        self.assertRegex(caught.exception.value, r"^ZeroDivisionError: .*test_millrace.py:\d+ in checked\)$")

    def test_parameters_are_checked(self):
        for text, message in [
            ("{}", "parameter `factor` is missing"),
            ('{"factor": "1"}', "parameter `factor` is '1', which is no integer"),
            ('{"factor": 1, "x": 2}', "unknown parameter `x`; this transform takes factor, prefix"),
        ]:
            with self.assertRaises(Err) as caught:
                self.call(checked, [], text)
            self.assertIn(message, caught.exception.value)

    def test_a_value_of_the_wrong_type_names_the_column(self):
        with self.assertRaisesRegex(ValueError, "output column `amount` cannot be made int64"):
            make([Row("a", "b")], Row)
        with self.assertRaisesRegex(ValueError, "output column `amount` is null in output row 1"):
            make([Row("a", 1), Row("a", None)], Row)

    def test_description(self):
        described = checked.component.describe()
        self.assertEqual((described.name, described.version), ("checked", "7"))
        self.assertEqual([(p.name, p.kind, p.required) for p in described.parameters],
                         [("factor", "integer", True), ("prefix", "string", False)])

    def test_the_guide_runs(self):
        guide = (pathlib.Path(__file__).parents[2] / "docs" / "guests.md").read_text()
        blocks = re.findall(r"```python\n(.*?)```", guide, re.DOTALL)
        self.assertEqual(len(blocks), 2)
        for block in blocks:
            names = {}
            exec(compile(block, "guests.md", "exec"), names)
            self.assertIn("Transform", names)


if __name__ == "__main__":
    unittest.main()
