//! Log messages of the kernel programs about packets without an event (feature `debug`).
//!
//! Their lines are ordinary debug and trace messages, which `-vv` and `-vvv` show. If there are
//! more than the log's buffer holds, the rest is lost without notice.

use std::{
    os::fd::AsFd as _,
    sync::{Arc, Weak},
    thread,
};

use aya::{Ebpf, EbpfLoader};
use aya_log::EbpfLogger;
use log::{Level, Log, Metadata, Record};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use tracing::level_filters::LevelFilter;

use super::NodeError;

/// How long a thread may outlive its source, ms.
const PATIENCE_MS: u8 = 200;

/// Reads the log of the programs of one load, while this value lives.
pub(super) struct Listener {
    _alive: Arc<()>,
}

/// Makes the programs log only what is shown.
pub(super) fn choose(loader: &mut EbpfLoader<'_>) {
    /// Levels by their numbers in `aya_log::Level`.
    static LEVELS: [u8; 6] = [0, 1, 2, 3, 4, 5];

    let shown = match LevelFilter::current().into_level() {
        None => 0,
        Some(tracing::Level::ERROR) => 1,
        Some(tracing::Level::WARN) => 2,
        Some(tracing::Level::INFO) => 3,
        Some(tracing::Level::DEBUG) => 4,
        Some(_) => 5,
    };
    loader.override_global(aya_log::LEVEL, &LEVELS[shown], true);
}

/// Reads the log of loaded programs, on a separate thread.
pub(super) fn listen(ebpf: &mut Ebpf) -> Result<Listener, NodeError> {
    let mut logger =
        EbpfLogger::init_with_logger(ebpf, Traced).map_err(|source| NodeError::load(&source))?;
    let alive = Arc::new(());
    let watched: Weak<()> = Arc::downgrade(&alive);
    let read = move || {
        while watched.strong_count() > 0 {
            let descriptors = &mut [PollFd::new(logger.as_fd(), PollFlags::POLLIN)];
            // Interrupted or not, the loop continues.
            let _: Result<i32, _> = poll(descriptors, PollTimeout::from(PATIENCE_MS));
            logger.flush();
        }
    };
    thread::Builder::new()
        .name("said".to_owned())
        .spawn(read)
        .map_err(|source| NodeError::System {
            what: "start a thread",
            source,
        })?;
    Ok(Listener { _alive: alive })
}

/// Hands records to `tracing`.
struct Traced;

impl Log for Traced {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        let said = record.args();
        match record.level() {
            Level::Error => tracing::error!("{said}"),
            Level::Warn => tracing::warn!("{said}"),
            Level::Info => tracing::info!("{said}"),
            Level::Debug => tracing::debug!("{said}"),
            Level::Trace => tracing::trace!("{said}"),
        }
    }

    fn flush(&self) {}
}
