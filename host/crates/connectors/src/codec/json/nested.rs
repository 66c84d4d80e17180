//! Lists, structs and maps under construction. Their parts are columns again.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::{ArrayRef, ListArray, MapArray, StructArray};
use arrow_buffer::{NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow_schema::{DataType as ArrowType, FieldRef, Fields};
use model::codec::TimestampUnit;
use model::schema::DataType;

use super::column::Column;
use super::cursor::Cursor;
use super::problem::{Kind, Problem};

/// Ends of lists or maps among their items.
struct Ends(Vec<i32>);

impl Ends {
    fn new() -> Self {
        Self(vec![0])
    }

    fn close(&mut self, items: usize, at: usize) -> Result<(), Problem> {
        self.0.push(i32::try_from(items).map_err(|_| Problem::new(at, Kind::TooMuchText))?);
        Ok(())
    }

    fn repeat(&mut self) {
        self.0.push(self.0.last().copied().unwrap_or(0));
    }

    /// Keeps so many ends; returns how many items they have.
    fn truncate(&mut self, rows: usize) -> usize {
        self.0.truncate(rows + 1);
        self.0.last().map_or(0, |end| end.cast_unsigned() as usize)
    }

    fn finish(&mut self) -> OffsetBuffer<i32> {
        OffsetBuffer::new(ScalarBuffer::from(std::mem::replace(&mut self.0, vec![0])))
    }
}

/// A column of lists.
pub(super) struct Items {
    ends: Ends,
    item: Box<Column>,
    field: FieldRef,
}

impl Items {
    /// Lists of one type.
    pub(super) fn new(item: &DataType, unit: TimestampUnit) -> Self {
        let ArrowType::List(field) = DataType::List(Box::new(item.clone())).to_arrow() else {
            unreachable!("a list is a list in Arrow");
        };
        Self { ends: Ends::new(), item: Box::new(Column::new(item, true, unit)), field }
    }

    /// Appends the list here.
    pub(super) fn append(&mut self, cursor: &mut Cursor<'_>) -> Result<(), Problem> {
        let at = cursor.at;
        if cursor.peek() != Some(b'[') {
            return Err(cursor.problem(Kind::Type("a list")));
        }
        cursor.enter(b'[', "a list")?;
        let mut first = true;
        while cursor.next_item(first)? {
            self.item.append(cursor)?;
            first = false;
        }
        self.ends.close(self.item.len(), at)
    }

    pub(super) fn append_null(&mut self) {
        self.ends.repeat();
    }

    pub(super) fn truncate(&mut self, rows: usize) {
        self.item.truncate(self.ends.truncate(rows));
    }

    pub(super) fn finish(&mut self, nulls: Option<NullBuffer>) -> ArrayRef {
        Arc::new(ListArray::new(Arc::clone(&self.field), self.ends.finish(), self.item.finish(), nulls))
    }
}

/// A column of structs.
pub(super) struct Record {
    columns: Vec<(String, Column)>,
    fields: Fields,
    /// Where the last value of each field begins in the struct at hand.
    starts: Vec<Option<usize>>,
    scratch: Vec<u8>,
}

impl Record {
    /// Structs of these fields.
    pub(super) fn new(fields: &[(String, DataType)], unit: TimestampUnit) -> Self {
        let ArrowType::Struct(arrow_fields) = DataType::Struct(fields.to_vec()).to_arrow() else {
            unreachable!("a struct is a struct in Arrow");
        };
        let columns =
            fields.iter().map(|(name, data_type)| (name.clone(), Column::new(data_type, true, unit)));
        Self {
            columns: columns.collect(),
            fields: arrow_fields,
            starts: vec![None; fields.len()],
            scratch: Vec::new(),
        }
    }

    /// Appends the object here: first finds the last value of each field, then reads them.
    pub(super) fn append(&mut self, cursor: &mut Cursor<'_>) -> Result<(), Problem> {
        if cursor.peek() != Some(b'{') {
            return Err(cursor.problem(Kind::Type("an object")));
        }
        cursor.enter(b'{', "an object")?;
        self.starts.fill(None);
        let depth = cursor.depth();
        let mut first = true;
        while let Some(key) = cursor.next_key(first)? {
            first = false;
            let start = cursor.at;
            cursor.skip_value()?;
            let key = cursor.unescape(key, &mut self.scratch);
            if let Some(index) = self.columns.iter().position(|(name, _)| name.as_bytes() == key) {
                self.starts[index] = Some(start);
            }
        }
        let end = cursor.at;
        for ((_, column), start) in self.columns.iter_mut().zip(&self.starts) {
            match start {
                Some(start) => column.append(&mut cursor.again(*start, depth))?,
                None => column.append_null().map_err(|kind| Problem::new(end, kind))?,
            }
        }
        Ok(())
    }

    pub(super) fn append_null(&mut self) -> Result<(), Kind> {
        self.columns.iter_mut().try_for_each(|(_, column)| column.append_null())
    }

    pub(super) fn truncate(&mut self, rows: usize) {
        self.columns.iter_mut().for_each(|(_, column)| column.truncate(rows));
    }

    pub(super) fn finish(&mut self, rows: usize, nulls: Option<NullBuffer>) -> ArrayRef {
        let arrays = self.columns.iter_mut().map(|(_, column)| column.finish()).collect();
        Arc::new(
            StructArray::try_new_with_length(self.fields.clone(), arrays, nulls, rows)
                .expect("all fields have as many values as there are structs, of the declared types"),
        )
    }
}

/// A column of maps.
pub(super) struct Pairs {
    ends: Ends,
    key: Column,
    value: Column,
    key_type: DataType,
    entries: FieldRef,
    /// Each key of the map at hand: where it is in `found`.
    known: HashMap<Vec<u8>, usize>,
    /// Where keys and values begin, in the order in which keys came first.
    found: Vec<(usize, usize)>,
    scratch: Vec<u8>,
}

impl Pairs {
    /// Maps from one type to another.
    pub(super) fn new(key: &DataType, value: &DataType, unit: TimestampUnit) -> Self {
        let ArrowType::Map(entries, _) =
            DataType::Map(Box::new(key.clone()), Box::new(value.clone())).to_arrow()
        else {
            unreachable!("a map is a map in Arrow");
        };
        Self {
            ends: Ends::new(),
            key: Column::new(key, false, unit),
            value: Column::new(value, true, unit),
            key_type: key.clone(),
            entries,
            known: HashMap::new(),
            found: Vec::new(),
            scratch: Vec::new(),
        }
    }

    /// Appends the object here: first finds the last value of each key, then reads keys and values.
    pub(super) fn append(&mut self, cursor: &mut Cursor<'_>) -> Result<(), Problem> {
        let at = cursor.at;
        if self.key_type.is_nested() {
            return Err(cursor.problem(Kind::MapKey));
        }
        if cursor.peek() != Some(b'{') {
            return Err(cursor.problem(Kind::Type("an object")));
        }
        cursor.enter(b'{', "an object")?;
        self.known.clear();
        self.found.clear();
        let depth = cursor.depth();
        let mut first = true;
        while let Some(key) = cursor.next_key(first)? {
            first = false;
            let (key_start, start) = (key.quote(), cursor.at);
            cursor.skip_value()?;
            let key = cursor.unescape(key, &mut self.scratch);
            if let Some(index) = self.known.get(key) {
                self.found[*index].1 = start;
            } else {
                self.known.insert(key.to_vec(), self.found.len());
                self.found.push((key_start, start));
            }
        }
        for index in 0..self.found.len() {
            let (key_start, start) = self.found[index];
            self.append_key(&mut cursor.again(key_start, depth))?;
            self.value.append(&mut cursor.again(start, depth))?;
        }
        self.ends.close(self.key.len(), at)
    }

    /// Appends the key here, in quotes. Types that are not text in JSON are read from within the quotes.
    fn append_key(&mut self, cursor: &mut Cursor<'_>) -> Result<(), Problem> {
        let at = cursor.at;
        let text = cursor.text("a key in quotes")?;
        let inner = cursor.unescape(text, &mut self.scratch);
        let bare = inner.first().is_some_and(|byte| matches!(byte, b'-' | b'0'..=b'9' | b't' | b'f'))
            && inner != b"-Infinity";
        let in_quotes = match self.key_type {
            DataType::String | DataType::Bytes | DataType::Date => true,
            // Text units never begin a number that is accepted, and counting units never text.
            DataType::Timestamp => self.key.is_text_instant(),
            _ => !bare,
        };
        if in_quotes {
            return self.key.append(&mut cursor.again(at, cursor.depth()));
        }
        let mut inner_cursor = Cursor::new(inner, 0, inner.len());
        self.key.append(&mut inner_cursor).map_err(|problem| problem.moved(at))?;
        if inner_cursor.is_done() {
            Ok(())
        } else {
            Err(Problem::new(at, Kind::Type("a value of the key's type")))
        }
    }

    pub(super) fn append_null(&mut self) {
        self.ends.repeat();
    }

    pub(super) fn truncate(&mut self, rows: usize) {
        let items = self.ends.truncate(rows);
        self.key.truncate(items);
        self.value.truncate(items);
    }

    pub(super) fn finish(&mut self, nulls: Option<NullBuffer>) -> ArrayRef {
        let rows = self.key.len();
        let ArrowType::Struct(fields) = self.entries.data_type() else {
            unreachable!("entries of a map are structs in Arrow");
        };
        let entries = StructArray::try_new_with_length(
            fields.clone(),
            vec![self.key.finish(), self.value.finish()],
            None,
            rows,
        )
        .expect("there are as many keys as values, of the declared types");
        Arc::new(MapArray::new(Arc::clone(&self.entries), self.ends.finish(), entries, nulls, false))
    }
}
