//! Tells when the server begins to answer a watch. kube tells nothing of a watch that resumes until
//! something changes.

use futures::channel::mpsc::{UnboundedReceiver, unbounded};
use kube::{Client, Error};
use tower::service_fn;

/// The successful answers to a client's requests. A watch answers before it tells of changes.
pub(super) type Answers = UnboundedReceiver<()>;

/// A client for the same server, and the answers that it gets.
pub(super) fn noted(client: &Client) -> (Client, Answers) {
    let (sender, answers) = unbounded();
    let namespace = client.default_namespace().to_owned();
    let client = client.clone();
    let service = service_fn(move |request| {
        let (client, sender) = (client.clone(), sender.clone());
        async move {
            let answer = client.send(request).await?;
            if answer.status().is_success() {
                // A watch that is over needs no news.
                let _: Result<(), _> = sender.unbounded_send(());
            }
            Ok::<_, Error>(answer)
        }
    });
    (Client::new(service, namespace), answers)
}
