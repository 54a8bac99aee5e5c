//! How many packets per second get from one pod to another, over VXLAN, on a
//! machine that pays for both nodes: without tracer, and beside it.
//!
//! Rates of the same kind differ by more than what is to be found out. So each
//! measurement stands between two without a tracer, and is divided by their
//! mean; the kinds take turns, in either order.

use std::io::ErrorKind;
use std::net::UdpSocket;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use nix::sys::socket::{setsockopt, sockopt::RcvBufForce};
use tracer_tests::Pod;

const WINDOW: Duration = Duration::from_millis(800);
const BUFFER: usize = 8 << 20;
const PAYLOAD: [u8; 64] = [0x5a; 64];

pub(crate) struct Traffic { client: UdpSocket, server: UdpSocket }

impl Traffic {
    pub(crate) fn new([from, to]: [&Pod; 2]) -> Result<Self> {
        let server = to.netns.enter(|| UdpSocket::bind((to.v4, 0)))?;
        let client = from.netns.enter(|| UdpSocket::bind((from.v4, 0)))?;
        setsockopt(&server, RcvBufForce, &BUFFER)?;
        client.connect(server.local_addr()?)?;
        server.set_nonblocking(true)?;
        Ok(Self { client, server })
    }

    pub(crate) fn rate(&self, win: u64, pin: bool) -> Result<(f64, f64)> {
        let received = AtomicU64::new(0);
        let ended = AtomicBool::new(false);
        let pinto = |cpu: usize| { if pin { let mut s = nix::sched::CpuSet::new(); s.set(cpu).unwrap(); nix::sched::sched_setaffinity(nix::unistd::Pid::from_raw(0), &s).unwrap(); } };
        thread::scope(|scope| {
            scope.spawn(|| {
                pinto(1);
                let mut buf = [0; 128];
                while !ended.load(Ordering::Relaxed) {
                    match self.server.recv(&mut buf) {
                        Ok(_) => { received.fetch_add(1, Ordering::Relaxed); }
                        Err(e) if e.kind() == ErrorKind::WouldBlock => { if win == 0 { thread::yield_now(); } else { std::hint::spin_loop(); thread::yield_now(); } }
                        Err(_) => {}
                    }
                }
            });
            scope.spawn(|| {
                pinto(0);
                let start = Instant::now();
                let mut sent = 0u64;
                let mut lost = 0;
                while start.elapsed() < WINDOW {
                    for _ in 0..32 { sent += u64::from(self.client.send(&PAYLOAD).is_ok()); }
                    if win > 0 {
                        let t = Instant::now();
                        while sent - lost - received.load(Ordering::Relaxed).min(sent-lost) > win { if t.elapsed() > Duration::from_millis(50) { lost = sent - received.load(Ordering::Relaxed); } thread::yield_now(); }
                    }
                }
                let took = start.elapsed().as_secs_f64();
                let got = received.load(Ordering::Relaxed);
                ended.store(true, Ordering::Relaxed);
                Ok((sent as f64 / took, got as f64 / took))
            }).join().unwrap()
        })
    }
}
