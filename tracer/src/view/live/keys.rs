//! The keys' actions. The help uses the same table, so it cannot be wrong.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::tabs::Screen;

/// What a key asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Quit,
    Help,
    Back,
    Next,
    Previous,
    Show(Screen),
    Up,
    Down,
    PageUp,
    PageDown,
    Top,
    Bottom,
    Open,
    Filter,
    Problems,
    Conversations,
    NextProblem,
    PreviousProblem,
    Older,
    Newer,
    Answer,
    Retransmission,
    Fields,
    Pause,
    Faster,
    Slower,
    /// Moves by this number of seconds. A negative number moves back.
    By(i64),
    Start,
    End,
    Time,
    ProblemInTime {
        forward: bool,
    },
    CommandLine,
    Save,
    Mouse,
    Redraw,
    Suspend,
}

/// Keys with the same action.
pub(super) struct Bound {
    pub(super) keys: &'static [(KeyCode, KeyModifiers)],
    /// The keys' names.
    pub(super) shown: &'static str,
    /// What the keys do.
    pub(super) does: &'static str,
    pub(super) action: Action,
    /// The screens on which the keys work. Empty: on all screens.
    pub(super) on: &'static [Screen],
}

const NONE: KeyModifiers = KeyModifiers::NONE;
const CTRL: KeyModifiers = KeyModifiers::CONTROL;
const SHIFT: KeyModifiers = KeyModifiers::SHIFT;

const fn key(c: char) -> (KeyCode, KeyModifiers) {
    (KeyCode::Char(c), NONE)
}

const fn ctrl(c: char) -> (KeyCode, KeyModifiers) {
    (KeyCode::Char(c), CTRL)
}

const fn named(code: KeyCode) -> (KeyCode, KeyModifiers) {
    (code, NONE)
}

macro_rules! bound {
    ($([$($key:expr),+] $shown:literal $does:literal $action:expr $(, on $($on:ident)|+)?;)+) => {
        &[$(Bound {
            keys: &[$($key),+],
            shown: $shown,
            does: $does,
            action: $action,
            on: &[$($(Screen::$on),+)?],
        }),+]
    };
}

/// The keys of every view. The first binding that fits counts.
pub(super) const KEYS: &[Bound] = bound! {
    [key('1')] "1" "the path" Action::Show(Screen::Path);
    [key('2')] "2" "the journeys" Action::Show(Screen::Journeys);
    [key('3')] "3" "the open journey" Action::Show(Screen::Journey);
    [key('4')] "4" "the sums" Action::Show(Screen::Sums);
    [named(KeyCode::Tab)] "Tab" "the next screen" Action::Next;
    [named(KeyCode::BackTab), (KeyCode::BackTab, SHIFT)] "Shift-Tab" "the screen before"
        Action::Previous;
    [key('j'), named(KeyCode::Down)] "j ↓" "down" Action::Down;
    [key('k'), named(KeyCode::Up)] "k ↑" "up" Action::Up;
    [named(KeyCode::PageDown), ctrl('f'), ctrl('d')] "PgDn" "a page down" Action::PageDown;
    [named(KeyCode::PageUp), ctrl('b'), ctrl('u')] "PgUp" "a page up" Action::PageUp;
    [key('g'), named(KeyCode::Home)] "g Home" "to the top, and follow what is new" Action::Top;
    [key('G'), (KeyCode::Char('G'), SHIFT), named(KeyCode::End)] "G End" "to the end" Action::Bottom;
    [named(KeyCode::Enter)] "Enter" "open the journey, or the conversation's journeys" Action::Open,
        on Journeys | Path;
    [named(KeyCode::Esc), named(KeyCode::Backspace)] "Esc" "back; without a filter again"
        Action::Back;
    [key('/')] "/" "show only journeys that match, in the language of --where" Action::Filter;
    [key('p')] "p" "problems only, or all again" Action::Problems;
    [key('c')] "c" "by conversation, or by journey again" Action::Conversations, on Journeys;
    [key('n')] "n" "the next problem down the list: an older one" Action::NextProblem;
    [key('N'), (KeyCode::Char('N'), SHIFT)] "N" "the problem above it: a newer one"
        Action::PreviousProblem;
    [key('h'), named(KeyCode::Left)] "h ←" "the journey before it" Action::Older, on Journey;
    [key('l'), named(KeyCode::Right)] "l →" "the journey after it" Action::Newer, on Journey;
    [key('a')] "a" "its answer, or what it answers" Action::Answer, on Journey;
    [key('r')] "r" "what it retransmits, or what retransmits it" Action::Retransmission, on Journey;
    [key('x')] "x" "its header fields, or its hops again" Action::Fields, on Journey;
    [key(' ')] "Space" "pause, or go on; what comes meanwhile is kept; a replay plays" Action::Pause;
    [key('y')] "y" "a command line that shows the same" Action::CommandLine;
    [key('w')] "w" "save what is shown, as .html, .jsonl or .pcapng" Action::Save;
    [key('m')] "m" "leave the mouse to the terminal, to select text" Action::Mouse;
    [ctrl('l')] "Ctrl-L" "draw the screen anew" Action::Redraw;
    [ctrl('z')] "Ctrl-Z" "to the shell; fg comes back" Action::Suspend;
    [key('?'), named(KeyCode::F(1))] "?" "this help" Action::Help;
    [key('q'), ctrl('c'), (KeyCode::Char('Q'), SHIFT)] "q Ctrl-C" "end, with the summary"
        Action::Quit;
};

/// The keys that move a replay in time.
pub(super) const TIME_KEYS: &[Bound] = bound! {
    [key(',')] "," "1 s back" Action::By(-1);
    [key('.')] "." "1 s forward" Action::By(1);
    [key('<')] "<" "10 s back" Action::By(-10);
    [key('>')] ">" "10 s forward" Action::By(10);
    [key('^')] "^" "to the start of the recording" Action::Start;
    [key('$')] "$" "to its end" Action::End;
    [key('t')] "t" "to a time: 12:01:04, +30s, -1m, 50%" Action::Time;
    [key(']')] "]" "to the time when the next problem became known"
        Action::ProblemInTime { forward: true };
    [key('[')] "[" "to the time when the problem before it became known"
        Action::ProblemInTime { forward: false };
    [key('+'), key('=')] "+ =" "faster, up to ×10, and as fast as possible" Action::Faster;
    [key('-')] "-" "slower, down to ×0.1" Action::Slower;
};

/// The action of a key on a screen. `is_movable`: whether the view can be moved in time.
pub(super) fn action(screen: Screen, is_movable: bool, event: &KeyEvent) -> Option<Action> {
    // Some terminals report `?` with the Shift modifier.
    let shifted = matches!(event.code, KeyCode::Char(c) if !c.is_alphabetic());
    let modifiers = if shifted {
        event.modifiers - SHIFT
    } else {
        event.modifiers
    };
    let pressed = (event.code, modifiers);
    let mut fitting = keys(is_movable).filter(|bound| bound.is_on(screen));
    let bound = fitting.find(|bound| bound.keys.contains(&pressed))?;
    Some(bound.action)
}

/// All keys of a view. `is_movable`: whether the view can be moved in time.
pub(super) fn keys(is_movable: bool) -> impl Iterator<Item = &'static Bound> {
    let time: &[Bound] = if is_movable { TIME_KEYS } else { &[] };
    KEYS.iter().chain(time)
}

impl Bound {
    pub(super) fn is_on(&self, screen: Screen) -> bool {
        self.on.is_empty() || self.on.contains(&screen)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{Screen, keys};

    #[test]
    fn no_key_means_two_things_on_one_screen() {
        for screen in Screen::ALL {
            let mut known = BTreeSet::new();
            for bound in keys(true).filter(|bound| bound.is_on(screen)) {
                for key in bound.keys {
                    assert!(known.insert(format!("{key:?}")), "{key:?} on {screen:?}");
                }
            }
        }
    }
}
