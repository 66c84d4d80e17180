//! `#[transform]`.

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::parse::Parser;
use syn::spanned::Spanned;
use syn::{Error, Expr, FnArg, ItemFn, Result, ReturnType, Type};

struct Options {
    columns: bool,
    name: TokenStream,
    version: TokenStream,
}

pub(crate) fn expand(options: TokenStream, item: TokenStream) -> Result<TokenStream> {
    let options = parse_options(options)?;
    let function: ItemFn = syn::parse2(item)?;
    let signature = &function.sig;
    if let Some(token) = &signature.asyncness {
        return Err(Error::new(token.span, "a transform is called and answers: it cannot be async"));
    }
    if let Some(parameter) = signature.generics.type_params().next() {
        return Err(Error::new_spanned(
            parameter,
            "a transform has one input and one output: write the types",
        ));
    }
    let own = if options.columns { 2 } else { 1 };
    let wanted = if options.columns {
        "`fn(events: Columns<In>, out: &mut Builder<Out>)`"
    } else {
        "`fn(event: In) -> Out`"
    };
    if signature.inputs.len() < own {
        return Err(Error::new(signature.ident.span(), format!("this is written {wanted}")));
    }
    let mut types = Vec::new();
    for input in &signature.inputs {
        match input {
            FnArg::Typed(input) => types.push(&*input.ty),
            FnArg::Receiver(receiver) => {
                return Err(Error::new_spanned(
                    receiver,
                    "a transform is a free function: nothing may be kept between rows",
                ));
            }
        }
    }
    let (mut params, mut extra) = (None, Vec::new());
    for ty in &types[own..] {
        let Type::Reference(reference) = ty else {
            return Err(Error::new_spanned(
                ty,
                format!("after {wanted}, parameters and context are borrowed: `&…`"),
            ));
        };
        if is_context(&reference.elem) {
            extra.push(quote!(context));
        } else if params.is_none() {
            params = Some(&*reference.elem);
            extra.push(quote!(params));
        } else {
            return Err(Error::new_spanned(ty, "a transform has one set of parameters"));
        }
    }

    let ident = &signature.ident;
    // What the compiler has to say of the input or output type, it says where that type stands.
    let input = types[0].span();
    let output = match &signature.output {
        ReturnType::Default if options.columns => types[1].span(),
        ReturnType::Default => {
            return Err(Error::new(signature.ident.span(), format!("this is written {wanted}")));
        }
        ReturnType::Type(_, ty) => ty.span(),
    };
    let iterator = matches!(&signature.output, ReturnType::Type(_, ty) if matches!(**ty, Type::ImplTrait(_)));
    let absent: Vec<_> = extra.iter().map(|_| quote!(::millrace::transform::absent())).collect();
    let (schema, call) = if options.columns {
        let described = quote!(|events, out| #ident(events, out, #(#absent),*));
        let called = quote!(|events, out| #ident(events, out, #(#extra),*));
        (
            quote_spanned!(input=> ::millrace::transform::column_schema(#described)),
            quote_spanned!(input=> ::millrace::columns::run_columns(source, #called)),
        )
    } else {
        let wrap = iterator.then(|| quote!(::millrace::rows::Rows));
        let described = quote!(|event| #wrap(#ident(event, #(#absent),*)));
        let called = quote!(|event| #wrap(#ident(event, #(#extra),*)));
        let read = quote_spanned!(input=> ::millrace::transform::input_fields(#described));
        let made = quote_spanned!(output=> ::millrace::transform::output_fields(#described));
        (quote!((#read, #made)), quote_spanned!(output=> ::millrace::rows::run_rows(source, #called)))
    };
    let params = params.map_or_else(|| quote!(()), |ty| quote!(#ty));
    let vis = &function.vis;
    let Options { name, version, .. } = &options;
    // Rows are given by value, whether or not the function takes them apart. Not `expect`: mostly it does.
    let lenient = quote!(allow);
    Ok(quote! {
        #[#lenient(clippy::needless_pass_by_value)]
        #function

        /// The function as a [`millrace::transform::Transform`].
        #[doc(hidden)]
        #[expect(non_camel_case_types, reason = "it has the name of the function")]
        #vis enum #ident {}

        #[doc(hidden)]
        const _: () = {
            use ::millrace::batch::{Batch, Context, Description, Field, Output};
            use ::std::{result::Result, string::String, vec::Vec};

            impl ::millrace::transform::Transform for #ident {
                type Params = #params;

                fn describe() -> Description {
                    ::millrace::transform::description::<#params>(#name, #version, #schema)
                }

                fn process(
                    source: ::millrace::source::Source<'_>,
                    params: &#params,
                    context: &Context,
                ) -> Result<Output, String> {
                    #call
                }
            }

            #[cfg(target_arch = "wasm32")]
            impl ::millrace::guest::Guest for #ident {
                fn params() -> &'static ::std::sync::OnceLock<#params> {
                    static PARAMS: ::std::sync::OnceLock<#params> = ::std::sync::OnceLock::new();
                    &PARAMS
                }
            }

            #[cfg(target_arch = "wasm32")]
            impl ::millrace::guest::bindings::exports::millrace::transform::transform::Guest for #ident {
                fn describe() -> Result<Description, String> {
                    ::millrace::guest::describe::<Self>()
                }

                fn open(
                    parameters: String,
                    input: Vec<Field>,
                    level: ::millrace::guest::bindings::millrace::transform::log::Level,
                ) -> Result<(), String> {
                    ::millrace::guest::open::<Self>(&parameters, input, level)
                }

                fn process(input: Batch, context: Context) -> Result<Output, String> {
                    ::millrace::guest::process::<Self>(&input, &context)
                }
            }

            #[cfg(target_arch = "wasm32")]
            ::millrace::guest::bindings::export_view!(#ident with_types_in ::millrace::guest::bindings);

            // Elsewhere nothing else may use the function.
            const _: fn() -> Description = <#ident as ::millrace::transform::Transform>::describe;
        };
    })
}

fn parse_options(options: TokenStream) -> Result<Options> {
    let mut parsed = Options {
        columns: false,
        name: quote!(::std::env!("CARGO_PKG_NAME")),
        version: quote!(::std::env!("CARGO_PKG_VERSION")),
    };
    let parser = syn::meta::parser(|meta| {
        if meta.path.is_ident("columns") {
            parsed.columns = true;
            return Ok(());
        }
        let place = if meta.path.is_ident("name") {
            &mut parsed.name
        } else if meta.path.is_ident("version") {
            &mut parsed.version
        } else {
            return Err(
                meta.error("unknown option; known are `columns`, `name = \"…\"` and `version = \"…\"`")
            );
        };
        let text: Expr = meta.value()?.parse()?;
        *place = quote!(#text);
        Ok(())
    });
    parser.parse2(options)?;
    Ok(parsed)
}

fn is_context(ty: &Type) -> bool {
    matches!(ty, Type::Path(path) if path.path.segments.last().is_some_and(|last| last.ident == "Context"))
}
