//! Input columns whose values consist of other columns: lists, maps, and what derived structs need.

use std::collections::BTreeMap;

use crate::read::{Fixed, FromColumn, FromValue, In, ItemFrom, Problem};
use crate::rows::{InputRow, struct_type};
use crate::scalar::Plain;
use crate::source::{ColumnView, Offsets};

/// A column of lists.
pub struct Lists<'a, T: FromColumn<'a>> {
    offsets: Offsets<'a>,
    items: In<'a, T>,
}

impl<'a, T: FromColumn<'a>> Lists<'a, T> {
    fn bind(view: ColumnView<'a>) -> Result<Self, String> {
        let offsets = view.offsets()?;
        Ok(Self { offsets, items: In::bind(view.child(0, offsets.end())?)? })
    }

    fn problem(&self, row: usize) -> Option<Problem> {
        let (start, end) = self.offsets.range(row);
        (start..end).find_map(|item| self.items.problem(item)).map(|_| "holds a null")
    }
}

fn list_type<'a, T: FromColumn<'a>>(text: &mut String) {
    text.push_str("list<");
    T::Value::data_type(text);
    text.push('>');
}

impl<'a, T: ItemFrom<'a>> FromValue<'a> for Vec<T> {
    type Column = Lists<'a, T>;

    fn data_type(text: &mut String) {
        list_type::<T>(text);
    }

    fn bind(view: ColumnView<'a>) -> Result<Self::Column, String> {
        Lists::bind(view)
    }

    fn flawed(column: &Self::Column) -> bool {
        column.items.flawed()
    }

    fn problem(column: &Self::Column, row: usize) -> Option<Problem> {
        column.problem(row)
    }

    fn read(column: &Self::Column, row: usize) -> Self {
        let (start, end) = column.offsets.range(row);
        T::collect(&column.items, start, end)
    }
}

impl<'a, T: ItemFrom<'a>> ItemFrom<'a> for Vec<T> {}

impl<'a, T> FromValue<'a> for &'a [T]
where
    T: Plain + FromValue<'a, Column = Fixed<'a, T>>,
{
    type Column = Lists<'a, T>;

    fn data_type(text: &mut String) {
        list_type::<T>(text);
    }

    fn bind(view: ColumnView<'a>) -> Result<Self::Column, String> {
        Lists::bind(view)
    }

    fn flawed(column: &Self::Column) -> bool {
        column.items.flawed()
    }

    fn problem(column: &Self::Column, row: usize) -> Option<Problem> {
        column.problem(row)
    }

    #[inline]
    fn read(column: &Self::Column, row: usize) -> Self {
        let (start, end) = column.offsets.range(row);
        &column.items.values()[start..end]
    }
}

impl<'a, T> ItemFrom<'a> for &'a [T] where T: Plain + FromValue<'a, Column = Fixed<'a, T>> {}

/// A column of maps.
pub struct Maps<'a, K: FromColumn<'a>, V: FromColumn<'a>> {
    offsets: Offsets<'a>,
    keys: In<'a, K>,
    values: In<'a, V>,
}

/// Of keys that stand twice in a row, the last one holds.
impl<'a, K: FromValue<'a> + Ord, V: FromColumn<'a>> FromValue<'a> for BTreeMap<K, V> {
    type Column = Maps<'a, K, V>;

    fn data_type(text: &mut String) {
        text.push_str("map<");
        K::data_type(text);
        text.push_str(", ");
        V::Value::data_type(text);
        text.push('>');
    }

    fn bind(view: ColumnView<'a>) -> Result<Self::Column, String> {
        let offsets = view.offsets()?;
        let entries = offsets.end();
        let keys = In::bind(view.child(0, entries)?)?;
        Ok(Maps { offsets, keys, values: In::bind(view.child(1, entries)?)? })
    }

    fn flawed(column: &Self::Column) -> bool {
        column.keys.flawed() || column.values.flawed()
    }

    fn problem(column: &Self::Column, row: usize) -> Option<Problem> {
        let (start, end) = column.offsets.range(row);
        let flawed = |entry| column.keys.problem(entry).or_else(|| column.values.problem(entry));
        (start..end).find_map(flawed).map(|_| "holds a null")
    }

    fn read(column: &Self::Column, row: usize) -> Self {
        let (start, end) = column.offsets.range(row);
        (start..end).map(|entry| (column.keys.get(entry), column.values.get(entry))).collect()
    }
}

impl<'a, K: FromValue<'a> + Ord, V: FromColumn<'a>> ItemFrom<'a> for BTreeMap<K, V> {}

/// What the derived [`FromValue`] of a struct does: writes its type.
pub fn write_struct_type<'a, T: InputRow<'a>>(text: &mut String) {
    struct_type(text, &T::fields());
}

/// What the derived [`FromValue`] of a struct does: binds its fields to child columns.
pub fn bind_struct<'a, T: InputRow<'a>>(view: ColumnView<'a>) -> Result<T::Columns, String> {
    let mut children = Vec::new();
    for index in 0..T::COUNT {
        children.push(view.child(index, view.len())?);
    }
    T::bind(&children)
}

/// What the derived [`FromValue`] of a struct does: looks for a missing field.
pub fn struct_problem<'a, T: InputRow<'a>>(columns: &T::Columns, row: usize) -> Option<Problem> {
    T::problem(columns, row).map(|_| "lacks a field")
}
