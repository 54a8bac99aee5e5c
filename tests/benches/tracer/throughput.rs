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

    pub(crate) fn burst(&self) -> f64 {
        let start = Instant::now();
        let mut got = 0u64;
        let mut buf = [0; 128];
        loop {
            for _ in 0..32 { self.client.send(&PAYLOAD).unwrap(); }
            while self.server.recv(&mut buf).is_ok() { got += 1; }
            let e = start.elapsed();
            if e > Duration::from_millis(10) { return got as f64 / e.as_secs_f64(); }
        }
    }
}
pub(crate) fn duel(x: &Traffic, y: &Traffic) -> (f64, f64, f64, [f64;2]) {
    std::thread::scope(|s| s.spawn(|| {
        sched("fifo");
        let (mut a, mut b, mut r) = (vec![], vec![], vec![]);
        for _ in 0..25 {
            let x1 = x.burst(); let y1 = y.burst(); let y2 = y.burst(); let x2 = x.burst();
            a.push(x1); a.push(x2); b.push(y1); b.push(y2);
            r.push((x1 + x2) / (y1 + y2));
        }
        let m = |mut v: Vec<f64>| { v.sort_by(f64::total_cmp); [v[v.len()/2], v[v.len()/4], v[3*v.len()/4]] };
        let q = m(r);
        (m(a)[0], m(b)[0], q[0], [q[1], q[2]])
    }).join().unwrap())
}
