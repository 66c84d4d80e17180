//! `#[derive(Input)]`.

use proc_macro2::{Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{DeriveInput, Lifetime, Result};

use crate::fields::{fields, lifetime};

pub(crate) fn expand(item: &DeriveInput) -> Result<TokenStream> {
    let fields = fields(item, "Input")?;
    let name = &item.ident;
    let own = lifetime(item)?;
    let generics = own.as_ref().map(|own| quote!(<#own>));
    let life = own.unwrap_or_else(|| Lifetime::new("'batch", Span::call_site()));
    let count = fields.len();
    let ident: Vec<_> = fields.iter().map(|field| field.ident).collect();
    let column: Vec<_> = fields.iter().map(|field| &field.name).collect();
    // Whatever depends on a field's type carries that type's span, for that is where the error belongs.
    let declared = fields.iter().map(|field| {
        let (ident, ty) = (field.ident, field.ty);
        quote_spanned!(ty.span()=> pub #ident: In<#life, #ty>)
    });
    let described = fields.iter().map(|field| {
        let (name, ty) = (&field.name, field.ty);
        quote_spanned!(ty.span()=> field::<#ty>(#name))
    });
    let bound = fields.iter().enumerate().map(|(index, field)| {
        let (ident, name, ty) = (field.ident, &field.name, field.ty);
        quote_spanned!(ty.span()=> #ident: In::bind_field(views, #index, #name)?)
    });
    let flawed = fields.iter().map(|field| {
        let ident = field.ident;
        quote_spanned!(field.ty.span()=> In::flawed(&columns.#ident))
    });
    let problem = fields.iter().map(|field| {
        let ident = field.ident;
        quote_spanned!(field.ty.span()=> In::problem(&columns.#ident, row))
    });
    let read = fields.iter().map(|field| {
        let ident = field.ident;
        quote_spanned!(field.ty.span()=> #ident: In::get(&columns.#ident, row))
    });
    Ok(quote! {
        #[doc(hidden)]
        const _: () = {
            use ::millrace::read::{FromValue, In, ItemFrom, Problem, field};
            use ::millrace::read_nested::{bind_struct, struct_problem, write_struct_type};
            use ::millrace::source::ColumnView;

            pub struct Columns<#life> {
                #(#declared,)*
            }

            #[automatically_derived]
            impl<#life> ::millrace::rows::InputRow<#life> for #name #generics {
                type Columns = Columns<#life>;
                const COUNT: usize = #count;

                fn fields() -> ::std::vec::Vec<::millrace::batch::Field> {
                    ::std::vec![#(#described),*]
                }

                fn bind(views: &[ColumnView<#life>]) -> ::std::result::Result<Columns<#life>, ::std::string::String> {
                    ::std::result::Result::Ok(Columns { #(#bound),* })
                }

                fn flawed(columns: &Columns<#life>) -> bool {
                    false #(|| #flawed)*
                }

                fn problem(columns: &Columns<#life>, row: usize) -> ::std::option::Option<(&'static str, Problem)> {
                    #(if let ::std::option::Option::Some(problem) = #problem {
                        return ::std::option::Option::Some((#column, problem));
                    })*
                    ::std::option::Option::None
                }

                #[inline(always)]
                fn read(columns: &Columns<#life>, row: usize) -> Self {
                    Self { #(#read),* }
                }

                fn touch(&self) {
                    let _ = (#(&self.#ident,)*);
                }
            }

            #[automatically_derived]
            impl<#life> FromValue<#life> for #name #generics {
                type Column = Columns<#life>;

                fn data_type(text: &mut ::std::string::String) {
                    write_struct_type::<Self>(text);
                }

                fn bind(view: ColumnView<#life>) -> ::std::result::Result<Columns<#life>, ::std::string::String> {
                    bind_struct::<Self>(view)
                }

                fn flawed(columns: &Columns<#life>) -> bool {
                    <Self as ::millrace::rows::InputRow<#life>>::flawed(columns)
                }

                fn problem(columns: &Columns<#life>, row: usize) -> ::std::option::Option<Problem> {
                    struct_problem::<Self>(columns, row)
                }

                fn read(columns: &Columns<#life>, row: usize) -> Self {
                    <Self as ::millrace::rows::InputRow<#life>>::read(columns, row)
                }
            }

            #[automatically_derived]
            impl<#life> ItemFrom<#life> for #name #generics {}
        };
    })
}
