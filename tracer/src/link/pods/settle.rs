//! Requests that create something in the cluster, and whose answer may not come.

use std::time::Duration;

use tokio::{sync::Notify, time::timeout};

use super::ANSWER;

/// How long to wait for the answer to such a request before the object is removed.
pub(super) const IN_FLIGHT: Duration = Duration::from_secs(2);

/// The outcome of a request that creates something.
pub(super) struct Settled<T> {
    /// The answer; `None` if none came in time.
    pub(super) answer: Option<kube::Result<T>>,
    /// Whether the session has to end.
    pub(super) stopped: bool,
}

/// Waits for a request that creates something. A request that was sent may take effect even if
/// nobody listens. So its answer is awaited for a while even when the session has to end.
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

/// Whether the object may exist, according to the answer: always, except after a refusal.
pub(super) fn may_be_there<T>(answer: Option<&kube::Result<T>>) -> bool {
    !matches!(answer, Some(Err(kube::Error::Api(status))) if (400..500).contains(&status.code))
}

#[cfg(test)]
mod tests {
    use std::{future, io};

    use kube::core::Status;
    use tokio::time::{Instant, sleep};

    use super::*;

    /// An answer that comes after a number of seconds.
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

        // An object that already has this name stays.
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
