//! What all derives ask of a struct: named fields, their column names and attributes.

use proc_macro2::Span;
use syn::ext::IdentExt;
use syn::spanned::Spanned;
use syn::{Data, DeriveInput, Error, Expr, Fields, GenericParam, Ident, Lifetime, LitStr, Result, Type};

/// One field of a struct.
pub(crate) struct Field<'a> {
    pub(crate) ident: &'a Ident,
    pub(crate) ty: &'a Type,
    /// The column or key that it stands for.
    pub(crate) name: String,
    /// Its documentation in one line.
    pub(crate) doc: String,
    /// What to take if a parameter is not given.
    pub(crate) default: Default,
}

/// What to take if a parameter is not given.
pub(crate) enum Default {
    Required,
    OfType,
    Is(Expr),
}

/// The fields of a struct; anything else is refused where it stands.
pub(crate) fn fields<'a>(item: &'a DeriveInput, derive: &str) -> Result<Vec<Field<'a>>> {
    let data = match &item.data {
        Data::Struct(data) => data,
        Data::Enum(data) => return Err(refuse(data.enum_token.span, derive, "an enum")),
        Data::Union(data) => return Err(refuse(data.union_token.span, derive, "a union")),
    };
    let named = match &data.fields {
        Fields::Named(named) => &named.named,
        Fields::Unnamed(unnamed) => {
            return Err(refuse(unnamed.span(), derive, "a struct without field names"));
        }
        Fields::Unit => return Err(refuse(item.ident.span(), derive, "a struct without fields")),
    };
    if named.is_empty() && derive != "Params" {
        return Err(refuse(item.ident.span(), derive, "a struct without fields"));
    }
    let fields = named.iter().map(field).collect::<Result<Vec<_>>>()?;
    for (index, field) in fields.iter().enumerate() {
        if fields[..index].iter().any(|earlier| earlier.name == field.name) {
            return Err(Error::new(field.ident.span(), format!("two fields are named `{}`", field.name)));
        }
    }
    Ok(fields)
}

fn refuse(span: Span, derive: &str, what: &str) -> Error {
    Error::new(span, format!("`{derive}` is derived on a struct with named fields, not on {what}"))
}

fn field(field: &syn::Field) -> Result<Field<'_>> {
    let ident = field.ident.as_ref().expect("named fields have names");
    let mut name = ident.unraw().to_string();
    let mut doc = Vec::new();
    let mut default = Default::Required;
    for attribute in &field.attrs {
        if attribute.path().is_ident("doc") {
            if let syn::Meta::NameValue(pair) = &attribute.meta
                && let Expr::Lit(syn::ExprLit { lit: syn::Lit::Str(line), .. }) = &pair.value
            {
                doc.push(line.value().trim().to_owned());
            }
        } else if attribute.path().is_ident("millrace") {
            attribute.parse_nested_meta(|meta| {
                if meta.path.is_ident("name") {
                    let text: LitStr = meta.value()?.parse()?;
                    name = text.value();
                    if name.is_empty() || name.len() > 128 {
                        return Err(Error::new(text.span(), "a name has 1 to 128 bytes"));
                    }
                    Ok(())
                } else if meta.path.is_ident("default") {
                    default = match meta.value() {
                        Ok(value) => Default::Is(value.parse()?),
                        Err(_) => Default::OfType,
                    };
                    Ok(())
                } else {
                    Err(meta
                        .error("unknown attribute; known are `name = \"…\"` and, for parameters, `default`"))
                }
            })?;
        }
    }
    Ok(Field { ident, ty: &field.ty, name, doc: doc.join(" ").trim().to_owned(), default })
}

/// The one lifetime that a struct may have.
pub(crate) fn lifetime(item: &DeriveInput) -> Result<Option<Lifetime>> {
    let mut lifetime = None;
    for parameter in &item.generics.params {
        match parameter {
            GenericParam::Lifetime(parameter) if lifetime.is_none() => {
                lifetime = Some(parameter.lifetime.clone())
            }
            GenericParam::Lifetime(_) => {
                return Err(Error::new(
                    parameter.span(),
                    "one lifetime is enough: all columns live as long as the batch",
                ));
            }
            _ => {
                return Err(Error::new(
                    parameter.span(),
                    "columns have fixed types: write the type in place of a parameter",
                ));
            }
        }
    }
    Ok(lifetime)
}
