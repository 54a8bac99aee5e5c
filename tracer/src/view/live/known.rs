//! What the session has told, as the inbox hands it over to the state.

use std::{collections::VecDeque, sync::Arc};

use tracer_core::{
    journal::{Bound, Entry, Standing, Started},
    journey::Scene,
    verdict::Summary,
};

use super::travel::Clock;
use crate::view::path::Tally;

/// How much one can scroll back.
pub(super) const HELD: Bound = Bound { bytes: 192 << 20 };

/// What the session has told about the follow.
#[derive(Clone, Debug, Default)]
pub(super) struct Known {
    pub(super) started: Option<Started>,
    pub(super) scene: Arc<Scene>,
    pub(super) tally: Arc<Tally>,
    pub(super) standing: Option<Standing>,
    /// All notices, the latest last.
    pub(super) notices: Vec<String>,
    /// The sums, once the follow has ended.
    pub(super) summary: Option<Arc<Summary>>,
    /// The position of a replay that can be moved.
    pub(super) clock: Option<Clock>,
    /// The time at which rates are computed: Unix time, ns.
    pub(super) now: i64,
}

/// The first of some entries, if entries before it are missing.
#[derive(Clone, Copy, Debug)]
pub(super) struct Beginning {
    /// Number of the first entry.
    pub(super) number: u64,
    /// Latest start of a journey before the first entry: Unix time, ns.
    pub(super) since: Option<i64>,
}

/// New data, for the thread with the terminal.
pub(super) struct Taken {
    pub(super) known: Known,
    /// The first of the entries, if they do not follow those that were taken before.
    pub(super) from: Option<Beginning>,
    pub(super) entries: VecDeque<Arc<Entry>>,
    /// The entry to choose.
    pub(super) chosen: Option<u64>,
    /// Why a wish had no effect.
    pub(super) answer: Option<String>,
}
