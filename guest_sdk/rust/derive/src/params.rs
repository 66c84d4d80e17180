//! `#[derive(Params)]`.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{DeriveInput, Error, GenericArgument, PathArguments, Result, Type};

use crate::fields::{Default, fields};

pub(crate) fn expand(item: &DeriveInput) -> Result<TokenStream> {
    let fields = fields(item, "Params")?;
    if let Some(parameter) = item.generics.params.first() {
        return Err(Error::new_spanned(
            parameter,
            "parameters outlive every batch: own the values, without generics",
        ));
    }
    let name = &item.ident;
    let ident = fields.iter().map(|field| field.ident);
    let mut described = Vec::new();
    let mut taken = Vec::new();
    for field in &fields {
        let (key, doc, ty) = (&field.name, &field.doc, field.ty);
        let kind = kind(ty);
        let optional = argument(ty, "Option").is_some();
        let required = matches!(field.default, Default::Required) && !optional;
        described.push(quote! {
            Parameter { name: #key.into(), kind: #kind.into(), required: #required, doc: #doc.into() }
        });
        taken.push(match &field.default {
            Default::Required if optional => quote!(object.take(#key)?),
            Default::Required => quote!(object.require::<#ty>(#key)?),
            Default::OfType => quote!(object.take::<#ty>(#key)?.unwrap_or_default()),
            Default::Is(expression) => quote! {
                match object.take::<#ty>(#key)? {
                    ::std::option::Option::Some(value) => value,
                    ::std::option::Option::None => (#expression).into(),
                }
            },
        });
    }
    Ok(quote! {
        #[doc(hidden)]
        const _: () = {
            use ::millrace::batch::Parameter;

            #[automatically_derived]
            impl ::millrace::params::Params for #name {
                fn describe() -> ::std::vec::Vec<Parameter> {
                    ::std::vec![#(#described),*]
                }

                fn from_json(text: &str) -> ::std::result::Result<Self, ::std::string::String> {
                    let mut object = ::millrace::params::Object::parse(text)?;
                    let params = Self { #(#ident: #taken),* };
                    object.finish(&<Self as ::millrace::params::Params>::describe())?;
                    ::std::result::Result::Ok(params)
                }
            }
        };
    })
}

/// The JSON type that a Rust type is read from, as far as its name tells.
fn kind(ty: &Type) -> &'static str {
    if let Some(inner) = argument(ty, "Option") {
        return kind(inner);
    }
    let Type::Path(path) = ty else { return "any" };
    let Some(last) = path.path.segments.last() else { return "any" };
    match last.ident.to_string().as_str() {
        "bool" => "bool",
        "i8" | "i16" | "i32" | "i64" | "isize" | "u8" | "u16" | "u32" | "u64" | "usize" => "integer",
        "f32" | "f64" => "number",
        "String" | "char" => "string",
        "Vec" | "VecDeque" | "HashSet" | "BTreeSet" => "list",
        "HashMap" | "BTreeMap" => "object",
        _ => "any",
    }
}

/// `T`, if the type is written `wrapper<T>`.
fn argument<'a>(ty: &'a Type, wrapper: &str) -> Option<&'a Type> {
    let Type::Path(path) = ty else { return None };
    let last = path.path.segments.last().filter(|last| last.ident == wrapper)?;
    let PathArguments::AngleBracketed(arguments) = &last.arguments else { return None };
    arguments.args.iter().find_map(|argument| match argument {
        GenericArgument::Type(inner) => Some(inner),
        _ => None,
    })
}
