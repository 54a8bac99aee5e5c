//! A request that makes something in the cluster, whose answer may not come.

use std::time::Duration;

use tokio::{sync::Notify, time::timeout};

use super::ANSWER;

/// How long an answer about what may just be made is waited for before it is removed.
pub(super) const IN_FLIGHT: Duration = Duration::from_secs(2);

/// What became of a request that makes something.
pub(super) struct Settled<T> {
    /// `None` without an answer in time.
    pub(super) answer: Option<kube::Result<T>>,
    /// Whether the session is to end.
    pub(super) stopped: bool,
}

/// Waits for a request that makes something. One that was sent may do so whoever stops
/// listening, so its answer is waited for a while also when all is to end.
pub(super) async fn settle<T>(
    request: impl Future<Output = kube::Result<T>>,
    stop: &Notify,
) -> Settled<T> {
    tokio::pin!(request);
    let (answer, stopped) = tokio::select! {
        answer = timeout(ANSWER, &mut request) => (answer, false),
        () = stop.notified() => (timeout(IN_FLIGHT, request).await, true),
    };
    let answer = answer.ok();
    Settled { answer, stopped }
}

/// Whether something was made, as far as one can tell from the answer: all but a refusal.
pub(super) fn may_be_there<T>(answer: Option<&kube::Result<T>>) -> bool {
    !matches!(answer, Some(Err(kube::Error::Api(status))) if (400..500).contains(&status.code))
}

#[cfg(test)]
mod tests {
    use std::{future, io};

    use kube::core::Status;
    use tokio::time::{Instant, sleep};

    use super::*;

    /// An answer that comes after so many seconds.
    async fn after(seconds: u64, answer: kube::Result<()>) -> kube::Result<()> {
        sleep(Duration::from_secs(seconds)).await;
        answer
    }

    fn api(code: u16) -> kube::Error {
        kube::Error::Api(Box::new(Status::failure("no", "No").with_code(code)))
    }

    #[tokio::test(start_paused = true)]
    async fn a_job_that_may_be_made_is_waited_for_and_removed() {
        let stop = Notify::new();
        stop.notify_one();
        let begun = Instant::now();
        let settled = settle(after(1, Ok(())), &stop).await;
        assert!(settled.stopped && may_be_there(settled.answer.as_ref()));
        assert_eq!(begun.elapsed(), Duration::from_secs(1));

        stop.notify_one();
        let settled = settle(future::pending::<kube::Result<()>>(), &stop).await;
        assert!(settled.stopped && may_be_there(settled.answer.as_ref()));
        assert_eq!(begun.elapsed(), Duration::from_secs(1) + IN_FLIGHT);

        // Whoever has that name already keeps it.
        stop.notify_one();
        let settled = settle(after(1, Err(api(409))), &stop).await;
        assert!(settled.stopped && !may_be_there(settled.answer.as_ref()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_does_not_answer_may_have_made_a_job() {
        let stop = Notify::new();
        let begun = Instant::now();
        let settled = settle(future::pending::<kube::Result<()>>(), &stop).await;
        assert!(!settled.stopped && settled.answer.is_none());
        assert!(may_be_there(settled.answer.as_ref()));
        assert_eq!(begun.elapsed(), ANSWER);
        let broken = kube::Error::ReadEvents(io::ErrorKind::BrokenPipe.into());
        for (answer, is_there) in [
            (Ok(()), true),
            (Err(api(403)), false),
            (Err(api(504)), true),
            (Err(broken), true),
        ] {
            assert_eq!(may_be_there(Some(&answer)), is_there, "{answer:?}");
        }
    }
}
