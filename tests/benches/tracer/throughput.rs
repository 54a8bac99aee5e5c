//! x
use std::net::UdpSocket;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use nix::sys::socket::{setsockopt, sockopt::RcvBufForce};
use tracer_tests::Pod;

const WINDOW: Duration = Duration::from_millis(500);
const BUFFER: usize = 8 << 20;
const PAYLOAD: [u8; 64] = [0x5a; 64];

pub(crate) struct Traffic { client: UdpSocket, server: UdpSocket }

fn sched(mode: &str) {
    unsafe extern "C" { fn sched_setscheduler(p: i32, pol: i32, prio: *const i32) -> i32; fn setpriority(w: i32, who: u32, n: i32) -> i32; fn sched_setaffinity(p: i32, s: usize, m: *const u64) -> i32; }
    let m = 1u64;
    unsafe { assert_eq!(sched_setaffinity(0, 8, &m), 0); }
    let r = unsafe { match mode { "fifo" => sched_setscheduler(0, 1, &1), "nice" => setpriority(0, 0, -20), _ => 0 } };
    if r != 0 { println!("{mode}: {}", std::io::Error::last_os_error()); }
}

impl Traffic {
    pub(crate) fn new([from, to]: [&Pod; 2]) -> Result<Self> {
        let server = to.netns.enter(|| UdpSocket::bind((to.v4, 0)))?;
        let client = from.netns.enter(|| UdpSocket::bind((from.v4, 0)))?;
        setsockopt(&server, RcvBufForce, &BUFFER)?;
        client.connect(server.local_addr()?)?;
        server.set_nonblocking(true)?;
        Ok(Self { client, server })
    }

    pub(crate) fn rate(&self, mode: &str) -> Result<(f64, f64, f64)> {
        std::thread::scope(|s| s.spawn(|| {
        sched(mode);
        let start = Instant::now();
        let (mut sent, mut got) = (0u64, 0u64);
        let mut buf = [0; 128];
        let cpu = || { let s = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap(); s.split(' ').next().unwrap().parse::<f64>().unwrap() };
        let c0 = cpu();
        while start.elapsed() < WINDOW {
            for _ in 0..64 { sent += u64::from(self.client.send(&PAYLOAD).is_ok()); }
            while self.server.recv(&mut buf).is_ok() { got += 1; }
        }
        let c = (cpu() - c0) / 1e9;
        let took = start.elapsed().as_secs_f64();
        Ok((sent as f64 / took, got as f64 / took, got as f64 / c))
        }).join().unwrap())
    }
}
