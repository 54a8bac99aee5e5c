//! tracer's kernel programs, one file per hook.
//!
//! | module | what |
//! |---|---|
//! | [`tc`] | the classifiers, and what they do with a packet |
//! | [`drop`] | the programs on `kfree_skb`: packets that go no further |
//! | [`buffer`] | ways to read what these are given |
//! | [`look`] | the stages in which they look at a packet |
//! | [`skb`] | ways to read an sk_buff's bytes |
//! | [`maps`] | what is shared with user space |
//! | [`why`] | why a packet has no event, for who works on these programs |
//!
//! Every path ends in "let it pass", and nothing here writes to a packet.
#![no_std]
#![no_main]

mod buffer;
mod drop;
mod look;
mod maps;
mod skb;
mod tc;
mod why;

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
