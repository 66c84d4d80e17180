//! What a file is, before anything compiles it: size, completeness, kind. Core modules that carry the contract become
//! components here. What a component imports and exports is looked at later, in `contract.rs`.

use std::borrow::Cow;

use crate::componentize::{carries_contract, componentize_named, looks_like};
use crate::error::LoadError;

/// The largest component taken unless the host is told otherwise. Components of interpreted languages carry their
/// interpreter: Python's have 18 MiB. Bounds the time and memory of compiling.
pub const DEFAULT_MAX_COMPONENT: usize = 32 << 20;

/// Checks a file as far as it can be without an engine and gives the component's bytes.
///
/// `name` is for messages: a path, as a rule. A core module that carries the contract is componentized.
pub fn admit<'a>(name: &str, bytes: &'a [u8], max_size: usize) -> Result<Cow<'a, [u8]>, LoadError> {
    if bytes.len() > max_size {
        return Err(LoadError::TooLarge { name: name.to_owned(), size: bytes.len(), limit: max_size });
    }
    match kind(name, bytes)? {
        Kind::Component => {
            complete(name, bytes)?;
            Ok(Cow::Borrowed(bytes))
        }
        Kind::CoreModule => {
            complete(name, bytes)?;
            if carries_contract(bytes) {
                componentize_named(name, bytes).map(Cow::Owned)
            } else {
                Err(LoadError::NotAComponent { name: name.to_owned(), detail: looks_like(bytes) })
            }
        }
    }
}

enum Kind {
    Component,
    CoreModule,
}

/// Looks at the first bytes.
fn kind(name: &str, bytes: &[u8]) -> Result<Kind, LoadError> {
    const MAGIC: &[u8; 4] = b"\0asm";
    let other = |detail: &str| LoadError::NotAComponent { name: name.to_owned(), detail: detail.to_owned() };
    if bytes.is_empty() {
        return Err(LoadError::Incomplete { name: name.to_owned(), detail: "the file is empty".to_owned() });
    }
    let head = &bytes[..bytes.len().min(4)];
    if head != &MAGIC[..head.len()] {
        return Err(if wasmtime::Engine::detect_precompiled(bytes).is_some() {
            other(
                "it is machine code that wasmtime has compiled (`.cwasm`), which the host never runs; give it the `.wasm` it was made from",
            )
        } else if head.starts_with(b"\x7fELF") {
            other(
                "it is a native program or library; build the guest for `wasm32-unknown-unknown` or `wasm32-wasip2`",
            )
        } else if bytes.trim_ascii_start().starts_with(b"(") {
            other("it is WebAssembly text; encode it first, for example with `wasm-tools parse`")
        } else if bytes.starts_with(b"\x1f\x8b")
            || bytes.starts_with(b"PK")
            || bytes.starts_with(b"\x28\xb5\x2f\xfd")
        {
            other("it is compressed; unpack it first")
        } else {
            other("it does not start with the bytes of WebAssembly (`\\0asm`)")
        });
    }
    match bytes.get(4..8) {
        None => Err(LoadError::Incomplete {
            name: name.to_owned(),
            detail: format!("it ends after {} bytes, within its header", bytes.len()),
        }),
        Some([1, 0, 0, 0]) => Ok(Kind::CoreModule),
        Some([_, 0, 1, 0]) => Ok(Kind::Component),
        Some(version) => Err(other(&format!("its WebAssembly version {version:02x?} is not known"))),
    }
}

/// Walks over the top-level sections: a file whose last section is cut is still being written.
fn complete(name: &str, bytes: &[u8]) -> Result<(), LoadError> {
    for section in Sections::of(bytes) {
        if let Err(end) = section {
            return Err(LoadError::Incomplete {
                name: name.to_owned(),
                detail: match end {
                    Some(end) => format!("it ends after {} of at least {end} bytes", bytes.len()),
                    None => format!("it ends after {} bytes, within a section's header", bytes.len()),
                },
            });
        }
    }
    Ok(())
}

/// The top-level sections of a module or component: identifier and contents, or where the cut section would end.
pub(crate) struct Sections<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Sections<'a> {
    /// Iterates over what follows the 8 bytes of header.
    pub(crate) fn of(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 8 }
    }
}

impl<'a> Iterator for Sections<'a> {
    type Item = Result<(u8, &'a [u8]), Option<usize>>;

    fn next(&mut self) -> Option<Self::Item> {
        let id = *self.bytes.get(self.at)?;
        let Some((size, width)) = read_leb(&self.bytes[self.at + 1..]) else {
            self.at = self.bytes.len();
            return Some(Err(None));
        };
        let start = self.at + 1 + width;
        let end = start.saturating_add(size);
        self.at = end;
        Some(match self.bytes.get(start..end) {
            Some(contents) => Ok((id, contents)),
            None => Err(Some(end)),
        })
    }
}

/// An unsigned 32-bit LEB128 number and the bytes it takes. A malformed one reads as its greatest value: the
/// section then seems cut, and the validator has the last word where it is not.
pub(crate) fn read_leb(bytes: &[u8]) -> Option<(usize, usize)> {
    let mut value = 0_u64;
    for (index, byte) in bytes.iter().enumerate().take(5) {
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Some((usize::try_from(value).unwrap_or(usize::MAX), index + 1));
        }
    }
    (bytes.len() >= 5).then_some((usize::MAX, 5))
}
