//! What is known about a drop of a journey's packet.
//!
//! A drop is evidence, not a verdict: the kernel also frees packets that arrived. The verdict's
//! table knows what reason and function mean. The engine only needs to know whether to go on
//! waiting.

use std::sync::Arc;

use tracer_common::drop::Scope;

use crate::model::{Cause, Ends, Fact, Mac};

/// What a drop means for the packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// The packet is lost, and its receiver waits in vain.
    Loss,
    /// The receiving host refuses the packet, and tells the sender.
    Refusal,
    /// The packet had only data that the receiver had already.
    Duplicate,
    /// The packet had already arrived.
    Delivered,
    /// The packet was a copy for a host that is not its receiver, or for a socket that captures
    /// packets.
    Flooded,
    /// The meaning is unknown.
    Unknown,
}

impl Class {
    /// All classes, in the order in which views show them.
    pub const ALL: [Self; 6] = [
        Self::Loss,
        Self::Unknown,
        Self::Refusal,
        Self::Duplicate,
        Self::Delivered,
        Self::Flooded,
    ];

    /// The class in one word.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Loss => "loss",
            Self::Refusal => "refusal",
            Self::Duplicate => "duplicate",
            Self::Delivered => "delivered",
            Self::Flooded => "flooded",
            Self::Unknown => "unknown",
        }
    }

    /// Whether the drop may be a loss.
    #[must_use]
    pub const fn is_suspect(self) -> bool {
        matches!(self, Self::Loss | Self::Unknown)
    }
}

/// The class of a drop, and the reasons for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// The class.
    pub class: Class,
    /// The cause. `None` if unknown.
    pub cause: Option<Cause>,
    /// What happened, in a phrase.
    pub why: &'static str,
    /// The place in the kernel's source that shows this. Empty if unknown.
    pub source: &'static str,
}

/// A drop of a journey's packet, or of some of its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drop {
    /// Index into [`super::Scene::nodes`].
    pub node: usize,
    /// Time of the drop: Unix time, ns.
    pub time: i64,
    /// Network namespace: `host`, or the pod's name.
    pub netns: Arc<str>,
    /// How the agent found the namespace. `None`: by the packet's last hop.
    pub scope: Option<Scope>,
    /// The interface where the packet was, if known.
    pub device: Option<Arc<str>>,
    /// Destination MAC address of the frame, if the frame still had an Ethernet header.
    pub dst_mac: Option<Mac>,
    /// The packet's ends when it was freed. `None` for packets that are never translated.
    pub ends: Option<Box<Ends>>,
    /// Name of the kernel's drop reason.
    pub reason: Arc<str>,
    /// The function that freed the packet.
    pub function: Arc<str>,
    /// Offset in the function, bytes.
    pub offset: u64,
    /// What reason and function mean.
    pub judgement: Judgement,
    /// Whether the kernel freed an sk_buff in which the packet was last seen.
    pub same_buffer: bool,
    /// What the agent read at the time of the drop.
    pub facts: Arc<[Fact]>,
    /// The part of the packet that was freed: start and end offsets of payload bytes. Without TCP
    /// data, 0 and 1.
    pub part: (u32, u32),
}
