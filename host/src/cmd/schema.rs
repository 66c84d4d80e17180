//! `host schema`: JSON Schemas of our files, for editors.

use crate::cli::{SchemaArgs, SchemaOf};
use crate::report::Stopped;
use crate::results;

/// Runs the command.
pub(crate) fn schema(args: &SchemaArgs) -> Result<(), Stopped> {
    let schema = match args.of {
        SchemaOf::View => spec::schema::view_schema(),
        SchemaOf::Host => spec::schema::host_schema(),
    };
    Ok(results::print(&format!("{schema:#}\n"))?)
}
