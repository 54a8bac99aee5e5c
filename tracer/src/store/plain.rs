//! Writes a trace without compression, so that fuzzing changes its rows directly.

use arrow_ipc::writer::StreamWriter;
use tracer_core::input::OwnersChange;

use super::{Event, Reader, encode::Rows};

/// Writes a trace again without compression, as one batch of rows with `change` among them.
///
/// # Panics
/// If the trace is damaged.
pub(crate) fn plain(reader: Reader, change: &OwnersChange) -> Vec<u8> {
    let head = reader.head().clone();
    let mut rows = Rows::new(head.schema(), &head.nodes);
    rows.owners(change);
    for event in reader {
        match event.expect("a whole trace") {
            Event::Batch { agent, batch } => rows.batch(agent, &batch),
            Event::State {
                agent,
                stream,
                watermark,
                report,
            } => rows.state(agent, stream, watermark, report.as_deref()),
            Event::Owners(change) => rows.owners(&change),
            Event::Armed(time) => rows.armed(time),
            Event::Gone { agent, time } => rows.gone(agent, time),
            Event::Joined { hello, time } => rows.joined(&hello, time),
            Event::Clock {
                agent,
                question,
                time,
            } => rows.clock(agent, question, time),
            Event::End(time) => rows.end(time),
        }
    }
    let mut stream = StreamWriter::try_new(Vec::new(), &head.schema()).expect("a sound schema");
    stream.write(&rows.finish()).expect("rows of that schema");
    stream.finish().expect("memory takes all");
    stream.into_inner().expect("it is finished")
}
