//! An API server of this process, which says what a test tells it.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex, mpsc},
    thread,
};

use kube::{Client, Config};
use serde_json::{Value, json};

use super::{Cluster, Place};

/// An answer to a request.
pub(crate) enum Answer {
    /// The objects of a list.
    List(Vec<Value>),
    /// The first objects of a list that has another page.
    Page(Vec<Value>),
    /// An object.
    Object(Value),
    /// A refusal.
    Forbidden,
    /// Events that a test sends, one for each line.
    Events(mpsc::Receiver<Value>),
    /// No events.
    Silence,
}

/// A running server.
pub(crate) struct Fake {
    url: String,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Fake {
    /// Starts a server, which runs until the process ends. `answer` gets the path and the query of
    /// each request.
    pub(crate) fn start(answer: impl Fn(&str) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("there is a free port");
        let port = listener.local_addr().expect("it is bound").port();
        let requests = Arc::default();
        let (answer, seen) = (Arc::new(answer), Arc::clone(&requests));
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (answer, seen) = (Arc::clone(&answer), Arc::clone(&seen));
                thread::spawn(move || serve(&stream, &*answer, &seen));
            }
        });
        Self {
            url: format!("http://127.0.0.1:{port}"),
            requests,
        }
    }

    /// A client of the server.
    pub(crate) fn cluster(&self) -> Cluster {
        // The client has a TLS configuration, though the server takes none.
        let _: Result<(), _> = rustls::crypto::ring::default_provider().install_default();
        let config = Config::new(self.url.parse().expect("a URL"));
        Cluster {
            client: Client::try_from(config).expect("no certificates are needed"),
            namespace: "default".to_owned(),
            place: Place {
                server: self.url.clone(),
                source: "a test".to_owned(),
                command: None,
            },
        }
    }

    /// Paths, queries and accepted formats of all requests so far.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.requests
            .lock()
            .expect("no thread has panicked")
            .clone()
    }
}

/// Answers one request. A client that goes away is no error.
fn serve(mut stream: &TcpStream, answer: &impl Fn(&str) -> Answer, seen: &Mutex<Vec<String>>) {
    let head = BufReader::new(stream).lines().map_while(Result::ok);
    let head: Vec<String> = head.take_while(|line| !line.is_empty()).collect();
    let Some(path) = head.first().and_then(|line| line.split(' ').nth(1)) else {
        return;
    };
    let accepts = |line: &&String| line.to_lowercase().starts_with("accept:");
    let accepts = head.iter().find(accepts).map_or("", String::as_str);
    let mut requests = seen.lock().expect("no thread has panicked");
    requests.push(format!("{path} {accepts}"));
    drop(requests);
    let mut silent = None;
    let (status, body, events) = match answer(path) {
        Answer::Object(object) => ("200 OK", object.to_string(), None),
        Answer::List(items) => ("200 OK", list(&items, ""), None),
        Answer::Page(items) => ("200 OK", list(&items, "more"), None),
        Answer::Forbidden => {
            let message = "nodes is forbidden: User \"me\" cannot watch resource \"nodes\" in API \
                           group \"\" at the cluster scope";
            let status = json!({
                "apiVersion": "v1", "kind": "Status", "metadata": {}, "status": "Failure",
                "message": message, "reason": "Forbidden", "code": 403,
            });
            ("403 Forbidden", status.to_string(), None)
        }
        Answer::Events(events) => ("200 OK", String::new(), Some(events)),
        Answer::Silence => {
            // The sender lives as long as the receiver waits.
            let (sender, events) = mpsc::channel();
            silent = Some(sender);
            ("200 OK", String::new(), Some(events))
        }
    };
    // The body ends with the connection.
    let head = "content-type: application/json\r\nconnection: close";
    let _ = write!(stream, "HTTP/1.1 {status}\r\n{head}\r\n\r\n{body}");
    for event in events.into_iter().flatten() {
        if writeln!(stream, "{event}").is_err() {
            return;
        }
    }
    drop(silent);
}

/// A list whose next page has this token.
fn list(items: &[Value], next: &str) -> String {
    let list = json!({
        "apiVersion": "v1", "kind": "List",
        "metadata": {"resourceVersion": "1", "continue": next},
        "items": items,
    });
    list.to_string()
}
