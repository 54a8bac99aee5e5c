//! A small DNS server and its client. The queried name tells the server how to answer, and the
//! server counts the queries. Without an answer, the client asks once more, as resolvers do.

use std::collections::BTreeMap;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use super::PATIENCE;
use super::service::Server;
use super::udp::TICK;
use crate::netns::Netns;

/// How long a client waits before it asks again, and before it gives up.
const RETRY: Duration = Duration::from_millis(300);

/// A server's answer to a query (RFC 1035, 4.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Says {
    /// The server answers.
    NoError,
    /// The server has failed.
    ServFail,
    /// There is no such name.
    NxDomain,
    /// The server sends nothing.
    Nothing,
}

impl Says {
    const ALL: [Self; 4] = [Self::NoError, Self::ServFail, Self::NxDomain, Self::Nothing];

    /// The first label of the names with this answer.
    const fn label(self) -> &'static str {
        match self {
            Self::NoError => "yes",
            Self::ServFail => "fails",
            Self::NxDomain => "no",
            Self::Nothing => "silence",
        }
    }

    const fn code(self) -> Option<u8> {
        match self {
            Self::NoError => Some(0),
            Self::ServFail => Some(2),
            Self::NxDomain => Some(3),
            Self::Nothing => None,
        }
    }
}

/// The results of queries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LookedUp {
    /// The identifiers of the queries, in their order.
    pub ids: Vec<u16>,
    /// The number of packets that the servers got, by their answer.
    pub got: BTreeMap<Says, u64>,
    /// The number of queries, by the answer that the client got.
    pub heard: BTreeMap<Says, u64>,
    /// How long the client waited for the slowest answer.
    pub slowest: Duration,
}

/// Sends queries from a namespace to `to`, one after the other, each from a new socket. Meanwhile
/// `servers` answer at their own addresses and ports.
///
/// # Errors
/// If a socket cannot be made.
pub fn look_up(
    from: &Netns,
    to: SocketAddr,
    servers: &[Server<'_>],
    questions: &[Says],
) -> Result<LookedUp> {
    let listen = |(netns, address): &Server<'_>| -> Result<UdpSocket> {
        let socket = netns.bind(address, || UdpSocket::bind(address))?;
        socket.set_read_timeout(Some(TICK))?;
        Ok(socket)
    };
    let sockets: Vec<UdpSocket> = servers.iter().map(listen).collect::<Result<_>>()?;
    let (ended, got) = (AtomicBool::new(false), Mutex::default());
    let mut looked_up = thread::scope(|scope| {
        for socket in &sockets {
            scope.spawn(|| serve(socket, &got, &ended));
        }
        let heard = from.enter(|| ask_all(to, questions));
        ended.store(true, Ordering::Relaxed);
        heard
    })?;
    looked_up.got = got.into_inner().expect("no server panics");
    Ok(looked_up)
}

fn serve(socket: &UdpSocket, got: &Mutex<BTreeMap<Says, u64>>, ended: &AtomicBool) {
    let mut message = [0; 512];
    while !ended.load(Ordering::Relaxed) {
        let Ok((len, client)) = socket.recv_from(&mut message) else {
            continue;
        };
        let label = message.get(13..13 + usize::from(message[12]));
        let is_meant = |says: &Says| label == Some(says.label().as_bytes());
        let Some(says) = Says::ALL.into_iter().find(is_meant) else {
            continue;
        };
        *got.lock()
            .expect("no server panics")
            .entry(says)
            .or_default() += 1;
        if let Some(code) = says.code() {
            // QR, recursion available, and the return code.
            message[2] |= 0x80;
            message[3] = 0x80 | code;
            // A client that has gone needs no answer.
            let _: std::io::Result<usize> = socket.send_to(&message[..len], client);
        }
    }
}

fn ask_all(to: SocketAddr, questions: &[Says]) -> Result<LookedUp> {
    let any = if to.is_ipv6() { "[::]:0" } else { "0.0.0.0:0" };
    let mut looked_up = LookedUp::default();
    for (number, says) in (0x1234..).zip(questions) {
        let client = UdpSocket::bind(any)?;
        client.connect(to)?;
        let id: u16 = number;
        let (heard, waited) = ask(&client, id, *says)?;
        looked_up.ids.push(id);
        *looked_up.heard.entry(heard).or_default() += 1;
        if heard != Says::Nothing {
            looked_up.slowest = looked_up.slowest.max(waited);
        }
    }
    Ok(looked_up)
}

/// Sends a query, and returns the answer with the time that it took.
fn ask(client: &UdpSocket, id: u16, says: Says) -> Result<(Says, Duration)> {
    let mut question = id.to_be_bytes().to_vec();
    // Recursion desired; one question.
    question.extend([1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    for label in [says.label(), "example"] {
        question.push(u8::try_from(label.len())?);
        question.extend(label.bytes());
    }
    // The root, type A, class IN.
    question.extend([0, 0, 1, 0, 1]);
    let patience = if says == Says::Nothing {
        RETRY
    } else {
        PATIENCE
    };
    client.set_read_timeout(Some(patience))?;
    let begin = Instant::now();
    for _ in 0..2 {
        client.send(&question)?;
        let mut answer = [0; 512];
        if client.recv(&mut answer).is_ok() && answer[..2] == question[..2] {
            let code = answer[3] & 0xf;
            let heard = Says::ALL.into_iter().find(|one| one.code() == Some(code));
            return Ok((heard.context("a known code")?, begin.elapsed()));
        }
    }
    Ok((Says::Nothing, begin.elapsed()))
}
