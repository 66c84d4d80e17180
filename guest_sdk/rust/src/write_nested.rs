//! Output columns whose values consist of other columns: lists, maps, structs.

use std::collections::BTreeMap;

use crate::rows::{OutputRow, struct_type};
use crate::scalar::Plain;
use crate::write::{
    Build, Built, FixedBuilder, IntoColumn, IntoItem, IntoValue, Out, check_end, offsets, push_offset,
};

/// Lists under construction.
pub struct ListBuilder<T: IntoColumn> {
    offsets: Vec<u8>,
    items: Out<T>,
}

impl<T: IntoColumn> ListBuilder<T> {
    fn end_row(&mut self) {
        push_offset(&mut self.offsets, self.items.len());
    }
}

impl<T: IntoColumn> Build for ListBuilder<T> {
    fn with_capacity(capacity: usize) -> Self {
        Self { offsets: offsets(capacity), items: Out::with_capacity(0) }
    }

    fn count(&self) -> usize {
        self.offsets.len() / 4 - 1
    }

    fn push_default(&mut self) {
        self.end_row();
    }

    fn finish(self) -> Result<Built, String> {
        check_end(self.items.len())?;
        Ok(Built { offsets: self.offsets, children: vec![self.items.finish()?], ..Built::default() })
    }
}

fn list_type<T: IntoColumn>(text: &mut String) {
    text.push_str("list<");
    T::Value::data_type(text);
    text.push('>');
}

impl<T: IntoItem> IntoValue for Vec<T> {
    type Column = ListBuilder<T>;

    fn data_type(text: &mut String) {
        list_type::<T>(text);
    }

    fn write(self, column: &mut Self::Column) {
        column.items.extend(self);
        column.end_row();
    }
}

impl<T: IntoItem> IntoItem for Vec<T> {}

impl<T: IntoItem, const N: usize> IntoValue for [T; N] {
    type Column = ListBuilder<T>;

    fn data_type(text: &mut String) {
        list_type::<T>(text);
    }

    fn write(self, column: &mut Self::Column) {
        column.items.extend(self);
        column.end_row();
    }
}

impl<T: IntoItem, const N: usize> IntoItem for [T; N] {}

impl<T: Plain + IntoItem + IntoValue<Column = FixedBuilder<T>>> IntoValue for &[T] {
    type Column = ListBuilder<T>;

    fn data_type(text: &mut String) {
        list_type::<T>(text);
    }

    fn write(self, column: &mut Self::Column) {
        column.items.extend_from_slice(self);
        column.end_row();
    }
}

impl<T: Plain + IntoItem + IntoValue<Column = FixedBuilder<T>>> IntoItem for &[T] {}

/// Maps under construction.
pub struct MapBuilder<K: IntoColumn, V: IntoColumn> {
    offsets: Vec<u8>,
    keys: Out<K>,
    values: Out<V>,
}

impl<K: IntoColumn, V: IntoColumn> Build for MapBuilder<K, V> {
    fn with_capacity(capacity: usize) -> Self {
        Self { offsets: offsets(capacity), keys: Out::with_capacity(0), values: Out::with_capacity(0) }
    }

    fn count(&self) -> usize {
        self.offsets.len() / 4 - 1
    }

    fn push_default(&mut self) {
        push_offset(&mut self.offsets, self.keys.len());
    }

    fn finish(self) -> Result<Built, String> {
        check_end(self.keys.len())?;
        let children = vec![self.keys.finish()?, self.values.finish()?];
        Ok(Built { offsets: self.offsets, children, ..Built::default() })
    }
}

/// A `BTreeMap`, because the order of a `HashMap` would differ from run to run.
impl<K: IntoValue + Ord, V: IntoColumn> IntoValue for BTreeMap<K, V> {
    type Column = MapBuilder<K, V>;

    fn data_type(text: &mut String) {
        text.push_str("map<");
        K::data_type(text);
        text.push_str(", ");
        V::Value::data_type(text);
        text.push('>');
    }

    fn write(self, column: &mut Self::Column) {
        for (key, value) in self {
            column.keys.push(key);
            column.values.push(value);
        }
        column.push_default();
    }
}

impl<K: IntoValue + Ord, V: IntoColumn> IntoItem for BTreeMap<K, V> {}

/// Structs under construction.
pub struct StructBuilder<T: OutputRow> {
    /// The fields.
    pub columns: T::Columns,
    len: usize,
}

impl<T: OutputRow> Build for StructBuilder<T> {
    fn with_capacity(capacity: usize) -> Self {
        Self { columns: T::columns(capacity), len: 0 }
    }

    fn count(&self) -> usize {
        self.len
    }

    fn push_default(&mut self) {
        T::push_default(&mut self.columns);
        self.len += 1;
    }

    fn finish(self) -> Result<Built, String> {
        Ok(Built { children: T::finish(self.columns)?, ..Built::default() })
    }
}

/// What the derived [`IntoValue`] of a struct does: writes its type.
pub fn write_struct_type<T: OutputRow>(text: &mut String) {
    struct_type(text, &T::fields());
}

/// What the derived [`IntoValue`] of a struct does: appends its fields.
pub fn push_struct<T: OutputRow>(value: T, column: &mut StructBuilder<T>) {
    value.push(&mut column.columns);
    column.len += 1;
}
