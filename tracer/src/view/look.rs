//! How text looks: its colours, its width, and the time zone.

use anstyle::{AnsiColor, Style};
use jiff::tz::TimeZone;

use super::moment::Zone;

/// The width of the narrowest terminals, and a usual width for output in a pipe.
const LEAST: usize = 80;

/// The styles of text.
#[derive(Clone, Copy, Debug)]
pub(super) struct Palette {
    pub(super) plain: Style,
    /// The style of what the eye should find first.
    pub(super) strong: Style,
    /// The style of what is the same as before.
    pub(super) dim: Style,
    /// The style of what is as it should be.
    pub(super) good: Style,
    /// The style of what is worth a look.
    pub(super) odd: Style,
    /// The style of what is neither good nor odd.
    pub(super) other: Style,
    /// The style of what makes everything else less certain.
    pub(super) alarm: Style,
}

impl Palette {
    pub(super) const PLAIN: Self = Self {
        plain: Style::new(),
        strong: Style::new(),
        dim: Style::new(),
        good: Style::new(),
        odd: Style::new(),
        other: Style::new(),
        alarm: Style::new(),
    };

    pub(super) const COLOUR: Self = Self {
        plain: Style::new(),
        strong: Style::new().bold(),
        dim: Style::new().dimmed(),
        good: AnsiColor::Green.on_default(),
        odd: AnsiColor::Yellow.on_default(),
        other: AnsiColor::Cyan.on_default(),
        alarm: AnsiColor::Red.on_default().bold(),
    };
}

/// How text for people is laid out.
#[derive(Clone, Debug)]
pub struct Look {
    pub(super) palette: Palette,
    /// Columns of a line, at least 80.
    pub(super) width: usize,
    pub(super) zone: Zone,
}

impl Look {
    /// Text without colours, on 80 columns, in UTC. It looks the same everywhere.
    #[must_use]
    pub const fn plain() -> Self {
        Self {
            palette: Palette::PLAIN,
            width: LEAST,
            zone: Zone::UTC,
        }
    }

    /// The same look with times in another time zone.
    #[must_use]
    pub fn in_zone(self, zone: TimeZone) -> Self {
        Self {
            zone: Zone(zone),
            ..self
        }
    }

    /// The same look with this number of columns, if that is more than 80.
    #[must_use]
    pub fn on_columns(self, columns: usize) -> Self {
        Self {
            width: columns.max(LEAST),
            ..self
        }
    }

    /// Whether the look has colours.
    pub(super) const fn is_in_colours(&self) -> bool {
        self.palette.good.get_fg_color().is_some()
    }

    /// The same look in colours.
    #[must_use]
    pub fn in_colours(self) -> Self {
        Self {
            palette: Palette::COLOUR,
            ..self
        }
    }
}
