//! The tries of a watch, with pauses that grow as long as the watch fails.
//!
//! kube's own pauses begin anew with each event, also with that of a list that begins and fails.
//! Then a list that the server cannot answer would be asked for again within a second or two, for
//! ever.

use std::time::Duration;

use futures::{FutureExt as _, Stream, StreamExt as _, stream};
use kube::runtime::{
    utils::Backoff as _,
    watcher::{self, DefaultBackoff, Event},
};
use tokio::{select, time::sleep};

use super::{Seen, Told, answers::Answers, has_code};

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

/// What a watch tells, with the answers that its client gets.
pub(super) fn tries(
    events: impl Stream<Item = Result<Event<Seen>, watcher::Error>> + Send + 'static,
    answers: Answers,
    refused: Refused,
) -> impl Stream<Item = Told> + Send {
    let watch = (
        events.boxed(),
        answers,
        DefaultBackoff::default(),
        Next::Listen,
    );
    stream::unfold(
        watch,
        move |(mut events, mut answers, mut pauses, next)| async move {
            match next {
                Next::Listen => {}
                Next::Pause(pause) => sleep(pause).await,
                Next::End => return None,
            }
            let event = select! {
                biased;
                Some(()) = answers.next() => {
                    let watch = (events, answers, pauses, Next::Listen);
                    return Some((Told::Answered, watch));
                }
                event = events.next() => event?,
            };
            let (told, next) = match event {
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
                    // An answer to the watch that failed says nothing of the next one.
                    while answers
                        .next()
                        .now_or_never()
                        .is_some_and(|answer| answer.is_some())
                    {}
                    let pause = pauses.next().expect("the pauses have no end");
                    (Told::Failed(error), Next::Pause(pause))
                }
            };
            Some((told, (events, answers, pauses, next)))
        },
    )
}

#[cfg(test)]
mod tests {
    use futures::channel::mpsc::unbounded;
    use tokio::time::Instant;

    use super::*;

    /// kube's pauses vary by a factor of up to two, so that not all clients come at once.
    #[tokio::test(start_paused = true)]
    async fn a_list_that_fails_is_asked_for_less_and_less_until_one_is_complete() {
        let failed = move || Err(watcher::Error::NoResourceVersion);
        let fails = (0..6).flat_map(move |_| [Ok(Event::Init), failed()]);
        let works = [Ok(Event::Init), Ok(Event::InitDone), failed()];
        let (_sender, answers) = unbounded();
        let told = tries(stream::iter(fails.chain(works)), answers, Refused::TryAgain);
        let mut told = std::pin::pin!(told);
        let (mut pauses, mut failed) = (Vec::new(), None::<Instant>);
        while let Some(told) = told.next().await {
            pauses.extend(failed.take().map(|failed| failed.elapsed()));
            if matches!(told, Told::Failed(_)) {
                failed = Some(Instant::now());
            }
        }
        pauses.extend(failed.map(|failed| failed.elapsed()));
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
