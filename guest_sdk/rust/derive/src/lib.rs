//! The macros of the Millrace guest SDK. Documentation for users is in the crate `millrace`.
//!
//! Each module turns one kind of item into tokens. Errors carry the span of what the user wrote; whether a field's
//! type can be a column is left to the compiler, which points at the field by itself.

mod fields;
mod input;
mod output;
mod params;
mod transform;

use proc_macro::TokenStream;

/// Reads a struct from input columns, one for each field.
#[proc_macro_derive(Input, attributes(millrace))]
pub fn derive_input(item: TokenStream) -> TokenStream {
    expand(item, input::expand)
}

/// Writes a struct to output columns, one for each field.
#[proc_macro_derive(Output, attributes(millrace))]
pub fn derive_output(item: TokenStream) -> TokenStream {
    expand(item, output::expand)
}

/// Reads a struct from the view's `params`.
///
/// A field of type `Option` need not be given, nor one with `#[millrace(default)]` or
/// `#[millrace(default = expression)]`. Comments on fields become the parameter's documentation.
#[proc_macro_derive(Params, attributes(millrace))]
pub fn derive_params(item: TokenStream) -> TokenStream {
    expand(item, params::expand)
}

/// Makes a component of a function.
///
/// `#[transform]` takes a function over rows: `fn(event: In) -> Out`, where the result may also be an `Option`, `Vec`,
/// array or `impl Iterator` of `Out`, or a `Result` of these. `#[transform(columns)]` takes a function over batches:
/// `fn(events: Columns<In>, out: &mut Builder<Out>)`. Both may further take `&Params` and `&Context`.
/// `name = "…"` and `version = "…"` replace those of the Cargo package.
#[proc_macro_attribute]
pub fn transform(options: TokenStream, item: TokenStream) -> TokenStream {
    transform::expand(options.into(), item.into()).unwrap_or_else(syn::Error::into_compile_error).into()
}

fn expand(
    item: TokenStream,
    with: fn(&syn::DeriveInput) -> syn::Result<proc_macro2::TokenStream>,
) -> TokenStream {
    syn::parse(item).and_then(|item| with(&item)).unwrap_or_else(syn::Error::into_compile_error).into()
}
