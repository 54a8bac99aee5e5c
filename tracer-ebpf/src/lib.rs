//! tracer's kernel programs.
//!
//! The programs are in this crate's binary; the library is empty and exists
//! so that cargo can track changes of the package.
#![no_std]
