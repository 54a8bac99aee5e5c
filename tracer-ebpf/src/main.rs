//! tracer's kernel programs, one file per hook.
//!
//! | module | what |
//! |---|---|
//! | [`tc`] | the classifiers |
//! | [`xdp`] | the program that sees packets before the kernel allocates an sk_buff |
//! | [`closer`] | the work that both of them do on a packet |
//! | [`context`] | the context that both get for a packet, and ways to read the packet's bytes |
//! | [`drop`] | the programs on `kfree_skb`, for packets that the kernel drops |
//! | [`buffer`] | ways to read a dropped packet |
//! | [`look`] | the stages in which the programs parse a packet |
//! | [`maps`] | the maps and globals that user space shares |
//! | [`why`] | log lines that say why a packet has no event, for developers of these programs |
//!
//! Every path lets the packet pass, and no program writes to a packet.
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

/// The kernel offers some helpers, among them `bpf_ktime_get_ns`, to programs under the GPL only.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

/// No program gets here: the verifier rejects every program that could.
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
