use anyhow::{Context, Result};
use serde_json::Value;
use tracer_tests::raw::PacketSocket;

use crate::stage::{Seen, Stage};

/// Frames of one kind, and their expected results together.
pub(crate) struct Case {
    what: String,
    frames: Vec<Vec<u8>>,
    expected: Expected,
    or_twice: bool,
}

/// The expected counts, and the journeys with their hops and verdicts.
#[derive(Debug, Default, PartialEq, Eq)]
struct Expected {
    unparsed: u64,
    malformed: u64,
    journeys: Vec<(usize, String)>,
}

impl Case {
    /// Frames that leave no trace, unless other calls expect one.
    pub(crate) fn new(what: impl Into<String>, frames: impl IntoIterator<Item = Vec<u8>>) -> Self {
        Self {
            what: what.into(),
            frames: frames.into_iter().collect(),
            expected: Expected::default(),
            or_twice: false,
        }
    }

    /// Expects that each frame is unparsed at this number of points.
    pub(crate) fn unparsed(mut self, points: u64) -> Self {
        self.expected.unparsed = points * self.frames.len() as u64;
        self
    }

    /// Expects that each frame is unparsed at one point or at two, depending on the kernel.
    pub(crate) fn unparsed_once_or_twice(mut self) -> Self {
        self.or_twice = true;
        self.unparsed(1)
    }

    /// Expects that each frame makes a journey with this number of hops.
    pub(crate) fn journey(mut self, hops: usize, verdict: &str) -> Self {
        let journey = (hops, verdict.to_owned());
        let journeys = &mut self.expected.journeys;
        journeys.extend(self.frames.iter().map(|_| journey.clone()));
        journeys.sort();
        self
    }

    /// Sends the frames during a follow of the pods, and compares the results.
    pub(crate) fn check(self, stage: &Stage, socket: &PacketSocket) -> Result<()> {
        self.check_with(stage, socket, &[])
    }

    /// As [`Case::check`], with options of the follow.
    pub(crate) fn check_with(
        self,
        stage: &Stage,
        socket: &PacketSocket,
        options: &[&str],
    ) -> Result<()> {
        let Self {
            what,
            frames,
            mut expected,
            or_twice,
        } = self;
        let send = || frames.iter().try_for_each(|frame| socket.send(frame));
        let seen = stage.watch(options, send).with_context(|| what.clone())?;
        if or_twice && seen.unparsed == 2 * expected.unparsed {
            expected.unparsed = seen.unparsed;
        }
        assert_eq!(counted(&seen), expected, "{what}: {:#?}", seen.journeys);
        Ok(())
    }
}

fn counted(seen: &Seen) -> Expected {
    let way = |journey: &Value| {
        let hops = journey["hops"].as_array().map_or(0, Vec::len);
        let verdict = journey["verdict"]["kind"].as_str().unwrap_or_default();
        (hops, verdict.to_owned())
    };
    let mut journeys: Vec<_> = seen.journeys.iter().map(way).collect();
    journeys.sort();
    Expected {
        unparsed: seen.unparsed,
        malformed: seen.malformed,
        journeys,
    }
}
