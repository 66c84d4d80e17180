//! The guest of the sandbox benchmark: five columns in, five out, one multiply and one compare, no SDK in between.

mod arithmetic;

wit_bindgen::generate!({ world: "view", path: "../../../wit" });

use exports::millrace::transform::transform::{Batch, Context, Description, Field, Guest, Level, Output};
use millrace::transform::types::Column;

struct Columns;

fn field(name: &str, data_type: &str) -> Field {
    Field { name: name.to_owned(), data_type: data_type.to_owned(), nullable: false }
}

impl Guest for Columns {
    fn describe() -> Result<Description, String> {
        Ok(Description {
            name: "columns".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            input: vec![
                field("user", "string"),
                field("time", "timestamp"),
                field("amount", "float64"),
                field("quantity", "int64"),
                field("item", "int64"),
            ],
            output: vec![
                field("user", "string"),
                field("time", "timestamp"),
                field("total", "float64"),
                field("large", "bool"),
                field("item", "int64"),
            ],
            parameters: Vec::new(),
        })
    }

    fn open(_parameters: String, _input: Vec<Field>, _level: Level) -> Result<(), String> {
        Ok(())
    }

    fn process(input: Batch, _context: Context) -> Result<Output, String> {
        let columns: [Column; 5] = input.columns.try_into().map_err(|_| "five columns were expected".to_owned())?;
        let [user, time, amount, quantity, item] = columns;
        let totals = arithmetic::totals(&amount.values, &quantity.values);
        let large = arithmetic::is_large(&totals, 100.0);
        let column = |values| Column { validity: Vec::new(), offsets: Vec::new(), values, children: Vec::new() };
        let columns = vec![user, time, column(totals), column(large), item];
        Ok(Output { batch: Batch { rows: input.rows, columns }, input_rows: Vec::new(), rejected: Vec::new() })
    }
}

export!(Columns);
