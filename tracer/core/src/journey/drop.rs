//! What is known of a journey's packet where the kernel freed it.
//!
//! A drop is evidence, not a verdict: packets that arrived end there, too. What
//! reason and function mean is for the verdict's table to say; the engine only
//! needs to know whether to go on waiting.

use std::sync::Arc;

use tracer_common::drop::Scope;

use crate::model::{Cause, Ends, Fact, Mac};

/// What a drop does to the packet's journey.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// The packet is gone, and whoever waits for it waits in vain.
    Loss,
    /// The receiving host says no, and tells the sender.
    Refusal,
    /// It carried nothing that was not there already.
    Duplicate,
    /// It had arrived.
    Delivered,
    /// A copy for somebody who was not meant, or who only listens in.
    Flooded,
    /// It is unknown.
    Unknown,
}

impl Class {
    /// All, in the order in which they are shown.
    pub const ALL: [Self; 6] = [
        Self::Loss,
        Self::Unknown,
        Self::Refusal,
        Self::Duplicate,
        Self::Delivered,
        Self::Flooded,
    ];

    /// In one word.
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

    /// Whether the packet may be missing somewhere.
    #[must_use]
    pub const fn is_suspect(self) -> bool {
        matches!(self, Self::Loss | Self::Unknown)
    }
}

/// A class, and why it is this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// The class.
    pub class: Class,
    /// The mechanism; `None` for what is unknown.
    pub cause: Option<Cause>,
    /// What happened, in a phrase.
    pub why: &'static str,
    /// Where the kernel's source says so; empty for what is unknown.
    pub source: &'static str,
}

/// A journey's packet, or some of its bytes, freed by a kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drop {
    /// Index into [`super::Scene::nodes`].
    pub node: usize,
    /// When, Unix time, ns.
    pub time: i64,
    /// `host`, or the pod's name for a pod's own namespace.
    pub netns: Arc<str>,
    /// What told the namespace; `None`: the packet's last hop.
    pub scope: Option<Scope>,
    /// The interface it was at, where that is known.
    pub device: Option<Arc<str>>,
    /// Where its frame went, where that had such a header.
    pub dst_mac: Option<Mac>,
    /// The packet's ends when it was freed; `None` of what nothing translates.
    pub ends: Option<Box<Ends>>,
    /// The kernel's name of the reason.
    pub reason: Arc<str>,
    /// The function that freed it, and where in it.
    pub function: Arc<str>,
    /// Offset in the function, bytes.
    pub offset: u64,
    /// What reason and function mean.
    pub judgement: Judgement,
    /// Whether it was in the very sk_buff that the last hop before was in.
    pub same_buffer: bool,
    /// What the agent read at that moment.
    pub facts: Arc<[Fact]>,
    /// How much of the journey: offsets of payload bytes, from and to; 0 and
    /// 1 of what is no TCP data.
    pub part: (u32, u32),
}
