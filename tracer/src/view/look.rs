//! How text looks: its colours, its width, and the time zone.

use jiff::tz::TimeZone;

use super::{moment::Zone, text::Palette};

/// The width of the narrowest terminals, and a usual width for output in a pipe.
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
