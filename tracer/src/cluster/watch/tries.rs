//! The tries of a watch, with pauses that grow as long as the watch fails.
//!
//! kube's own pauses begin anew with each event, also with that of a list that begins and fails.
//! Then a list that the server cannot answer would be asked for again within a second or two, for
//! ever.

use std::time::Duration;

use futures::{Stream, StreamExt as _, stream};
use kube::runtime::{
    utils::Backoff as _,
    watcher::{self, DefaultBackoff, Event},
};
use tokio::time::sleep;

use super::{Seen, Told, has_code};

/// What happens to a watch that the server refuses.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    /// The watch is needed, so it is tried again.
    TryAgain,
    /// The session goes on without the watch.
    End,
}

/// The next step of a watch.
enum Next {
    Listen,
    Pause(Duration),
    End,
}

/// What a watch tells.
pub(super) fn tries(
    events: impl Stream<Item = Result<Event<Seen>, watcher::Error>> + Send + 'static,
    refused: Refused,
) -> impl Stream<Item = Told> + Send {
    let watch = (events.boxed(), DefaultBackoff::default(), Next::Listen);
    stream::unfold(watch, move |(mut events, mut pauses, next)| async move {
        match next {
            Next::Listen => {}
            Next::Pause(pause) => {
                sleep(pause).await;
                return Some((Told::TriedAgain, (events, pauses, Next::Listen)));
            }
            Next::End => return None,
        }
        let (told, next) = match events.next().await? {
            Ok(event) => {
                // The list that such an event belongs to may still fail.
                if !matches!(event, Event::Init | Event::InitApply(_)) {
                    pauses.reset();
                }
                (Told::Event(event), Next::Listen)
            }
            Err(error) if refused == Refused::End && has_code(&error, 403) => {
                (Told::Refused(error), Next::End)
            }
            Err(error) => {
                let pause = pauses.next().expect("the pauses have no end");
                (Told::Failed(error), Next::Pause(pause))
            }
        };
        Some((told, (events, pauses, next)))
    })
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    /// kube's pauses vary by a factor of up to two, so that not all clients come at once.
    #[tokio::test(start_paused = true)]
    async fn a_list_that_fails_is_asked_for_less_and_less_until_one_is_complete() {
        let failed = move || Err(watcher::Error::NoResourceVersion);
        let fails = (0..6).flat_map(move |_| [Ok(Event::Init), failed()]);
        let works = [Ok(Event::Init), Ok(Event::InitDone), failed()];
        let told = tries(stream::iter(fails.chain(works)), Refused::TryAgain);
        let mut told = std::pin::pin!(told);
        let (mut pauses, mut failed) = (Vec::new(), Instant::now());
        while let Some(told) = told.next().await {
            match told {
                Told::Failed(_) => failed = Instant::now(),
                Told::TriedAgain => pauses.push(failed.elapsed()),
                _ => {}
            }
        }
        let [first, .., sixth, after] = pauses[..] else {
            panic!("{pauses:?}");
        };
        let short = Duration::from_millis(700)..Duration::from_secs(2);
        assert_eq!(pauses.len(), 7);
        assert!(short.contains(&first), "{pauses:?}");
        assert!(sixth > Duration::from_secs(20), "{pauses:?}");
        assert!(short.contains(&after), "{pauses:?}");
    }
}
