//! From `--utc`, the environment and the terminal to how text looks.

use std::{
    env,
    io::{self, IsTerminal as _},
    os::fd::AsFd,
};

use crate::{
    terminal::{is_dumb, zone},
    view::Look,
};

/// How text looks on standard output: of times in UTC, or as clocks show them
/// here, or by `TZ`.
pub(crate) fn look_of_stdout(utc: bool) -> Look {
    look(&io::stdout(), io::stdout().is_terminal(), utc)
}

/// The same of standard error.
pub(crate) fn look_of_stderr(utc: bool) -> Look {
    look(&io::stderr(), io::stderr().is_terminal(), utc)
}

fn look(stream: &impl AsFd, is_terminal: bool, utc: bool) -> Look {
    let mut look = Look::plain().in_zone(zone(utc));
    if !is_terminal {
        return look;
    }
    if env::var_os("NO_COLOR").is_none() && !is_dumb() {
        look = look.in_colours();
    }
    match terminal_size::terminal_size_of(stream.as_fd()) {
        Some((columns, _)) => look.on_columns(columns.0.into()),
        None => look,
    }
}
