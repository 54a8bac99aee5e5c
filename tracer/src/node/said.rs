//! What the kernel programs say of packets that have no event (feature `debug`).
//!
//! Their lines are debug and trace messages like any other: `-vv` and `-vvv` show
//! them. More of them than the log's buffer holds are lost, and nobody is told.

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

/// How long a thread may outlive what it reads from, in milliseconds.
const PATIENCE_MS: u8 = 200;

/// While this lives, what the programs of one load say is read.
pub(super) struct Listener {
    _alive: Arc<()>,
}

/// Has the programs say only what is shown.
pub(super) fn choose(loader: &mut EbpfLoader<'_>) {
    /// As `aya_log::Level` numbers them.
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

/// Reads what loaded programs say, in a thread of its own.
pub(super) fn listen(ebpf: &mut Ebpf) -> Result<Listener, NodeError> {
    let mut logger =
        EbpfLogger::init_with_logger(ebpf, Traced).map_err(|source| NodeError::load(&source))?;
    let alive = Arc::new(());
    let watched: Weak<()> = Arc::downgrade(&alive);
    let read = move || {
        while watched.strong_count() > 0 {
            let descriptors = &mut [PollFd::new(logger.as_fd(), PollFlags::POLLIN)];
            // Interrupted or not: the loop comes round again.
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
