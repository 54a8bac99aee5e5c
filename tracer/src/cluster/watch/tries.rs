//! The tries of a watch, with pauses that grow as long as the watch fails.
//!
//! kube's own pauses begin anew with each event, also with that of a list that begins and fails.
//! Then a list that the server cannot answer would be asked for again within a second or two, for
//! ever.

use std::{mem, time::Duration};

use futures::{
    FutureExt as _, Stream, StreamExt as _,
    stream::{self, BoxStream},
};
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
    let tries = Tries {
        events: events.boxed(),
        answers,
        refused,
        pauses: DefaultBackoff::default(),
        next: Next::Listen,
    };
    stream::unfold(tries, |mut tries| async {
        let told = tries.told().await?;
        Some((told, tries))
    })
}

/// A watch between two of its reports.
struct Tries {
    events: BoxStream<'static, Result<Event<Seen>, watcher::Error>>,
    answers: Answers,
    refused: Refused,
    pauses: DefaultBackoff,
    next: Next,
}

impl Tries {
    async fn told(&mut self) -> Option<Told> {
        match mem::replace(&mut self.next, Next::Listen) {
            Next::Listen => {}
            Next::Pause(pause) => sleep(pause).await,
            Next::End => return None,
        }
        let event = select! {
            biased;
            Some(()) = self.answers.next() => return Some(Told::Answered),
            event = self.events.next() => event?,
        };
        Some(match event {
            Ok(event) => {
                // The list that such an event belongs to may still fail.
                if !matches!(event, Event::Init | Event::InitApply(_)) {
                    self.pauses.reset();
                }
                Told::Event(event)
            }
            Err(error) if self.refused == Refused::End && has_code(&error, 403) => {
                self.next = Next::End;
                Told::Refused(error)
            }
            Err(error) => {
                // An answer to the watch that failed says nothing of the next one.
                while let Some(Some(())) = self.answers.next().now_or_never() {}
                let pause = self.pauses.next().expect("the pauses have no end");
                self.next = Next::Pause(pause);
                Told::Failed(error)
            }
        })
    }
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
