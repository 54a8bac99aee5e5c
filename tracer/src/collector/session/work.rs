//! The work of a session on its agents' messages, and on its timers.

use std::time::Duration;

use tokio::time::Instant;
use tracer_core::{
    input::{Batch, Record},
    journal::View,
    model::Hello,
    request::{Command, Start},
};
use tracing::{debug, info};

use super::{Phase, STANDING, Session};
use crate::{
    clock::unix_now,
    collector::{Agents, SessionError, Update, Work, recorder::Recorder},
};

impl<V: View, N: FnMut(&str)> Work for Session<'_, V, N> {
    fn take(
        &mut self,
        agents: &mut Agents,
        agent: usize,
        batch: Batch,
    ) -> Result<(), SessionError> {
        if !self.matched && batch.hops.iter().any(|hop| !hop.packet.is_neighbour()) {
            self.matched = true;
            self.wonder = None;
            agents.send(&Command::Explain(false));
        }
        debug!(
            "{}: {} hops and {} drops in a batch of stream {}, all until {} ns",
            self.core.scene().nodes[agent].node,
            batch.hops.len(),
            batch.freed.len(),
            batch.stream,
            batch.watermark
        );
        self.record(|recorder| recorder.batch(agent, &batch));
        let anew = batch.begins_anew();
        let (reports, stream) = (batch.report.is_some(), batch.stream);
        let change = batch.change.as_ref();
        let leaves = change.is_some_and(|change| change.leaves);
        let is_masqueraded = !self.plan.masqueraded.is_empty();
        let new_addresses = change.is_some_and(|change| {
            !change.next_hops.is_empty() || (is_masqueraded && !change.local.is_empty())
        });
        let batch = Box::new(batch);
        self.core.take(Record::Batch { agent, batch });
        self.awaited.resize(self.core.streams(), false);
        if reports {
            self.awaited[self.core.stream(agent, stream)] = false;
        }
        if anew || leaves {
            self.away[agent] = false;
        }
        if anew {
            let node = &self.core.scene().nodes[agent].node;
            (self.notice)(&format!("{node} is watched again"));
            self.unreached.remove(node);
            self.stalls.grow(self.core.streams(), Instant::now());
            self.silences.grow(self.core.streams(), Instant::now());
            agents.send(&Command::Sample(self.sampling.bound()));
            agents.send(&Command::Explain(!self.matched));
        }
        if new_addresses || anew {
            self.send_filter(agents);
        }
        if reports && let Some(bound) = self.sampling.update(self.core.limited(), Instant::now()) {
            info!("sampling: {bound} of {} packets by their content", u32::MAX);
            agents.send(&Command::Sample(bound));
        }
        self.after()
    }

    fn gone(&mut self, agent: usize, why: &str) -> Result<(), SessionError> {
        let node = &self.core.scene().nodes[agent].node;
        (self.notice)(&format!(
            "lost the agent of {node}; packets there are unknown until it is back; trying again: {why}"
        ));
        self.away[agent] = true;
        self.end_streams(agent);
        self.after()
    }

    fn left(
        &mut self,
        agents: &mut Agents,
        agent: usize,
        batch: Batch,
    ) -> Result<(), SessionError> {
        self.end_streams(agent);
        self.take(agents, agent, batch)
    }

    fn update(&mut self, agents: &mut Agents, update: Update) -> Result<(), SessionError> {
        let Update {
            owners,
            targets,
            looks,
            joins,
            idle,
            notices,
        } = update;
        notices.iter().for_each(|line| (self.notice)(line));
        for change in owners {
            self.record(|recorder| {
                recorder.owners_changed(&change);
                Ok(())
            });
            self.core.take(Record::Owners(Box::new(change)));
        }
        // Discovery comes first: only then may the filter let packets of the new address through.
        for (node, look) in &looks {
            agents.look(node, look);
        }
        if let Some(targets) = targets {
            self.plan.filter.pairs = targets.pairs;
            self.plan.masqueraded = targets.masqueraded;
            self.plan.asked = targets.asked;
            self.send_filter(agents);
        }
        for (place, start) in joins {
            let filter = self.next_filter();
            agents.join((place, Start { filter, ..start }));
        }
        if let Some(idle) = idle {
            // As long as journeys wait, by the slowest clock.
            let hold = self.plan.limits.hold.saturating_add(self.core.skew());
            let departure = Duration::from_nanos(u64::try_from(hold).unwrap_or_default());
            agents.set_idle(idle, departure);
        }
        self.after()
    }

    fn joined(&mut self, agents: &mut Agents, hello: Hello) -> Result<(), SessionError> {
        let time = unix_now();
        (self.notice)(&format!(
            "{} is watched from now on: {} observation points",
            hello.node,
            hello.points.len()
        ));
        self.unreached.remove(&hello.node);
        self.record(|recorder| {
            recorder.joined(hello.clone(), time);
            Ok(())
        });
        let hello = Box::new(hello);
        self.core.take(Record::Joined { hello, time });
        self.stalled.push(false);
        self.away.push(false);
        self.awaited.resize(self.core.streams(), false);
        self.stalls.grow(self.core.streams(), Instant::now());
        self.silences.grow(self.core.streams(), Instant::now());
        agents.send(&Command::Sample(self.sampling.bound()));
        agents.send(&Command::Explain(!self.matched));
        self.send_filter(agents);
        self.after()
    }

    fn unreached(&mut self, node: &str, why: &str) {
        if self.unreached.insert(node.to_owned()) {
            (self.notice)(&format!(
                "cannot start an agent on {node} yet, so packets there are not seen; trying again: \
                 {why}"
            ));
        }
    }

    fn due(&self) -> Option<Instant> {
        let recorder = self.recorder.as_ref().and_then(Recorder::due);
        let times = match self.phase {
            Phase::Arming(until) | Phase::Armed(_, until) => [Some(until), None, None, None],
            Phase::Following(end) => [
                end,
                self.stand,
                self.wonder.map(|wonder| wonder.at),
                self.core.waits().then_some(self.tick),
            ],
        };
        times.into_iter().chain([recorder]).flatten().min()
    }

    fn wake(&mut self, agents: &mut Agents) -> Result<(), SessionError> {
        let now = Instant::now();
        if let Phase::Arming(until) = self.phase
            && until <= now
        {
            let missing = self.awaited.iter().position(|awaited| *awaited);
            let node = self.core.node_of(missing.unwrap_or_default()).to_owned();
            return Err(SessionError::Silent { node });
        }
        if let Phase::Armed(armed, until) = self.phase
            && until <= now
        {
            self.begin(armed)?;
        }
        // Read this clock after the recorder has read its own. Otherwise an event that is due at
        // once could be postponed for ever.
        let is_due = |time: Option<Instant>| time.is_some_and(|time| time <= Instant::now());
        if is_due(self.recorder.as_ref().and_then(Recorder::due)) {
            self.record(Recorder::flush);
        }
        if matches!(self.phase, Phase::Following(_)) {
            if is_due(self.stand) {
                self.stand = Some(now + STANDING);
                self.tell_standing()?;
            }
            if is_due(self.wonder.map(|wonder| wonder.at)) {
                self.wonder(agents);
            }
            if self.core.waits() && self.tick <= now {
                self.hurry(agents, now)?;
            }
        }
        Ok(())
    }

    fn is_done(&self) -> bool {
        let over = match self.phase {
            Phase::Arming(_) | Phase::Armed(..) => false,
            Phase::Following(end) => end.is_some_and(|end| end <= Instant::now()),
        };
        over || self.core.count_reached() || self.reader.is_full() || self.broken.is_some()
    }

    fn keep(&mut self, agent: usize, batch: &Batch) {
        self.record(|recorder| recorder.batch(agent, batch));
    }

    fn notice(&mut self, line: &str) {
        (self.notice)(line);
    }
}
