//! Log lines that say why a packet is a miss or unparsed, for developers of these programs.
//!
//! Without the feature `debug`, the compiler drops all of it, because a log line for each packet
//! costs many times what the program does.

use tracer_common::layers::Unparsed;

/// Logs that a packet at an interface is a miss, in the filter's first stage or in a later one.
#[inline(always)]
pub(crate) fn miss(ifindex: impl FnOnce() -> u32, first_stage: bool) {
    #[cfg(feature = "debug")]
    say(ifindex(), if first_stage { FIRST } else { SECOND });
    #[cfg(not(feature = "debug"))]
    let _ = (ifindex, first_stage);
}

/// Logs that a packet cannot be parsed.
#[inline(always)]
pub(crate) fn unparsed(ifindex: impl FnOnce() -> u32, unparsed: Unparsed) {
    #[cfg(feature = "debug")]
    say(
        ifindex(),
        match unparsed {
            Unparsed::Short => SHORT,
            Unparsed::Malformed => MALFORMED,
            Unparsed::TooDeep => TOO_DEEP,
            Unparsed::Unknown => UNKNOWN,
        },
    );
    #[cfg(not(feature = "debug"))]
    let _ = (ifindex, unparsed);
}

#[cfg(feature = "debug")]
pub(crate) use said::*;

#[cfg(feature = "debug")]
mod said {
    use aya_log_ebpf::{debug, trace};

    pub(crate) const FIRST: u32 = 0;
    pub(crate) const SECOND: u32 = 1;
    pub(crate) const SHORT: u32 = 2;
    pub(crate) const MALFORMED: u32 = 3;
    pub(crate) const TOO_DEEP: u32 = 4;
    pub(crate) const UNKNOWN: u32 = 5;

    /// Logs a line. The function is not inlined, so that the verifier checks it separately.
    /// `ifindex` is 0 for a dropped packet.
    #[inline(never)]
    pub(crate) fn say(ifindex: u32, why: u32) {
        match why {
            FIRST => trace!(
                (),
                "miss at {}: no address or no IP of the follow's", ifindex
            ),
            SECOND => trace!((), "miss at {}: another pair, protocol or port", ifindex),
            SHORT => debug!((), "unparsed at {}: ends within a header", ifindex),
            MALFORMED => debug!((), "unparsed at {}: an impossible header", ifindex),
            TOO_DEEP => debug!((), "unparsed at {}: too many headers", ifindex),
            _ => debug!((), "unparsed at {}: a header that is not read", ifindex),
        }
    }
}
