//! The kernel's BTF: offsets of fields, names of numbers, and numbers of a tracepoint's
//! arguments.
//!
//! The format is that of Documentation/bpf/btf.rst in the kernel's source: a
//! header, type descriptions of varying length, strings. Structures contain
//! anonymous structures and unions, whose members C counts among the outer
//! one's, so a look-up descends into them.

use std::{fs, io, ops::Range, path::Path};

/// Folder with the BTF of the running kernel and, by name, of its modules.
const FOLDER: &str = "/sys/kernel/btf";
const VMLINUX: &str = "/sys/kernel/btf/vmlinux";

const MAGIC: u16 = 0xeb9f;

/// Limit of anonymous members around a field, and of qualifiers and typedefs before a type.
const DEPTH: usize = 32;

/// Why BTF cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BtfError {
    /// The file cannot be read.
    #[error("the kernel's type information {VMLINUX} cannot be read: {0}")]
    Read(#[from] io::Error),
    /// The format is invalid.
    #[error("the kernel's type information cannot be understood: {0}")]
    Malformed(&'static str),
    /// A structure lacks a field.
    #[error("this kernel's {structure} has no {field}: tracer cannot see its drops")]
    NoField {
        /// The structure.
        structure: &'static str,
        /// The path of the field.
        field: &'static str,
    },
    /// The tracepoint has unexpected arguments.
    #[error("this kernel's kfree_skb tracepoint is of a kind that tracer does not know")]
    Tracepoint,
}

/// Kinds of types, by their numbers in the format.
mod kind {
    pub(super) const INT: u32 = 1;
    pub(super) const PTR: u32 = 2;
    pub(super) const ARRAY: u32 = 3;
    pub(super) const STRUCT: u32 = 4;
    pub(super) const UNION: u32 = 5;
    pub(super) const ENUM: u32 = 6;
    pub(super) const FWD: u32 = 7;
    pub(super) const TYPEDEF: u32 = 8;
    pub(super) const VOLATILE: u32 = 9;
    pub(super) const CONST: u32 = 10;
    pub(super) const RESTRICT: u32 = 11;
    pub(super) const FUNC_PROTO: u32 = 13;
    pub(super) const VAR: u32 = 14;
    pub(super) const DATASEC: u32 = 15;
    pub(super) const DECL_TAG: u32 = 17;
    pub(super) const TYPE_TAG: u32 = 18;
    pub(super) const ENUM64: u32 = 19;
}

/// The fixed part of a type, and the place of what follows.
#[derive(Clone, Debug)]
struct Type {
    name: u32,
    kind: u32,
    /// Whether members have bit sizes (`kind_flag`).
    flag: bool,
    /// The type that this type refers to; for structures and similar types, their size.
    inner: u32,
    rest: Range<usize>,
}

/// Parsed BTF.
#[derive(Clone, Debug)]
pub struct Btf {
    bytes: Vec<u8>,
    strings: Range<usize>,
    /// Types; index 0 is type 1, because 0 is void.
    types: Vec<Type>,
}

impl Btf {
    /// Reads the running kernel's BTF.
    ///
    /// # Errors
    /// [`BtfError`].
    pub fn of_kernel() -> Result<Self, BtfError> {
        Self::parse(fs::read(VMLINUX)?)
    }

    /// Reads the BTF of a module, for which this one of the kernel is the base. The result has
    /// the module's own types. `None` if the module is not loaded, or its BTF cannot be used.
    #[must_use]
    pub fn of_module(&self, name: &str) -> Option<Self> {
        let bytes = fs::read(Path::new(FOLDER).join(name)).ok()?;
        self.split(bytes)
    }

    /// Parses the bytes of a module's BTF. Offsets of strings continue from the base's (Split
    /// BTF in Documentation/bpf/btf.rst). So do the numbers of types, which nobody looks up
    /// here.
    fn split(&self, bytes: Vec<u8>) -> Option<Self> {
        let own = Self::parse(bytes).ok()?;
        let strings = [self, &own].map(|btf| &btf.bytes[btf.strings.clone()]);
        let strings = strings.concat();
        let start = own.bytes.len();
        let bytes = [own.bytes, strings].concat();
        Some(Self {
            strings: start..bytes.len(),
            bytes,
            types: own.types,
        })
    }

    /// Parses `bytes`, in this machine's byte order.
    ///
    /// # Errors
    /// [`BtfError::Malformed`].
    pub fn parse(bytes: Vec<u8>) -> Result<Self, BtfError> {
        let short = BtfError::Malformed("it ends within its header");
        let word = |at: usize| u32_at(&bytes, at);
        let magic = bytes.first_chunk().map(|bytes| u16::from_ne_bytes(*bytes));
        if magic != Some(MAGIC) {
            return Err(BtfError::Malformed("it does not begin as it must"));
        }
        let (Some(header), Some(types), Some(types_len), Some(strings), Some(strings_len)) =
            (word(4), word(8), word(12), word(16), word(20))
        else {
            return Err(short);
        };
        let section = |at: u32, len: u32| {
            let start = (header as usize).checked_add(at as usize)?;
            let end = start.checked_add(len as usize)?;
            (end <= bytes.len()).then_some(start..end)
        };
        let (Some(types), Some(strings)) =
            (section(types, types_len), section(strings, strings_len))
        else {
            return Err(BtfError::Malformed("a section lies outside of it"));
        };
        let types = self::types(&bytes, types)?;
        Ok(Self {
            bytes,
            strings,
            types,
        })
    }

    /// The offset in bytes of a field: `path` names members, from the outer to
    /// the inner, with dots between.
    ///
    /// # Errors
    /// If there is no such field, or it is a bit field.
    pub fn offset(&self, structure: &'static str, path: &'static str) -> Result<u32, BtfError> {
        let missing = BtfError::NoField {
            structure,
            field: path,
        };
        let id = self.named(kind::STRUCT, structure);
        let find = |id| {
            let start = (id, 0_u32);
            path.split('.').try_fold(start, |(id, offset), name| {
                let (inner, at) = self.member(id, name.as_bytes(), DEPTH)?;
                Some((inner, offset.checked_add(at)?))
            })
        };
        id.and_then(find)
            .filter(|(_, bits)| bits % 8 == 0)
            .map(|(_, bits)| bits / 8)
            .ok_or(missing)
    }

    /// Names and numbers of an enumeration; empty if there is none of this name.
    #[must_use]
    pub fn enumerators(&self, name: &str) -> Vec<(String, u32)> {
        let Some(entry) = self.named(kind::ENUM, name).and_then(|id| self.get(id)) else {
            return Vec::new();
        };
        let words = self.bytes[entry.rest.clone()].chunks_exact(8);
        let enumerator = |chunk: &[u8]| {
            let name = self.string(u32_at(chunk, 0)?);
            Some((
                String::from_utf8_lossy(name).into_owned(),
                u32_at(chunk, 4)?,
            ))
        };
        words.filter_map(enumerator).collect()
    }

    /// Number of arguments that a tracepoint passes to its programs; `None` if it is not known.
    #[must_use]
    pub fn tracepoint_arguments(&self, tracepoint: &str) -> Option<usize> {
        let pointer = self.named(kind::TYPEDEF, &format!("btf_trace_{tracepoint}"))?;
        let pointer = self.get(self.resolve(pointer)?)?;
        let prototype = self.get(self.resolve(pointer.inner)?)?;
        let is_function = pointer.kind == kind::PTR && prototype.kind == kind::FUNC_PROTO;
        // The first parameter is the tracepoint's own.
        is_function.then(|| (prototype.rest.len() / 8).checked_sub(1))?
    }

    /// BTF in which the tracepoint's type has its real number, and all other types are
    /// nameless. It is for a reader that needs only this number, and would be slow with the
    /// whole BTF.
    #[must_use]
    pub fn only_tracepoint(&self, tracepoint: &str) -> Option<Vec<u8>> {
        const HEADER: u32 = 24;
        const FORWARD: [u32; 3] = [0, kind::FWD << 24, 0];

        let name = format!("\0btf_trace_{tracepoint}\0");
        let id = self.named(kind::TYPEDEF, name.trim_matches('\0'))?;
        let typedef = [1, kind::TYPEDEF << 24, 0];
        let types = u32::try_from(size_of_val(&FORWARD)).ok()?.checked_mul(id)?;
        let strings = u32::try_from(name.len()).ok()?;
        let mut bytes = MAGIC.to_ne_bytes().to_vec();
        // Version and flags.
        bytes.extend([1, 0]);
        let words = [HEADER, 0, types, types, strings].into_iter();
        let types = (1..id).flat_map(|_| FORWARD).chain(typedef);
        bytes.extend(words.chain(types).flat_map(u32::to_ne_bytes));
        bytes.extend(name.into_bytes());
        Some(bytes)
    }

    /// The first type of a name; later ones are private to other files.
    ///
    /// The few look-ups at the start take less time than an index of all names.
    fn named(&self, kind: u32, name: &str) -> Option<u32> {
        let is_it = |entry: &Type| entry.kind == kind && self.string(entry.name) == name.as_bytes();
        let index = self.types.iter().position(is_it)?;
        u32::try_from(index).ok()?.checked_add(1)
    }

    fn get(&self, id: u32) -> Option<&Type> {
        self.types.get(usize::try_from(id).ok()?.checked_sub(1)?)
    }

    /// Resolves typedefs and qualifiers.
    fn resolve(&self, mut id: u32) -> Option<u32> {
        for _ in 0..DEPTH {
            let entry = self.get(id)?;
            match entry.kind {
                kind::TYPEDEF | kind::VOLATILE | kind::CONST | kind::RESTRICT | kind::TYPE_TAG => {
                    id = entry.inner;
                }
                _ => return Some(id),
            }
        }
        None
    }

    /// Type and offset of a member, bits; also for members of anonymous members.
    fn member(&self, id: u32, name: &[u8], depth: usize) -> Option<(u32, u32)> {
        let entry = self.get(self.resolve(id)?)?;
        if !matches!(entry.kind, kind::STRUCT | kind::UNION) || depth == 0 {
            return None;
        }
        for chunk in self.bytes[entry.rest.clone()].chunks_exact(12) {
            let (member, inner, at) = (u32_at(chunk, 0)?, u32_at(chunk, 4)?, u32_at(chunk, 8)?);
            // With the flag, the upper byte is the size of a bit field.
            let at = if entry.flag { at & 0x00ff_ffff } else { at };
            let member = self.string(member);
            if member == name {
                return Some((inner, at));
            }
            if member.is_empty()
                && let Some((found, within)) = self.member(inner, name, depth - 1)
            {
                return Some((found, at.checked_add(within)?));
            }
        }
        None
    }

    /// The bytes of a string, without the zero that ends it.
    fn string(&self, offset: u32) -> &[u8] {
        let strings = &self.bytes[self.strings.clone()];
        let text = strings.get(offset as usize..).unwrap_or_default();
        text.split(|byte| *byte == 0).next().unwrap_or_default()
    }
}

/// Finds where each type begins.
fn types(bytes: &[u8], section: Range<usize>) -> Result<Vec<Type>, BtfError> {
    let cut = || BtfError::Malformed("a type ends outside of its section");
    let mut types = Vec::new();
    let mut at = section.start;
    while at < section.end {
        let word = |offset: usize| u32_at(bytes, at + offset).ok_or_else(cut);
        let (name, info, inner) = (word(0)?, word(4)?, word(8)?);
        let kind = (info >> 24) & 0x1f;
        let count = (info & 0xffff) as usize;
        let rest = match kind {
            kind::INT | kind::VAR | kind::DECL_TAG => 4,
            kind::ARRAY => 12,
            kind::STRUCT | kind::UNION | kind::DATASEC | kind::ENUM64 => 12 * count,
            kind::ENUM | kind::FUNC_PROTO => 8 * count,
            // These are pointers, forward declarations, typedefs, qualifiers, functions, floats
            // and tags. A kind beyond these has an unknown length.
            2 | 7..=12 | 16 | 18 => 0,
            _ => return Err(BtfError::Malformed("a type is of an unknown kind")),
        };
        let start = at + 12;
        let end = start + rest;
        if end > section.end {
            return Err(cut());
        }
        types.push(Type {
            name,
            kind,
            flag: info >> 31 != 0,
            inner,
            rest: start..end,
        });
        at = end;
    }
    Ok(types)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..)?.first_chunk()?;
    Some(u32::from_ne_bytes(*bytes))
}

#[cfg(test)]
#[path = "btf_tests.rs"]
mod tests;
