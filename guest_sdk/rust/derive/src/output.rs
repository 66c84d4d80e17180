//! `#[derive(Output)]`.

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{DeriveInput, Result};

use crate::fields::{Field, fields, lifetime};

pub(crate) fn expand(item: &DeriveInput) -> Result<TokenStream> {
    let fields = fields(item, "Output")?;
    let name = &item.ident;
    let generics = lifetime(item)?.map(|own| quote!(<#own>));
    let column: Vec<_> = fields.iter().map(|field| &field.name).collect();
    // Whatever depends on a field's type carries that type's span, for that is where the error belongs.
    let declared = fields.iter().map(|field| {
        let (ident, ty) = (field.ident, field.ty);
        quote_spanned!(ty.span()=> pub #ident: Out<#ty>)
    });
    let described = fields.iter().map(|field| {
        let (name, ty) = (&field.name, field.ty);
        quote_spanned!(ty.span()=> field::<#ty>(#name))
    });
    let empty = fields.iter().map(|field| {
        let ident = field.ident;
        quote_spanned!(field.ty.span()=> #ident: Out::with_capacity(capacity))
    });
    let pushed = fields.iter().map(|field| {
        let ident = field.ident;
        quote_spanned!(field.ty.span()=> Out::push(&mut columns.#ident, self.#ident))
    });
    let of_each = |method: TokenStream| {
        let call = move |field: &Field<'_>| {
            let ident = field.ident;
            quote_spanned!(field.ty.span()=> columns.#ident.#method())
        };
        fields.iter().map(call).collect::<Vec<_>>()
    };
    let (defaulted, lengths, finished) =
        (of_each(quote!(push_default)), of_each(quote!(len)), of_each(quote!(finish)));
    Ok(quote! {
        #[doc(hidden)]
        const _: () = {
            use ::millrace::rows::{Emit, OutputRow, Reject, Sink};
            use ::millrace::write::{Built, IntoItem, IntoValue, Out, field};
            use ::millrace::write_nested::{StructBuilder, push_struct, write_struct_type};

            pub struct Columns #generics {
                #(#declared,)*
            }

            #[automatically_derived]
            impl #generics OutputRow for #name #generics {
                type Columns = Columns #generics;

                fn fields() -> ::std::vec::Vec<::millrace::batch::Field> {
                    ::std::vec![#(#described),*]
                }

                fn columns(capacity: usize) -> Self::Columns {
                    Columns { #(#empty),* }
                }

                #[inline(always)]
                fn push(self, columns: &mut Self::Columns) {
                    #(#pushed;)*
                }

                fn push_default(columns: &mut Self::Columns) {
                    #(#defaulted;)*
                }

                fn lengths(columns: &Self::Columns) -> ::std::vec::Vec<(&'static str, usize)> {
                    ::std::vec![#((#column, #lengths)),*]
                }

                fn finish(columns: Self::Columns) -> ::std::result::Result<::std::vec::Vec<Built>, ::std::string::String> {
                    ::std::result::Result::Ok(::std::vec![#(#finished?),*])
                }
            }

            #[automatically_derived]
            impl #generics Emit for #name #generics {
                type Row = Self;

                #[inline(always)]
                fn emit(self, sink: &mut Sink<Self>) -> ::std::result::Result<(), Reject> {
                    sink.push(self);
                    ::std::result::Result::Ok(())
                }
            }

            #[automatically_derived]
            impl #generics IntoValue for #name #generics {
                type Column = StructBuilder<Self>;

                fn data_type(text: &mut ::std::string::String) {
                    write_struct_type::<Self>(text);
                }

                fn write(self, column: &mut Self::Column) {
                    push_struct(self, column);
                }
            }

            #[automatically_derived]
            impl #generics IntoItem for #name #generics {}
        };
    })
}
