//! One flow of small datagrams from pod to pod, on one CPU.
//!
//! The sender's system call runs a datagram's whole way through both nodes, so the sender decides
//! how many datagrams there are per second. The same thread also receives, batch by batch. A second
//! CPU and the scheduler would only add noise that has nothing to do with the way.

use std::io::ErrorKind;
use std::net::UdpSocket;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use nix::sys::socket::{setsockopt, sockopt::RcvBufForce};
use tracer_tests::Pod;

use crate::alone::alone;

/// The payload of every datagram.
const PAYLOAD: [u8; 64] = [0x5a; 64];
/// The number of datagrams before the thread reads those that arrived.
const BATCH: u32 = 32;
/// Receive buffer, in bytes, with room for many batches.
const BUFFER: usize = 1 << 20;
/// The duration of a turn.
const BURST: Duration = Duration::from_millis(10);
/// Turns of each side in a duel; even.
const TURNS: usize = 30;

/// A flow that can be sent.
pub(crate) struct Flow {
    client: UdpSocket,
    server: UdpSocket,
}

/// Datagrams per second of two flows that took turns.
pub(crate) struct Duel {
    /// The first flow's rates, turn by turn.
    pub(crate) first: Vec<f64>,
    /// The second flow's rates.
    pub(crate) second: Vec<f64>,
}

impl Flow {
    pub(crate) fn new(from: &Pod, to: &Pod) -> Result<Self> {
        let server = to.netns.enter(|| UdpSocket::bind((to.v4, 0)))?;
        let client = from.netns.enter(|| UdpSocket::bind((from.v4, 0)))?;
        setsockopt(&server, RcvBufForce, &BUFFER)?;
        server.set_nonblocking(true)?;
        client.connect(server.local_addr()?)?;
        Ok(Self { client, server })
    }

    /// One turn: datagrams per second that arrived.
    fn burst(&self) -> Result<f64> {
        let mut buffer = [0; 2 * PAYLOAD.len()];
        let mut arrived = 0;
        let start = Instant::now();
        loop {
            for _ in 0..BATCH {
                self.client.send(&PAYLOAD).context("cannot send")?;
            }
            loop {
                match self.server.recv(&mut buffer) {
                    Ok(_) => arrived += 1,
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    Err(error) => return Err(error).context("cannot receive"),
                }
            }
            let taken = start.elapsed();
            if taken >= BURST {
                ensure!(arrived > 0, "no datagram arrived");
                return Ok(f64::from(arrived) / taken.as_secs_f64());
            }
        }
    }
}

/// Runs two flows in turns. The turns are so short that the machine's speed hardly changes between
/// them. Each flow comes first equally often.
pub(crate) fn duel(first: &Flow, second: &Flow) -> Result<Duel> {
    alone(|| {
        let mut duel = Duel {
            first: Vec::new(),
            second: Vec::new(),
        };
        for turn in 0..TURNS {
            if turn % 2 == 0 {
                duel.first.push(first.burst()?);
            }
            duel.second.push(second.burst()?);
            if turn % 2 == 1 {
                duel.first.push(first.burst()?);
            }
        }
        Ok(duel)
    })
}
