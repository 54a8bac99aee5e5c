//! The screens, one behind each tab.

/// A screen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Screen {
    Path,
    Journeys,
    Journey,
    Sums,
}

impl Screen {
    pub(super) const ALL: [Self; 4] = [Self::Path, Self::Journeys, Self::Journey, Self::Sums];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Path => "Path",
            Self::Journeys => "Journeys",
            Self::Journey => "Journey",
            Self::Sums => "Sums",
        }
    }
}

/// The text of a screen's tab.
pub(super) fn tab(index: usize, screen: Screen) -> String {
    format!(" {} {} ", index + 1, screen.name())
}
