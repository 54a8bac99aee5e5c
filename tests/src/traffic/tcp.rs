//! Connections: many short ones, or one with a lot of data. Both ends close in order, so a clean
//! run has no reset.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;
use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::ReceiveTimeout;
use nix::sys::time::{TimeVal, TimeValLike};

use super::{Flow, PATIENCE, Tally, apart};

/// How often a server checks whether its client has ended, in milliseconds.
pub(super) const TICK: i64 = 20;
/// The question of a short connection, and its answer.
const GREETING: [u8; 16] = *b"how do you do?\r\n";

impl Flow {
    /// Opens `count` connections one after the other, each with one question and one answer of 16
    /// bytes. Counts those that were answered and that both ends have closed. The closing client
    /// keeps each port for a minute, so the limit is about 28,000 connections.
    ///
    /// # Errors
    /// If the server cannot listen.
    pub fn tcp_connects(&self, count: u64) -> Result<Tally> {
        if let Some(tally) = self.between_machines(apart::CONNECTIONS, count, 0, 0) {
            return tally;
        }
        let (listener, address) = self.listen()?;
        let deadline = self.deadline();
        let client = || ask_each(address, count, deadline);
        Ok(self.serve(&listener, client, |stream| answer(stream).map(drop)))
    }

    /// Sends `bytes` bytes over one connection and closes it. Counts the bytes that the other end
    /// read, if it also saw the end and said so.
    ///
    /// # Errors
    /// If the server cannot listen.
    pub fn tcp_bulk(&self, bytes: u64) -> Result<Tally> {
        if let Some(tally) = self.between_machines(apart::BYTES, bytes, 0, 0) {
            return tally;
        }
        let (listener, address) = self.listen()?;
        let deadline = self.deadline();
        let client = || upload_all(address, bytes, deadline);
        Ok(self.serve(&listener, client, |stream| download(stream, deadline)))
    }

    fn listen(&self) -> Result<(TcpListener, SocketAddr)> {
        let address = self.server();
        let bind = || TcpListener::bind(address);
        let listener = self.to.netns.bind(address, bind)?;
        setsockopt(&listener, ReceiveTimeout, &TimeVal::milliseconds(TICK))?;
        let bound = listener.local_addr()?;
        Ok((listener, bound))
    }

    /// Runs `client` in the sender's namespace while `server` handles the connections to
    /// `listener`, one at a time.
    fn serve<T: Send>(
        &self,
        listener: &TcpListener,
        client: impl FnOnce() -> T + Send,
        server: impl Fn(TcpStream) -> io::Result<()> + Sync,
    ) -> T {
        let ended = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                while !ended.load(Ordering::Relaxed) {
                    if let Ok((stream, _)) = listener.accept() {
                        // A failure here shows in the client's count.
                        let _ = server(stream);
                    }
                }
            });
            let result = self.from.netns.enter(client);
            ended.store(true, Ordering::Relaxed);
            result
        })
    }
}

/// Opens `count` connections, one after the other.
pub(super) fn ask_each(address: SocketAddr, count: u64, deadline: Instant) -> Tally {
    let in_time = (0..count).take_while(|_| Instant::now() < deadline);
    let answered = in_time.map(|_| ask(address).is_ok());
    answered.fold(
        Tally {
            sent: 0,
            received: 0,
        },
        |tally, answered| Tally {
            sent: tally.sent + 1,
            received: tally.received + u64::from(answered),
        },
    )
}

/// Sends `bytes` bytes over one connection, and counts the bytes that the other end has read.
pub(super) fn upload_all(address: SocketAddr, bytes: u64, deadline: Instant) -> Tally {
    let mut sent = 0;
    let received = upload(address, bytes, &mut sent, deadline).unwrap_or(0);
    Tally { sent, received }
}

pub(super) fn ask(address: SocketAddr) -> io::Result<()> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(&GREETING)?;
    let mut reply = [0; GREETING.len()];
    stream.read_exact(&mut reply)?;
    stream.shutdown(Shutdown::Write)?;
    expect_end(&mut stream)
}

pub(super) fn answer(mut stream: TcpStream) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut question = [0; GREETING.len()];
    stream.read_exact(&mut question)?;
    stream.write_all(&question)?;
    expect_end(&mut stream)
}

/// Sends `bytes` bytes, notes the progress in `sent`, and returns the number of bytes that the
/// other end has read.
fn upload(address: SocketAddr, bytes: u64, sent: &mut u64, deadline: Instant) -> io::Result<u64> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    let chunk = [0x5a; 64 << 10];
    while *sent < bytes {
        stream.set_write_timeout(Some(remaining(deadline)?))?;
        let len = chunk
            .len()
            .min(usize::try_from(bytes - *sent).unwrap_or(usize::MAX));
        *sent += stream.write(&chunk[..len])? as u64;
    }
    stream.shutdown(Shutdown::Write)?;
    stream.set_read_timeout(Some(remaining(deadline)?))?;
    let mut count = [0; 8];
    stream.read_exact(&mut count)?;
    expect_end(&mut stream)?;
    Ok(u64::from_be_bytes(count))
}

/// Reads to the end, and then tells the number of bytes.
pub(super) fn download(mut stream: TcpStream, deadline: Instant) -> io::Result<()> {
    let mut chunk = vec![0; 256 << 10];
    let mut received = 0;
    loop {
        stream.set_read_timeout(Some(remaining(deadline)?))?;
        match stream.read(&mut chunk)? {
            0 => return stream.write_all(&u64::to_be_bytes(received)),
            len => received += len as u64,
        }
    }
}

fn expect_end(stream: &mut TcpStream) -> io::Result<()> {
    match stream.read(&mut [0])? {
        0 => Ok(()),
        _ => Err(ErrorKind::InvalidData.into()),
    }
}

fn remaining(deadline: Instant) -> io::Result<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() {
        Err(ErrorKind::TimedOut.into())
    } else {
        Ok(left)
    }
}
