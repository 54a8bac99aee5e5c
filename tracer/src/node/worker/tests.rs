//! Tests of a worker with a source that fails, or that has news.

use std::{
    mem,
    os::fd::{AsFd as _, BorrowedFd},
    time::Duration,
};

use tokio::sync::mpsc::{Receiver, channel};
use tracer_core::{
    input::{Change, Report},
    model::{Ends, Proto, Translation},
    request::Filter,
};

use super::*;
use crate::node::{conntrack::Due, tables::TooMany};

/// A source that accepts filters of these generations only.
struct Fake {
    fits: &'static [u32],
    event: EventFd,
    due: Option<Due>,
    /// Whether the last packets begin a connection.
    begins_late: bool,
    is_detached: bool,
}

impl Source for Fake {
    fn arm(&mut self, filter: &Filter) -> Result<(), NodeError> {
        if self.fits.contains(&filter.generation) {
            Ok(())
        } else {
            Err(TooMany::Pairs.into())
        }
    }

    fn sample(&mut self, _: u32) -> Result<(), NodeError> {
        Ok(())
    }

    fn explain(&mut self, _: bool) -> Result<(), NodeError> {
        Ok(())
    }

    fn readiness(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }

    fn drain(&mut self, _: &mut Batch) -> bool {
        if self.is_detached && mem::take(&mut self.begins_late) {
            let at = Instant::now() + Duration::from_millis(5);
            self.due = Some(Due { at, since: SINCE });
        }
        true
    }

    fn report(&mut self) -> Result<Report, NodeError> {
        let due = self.due.take();
        let due = due.filter(|due| due.at <= Instant::now());
        let translations = due.map(|_| translation());
        Ok(Report {
            translations: translations.into_iter().collect(),
            ..Report::default()
        })
    }

    fn due(&self) -> Option<Due> {
        self.due
    }

    fn take_in(&mut self, _: Found) -> Result<Change, NodeError> {
        Ok(Change::default())
    }

    fn detach(&mut self) -> Result<(), NodeError> {
        self.is_detached = true;
        Ok(())
    }
}

fn translation() -> Translation {
    let from = Ends {
        src: [10, 244, 1, 5].into(),
        dst: [10, 96, 0, 10].into(),
        src_port: 40_000,
        dst_port: 80,
    };
    let to = Ends {
        dst: [10, 244, 2, 7].into(),
        ..from
    };
    Translation {
        time: 1,
        proto: Proto::Ip(6),
        from,
        to,
    }
}

fn started(stream: usize) -> (Worker, Receiver<Result<Batch, NodeError>>) {
    with_due(stream, None)
}

fn with_due(stream: usize, due: Option<Due>) -> (Worker, Receiver<Result<Batch, NodeError>>) {
    with_late(stream, due, false)
}

fn with_late(
    stream: usize,
    due: Option<Due>,
    begins_late: bool,
) -> (Worker, Receiver<Result<Batch, NodeError>>) {
    let (sender, batches) = channel(RESERVED + 16);
    let turn = Turn::First(mpsc::channel().0);
    let prepare = move || {
        let event = EventFd::from_flags(EfdFlags::EFD_NONBLOCK).expect("a descriptor");
        let fits = &[5];
        let fake = Fake {
            fits,
            event,
            due,
            begins_late,
            is_detached: false,
        };
        Ok((Box::new(fake) as Box<dyn Source>, ()))
    };
    let (worker, ()) = Worker::start(stream, turn, None, sender, prepare).expect("it starts");
    (worker, batches)
}

#[test]
fn a_filter_that_does_not_fit_is_told_and_ends_nothing() {
    for (stream, told) in [(0, 2), (1, 0)] {
        let (worker, mut batches) = started(stream);
        for generation in [3, 4, 5, 6] {
            worker.send(Command::Arm(Filter {
                generation,
                ..Filter::default()
            }));
        }
        worker.send(Command::Stop);
        worker.join();
        let mut notes = Vec::new();
        let mut last = 0;
        while let Some(batch) = batches.blocking_recv() {
            let batch = batch.expect("it goes on");
            last = batch.watermark;
            notes.extend(batch.change.into_iter().flat_map(|change| change.notes));
        }
        assert_eq!(last, u64::MAX, "it ends as it was told to");
        assert_eq!(notes.len(), told, "{notes:?}");
        assert!(
            notes
                .iter()
                .all(|note| note.contains("restart the command"))
        );
    }
}

/// Time of a hop whose translation is not known yet, ns.
const SINCE: u64 = 100;

#[test]
fn a_hop_waits_for_the_report_with_its_translation() {
    let at = Instant::now() + Duration::from_secs(600);
    let (worker, mut batches) = with_due(0, Some(Due { at, since: SINCE }));
    worker.send(Command::Flush);
    let batch = batches.blocking_recv().expect("a batch").expect("it works");
    assert!(batch.report.is_none());
    assert_eq!(batch.watermark, SINCE - 1);
    worker.send(Command::Report);
    let batch = batches.blocking_recv().expect("a batch").expect("it works");
    assert!(batch.report.is_some());
    worker.send(Command::Flush);
    let batch = batches.blocking_recv().expect("a batch").expect("it works");
    assert!(batch.watermark > SINCE);
    worker.send(Command::Stop);
    worker.join();
}

#[test]
fn a_report_comes_by_itself_when_it_is_due() {
    let at = Instant::now();
    let (worker, mut batches) = with_due(0, Some(Due { at, since: SINCE }));
    let batch = batches.blocking_recv().expect("a batch").expect("it works");
    assert!(batch.report.is_some());
    assert!(batch.watermark > SINCE);
    worker.send(Command::Stop);
    worker.join();
}

#[test]
fn the_last_connections_have_their_translations_before_their_packets() {
    let (worker, mut batches) = with_late(0, None, true);
    worker.send(Command::Stop);
    worker.join();
    let mut translations = 0;
    let mut last = 0;
    while let Some(batch) = batches.blocking_recv() {
        let batch = batch.expect("it works");
        let report = batch.report.expect("each batch has a report");
        translations += report.translations.len();
        last = batch.watermark;
        assert!(last < SINCE || translations == 1);
    }
    assert_eq!((last, translations), (u64::MAX, 1));
}
