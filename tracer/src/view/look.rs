//! What text looks like: its colours, its width, the zone of its times.

use jiff::tz::TimeZone;

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

    /// In another zone.
    #[must_use]
    pub fn in_zone(self, zone: TimeZone) -> Self {
        Self {
            zone: Zone(zone),
            ..self
        }
    }

    /// On so many columns, if they are more than 80.
    #[must_use]
    pub fn on_columns(self, columns: usize) -> Self {
        Self {
            width: columns.max(LEAST),
            ..self
        }
    }

    /// Whether it is in colours.
    pub(super) const fn is_in_colours(&self) -> bool {
        self.palette.good.get_fg_color().is_some()
    }

    /// In colours.
    #[must_use]
    pub fn in_colours(self) -> Self {
        Self {
            palette: Palette::COLOUR,
            ..self
        }
    }
}
