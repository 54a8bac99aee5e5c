//! tracer's kernel programs, one file per hook.
//!
//! | module | what |
//! |---|---|
//! | [`tc`] | the classifiers |
//! | [`xdp`] | the program that sees packets before there is an sk_buff |
//! | [`closer`] | what both do with a packet |
//! | [`context`] | what both are given of one, and ways to read its bytes |
//! | [`drop`] | the programs on `kfree_skb`: packets that go no further |
//! | [`buffer`] | ways to read what these are given |
//! | [`look`] | the stages in which they look at a packet |
//! | [`maps`] | what is shared with user space |
//! | [`why`] | why a packet has no event, for who works on these programs |
//!
//! Every path ends in "let it pass", and nothing here writes to a packet.
#![no_std]
#![no_main]

mod buffer;
mod closer;
mod context;
mod drop;
mod look;
mod maps;
mod tc;
mod why;
mod xdp;

/// Some helpers, among them `bpf_ktime_get_ns`, are for programs under the GPL
/// only.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

/// The verifier admits no program that could get here.
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
