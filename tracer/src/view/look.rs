//! What text looks like: its colours, its width, the zone of its times.

use std::{
    env,
    io::{self, IsTerminal as _},
    os::fd::AsFd,
};

use super::{moment::Zone, text::Palette};

/// What every terminal has, and what people cut text to who pipe it somewhere.
const LEAST: usize = 80;

/// How text for people is laid out.
#[derive(Clone, Debug)]
pub struct Look {
    pub(super) palette: Palette,
    /// Columns of a line, at least 80.
    pub(super) width: usize,
    pub(super) zone: Zone,
}

impl Look {
    /// Without colours, on 80 columns, in UTC: the same everywhere.
    #[must_use]
    pub const fn plain() -> Self {
        Self {
            palette: Palette::PLAIN,
            width: LEAST,
            zone: Zone::UTC,
        }
    }

    /// As standard output has room for, in local time or UTC.
    #[must_use]
    pub fn of_stdout(utc: bool) -> Self {
        Self::of(&io::stdout(), io::stdout().is_terminal(), utc)
    }

    /// As standard error has room for, likewise.
    #[must_use]
    pub fn of_stderr(utc: bool) -> Self {
        Self::of(&io::stderr(), io::stderr().is_terminal(), utc)
    }

    fn of(stream: &impl AsFd, is_terminal: bool, utc: bool) -> Self {
        let zone = if utc { Zone::UTC } else { Zone::local() };
        if !is_terminal {
            return Self {
                zone,
                ..Self::plain()
            };
        }
        let size = terminal_size::terminal_size_of(stream.as_fd());
        Self {
            palette: match env::var_os("NO_COLOR") {
                Some(_) => Palette::PLAIN,
                None => Palette::COLOUR,
            },
            width: size.map_or(LEAST, |(width, _)| LEAST.max(width.0.into())),
            zone,
        }
    }
}
