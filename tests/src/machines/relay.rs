//! `lab relay SOCKET`: joins standard input and output to a socket that leads to an agent, until
//! one side ends.
//!
//! A serial line has no beginning: an earlier agent may still be there and read the input. The
//! relay therefore sends nothing before the line has announced an agent.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread;

use anyhow::{Context as _, Result};

/// The line's message when an agent begins to listen.
pub(super) const AGENT_READY: &str = "tracer-agent: ready\n";

/// Joins the streams.
///
/// # Errors
/// If nobody listens at the socket, or data cannot be passed on.
pub fn run(socket: &Path) -> Result<()> {
    let stream = UnixStream::connect(socket)
        .with_context(|| format!("cannot connect to {}", socket.display()))?;
    let mut input = &stream;
    wait_ready(&mut input).context("no agent begins to listen")?;
    // The collector has to skip this line, like the greeting of a login.
    io::stdout().write_all(AGENT_READY.as_bytes())?;
    let mut out = stream.try_clone()?;
    thread::spawn(move || {
        // A failure of either stream is the end.
        let _ = copy(&mut io::stdin().lock(), &mut out);
        let _ = out.shutdown(Shutdown::Both);
    });
    copy(&mut input, &mut io::stdout().lock()).context("cannot hand on what comes")
}

/// Reads up to the message, and drops the remains of an earlier agent.
fn wait_ready(from: &mut impl Read) -> io::Result<()> {
    let mut heard = Vec::new();
    let mut byte = [0];
    while !heard.ends_with(AGENT_READY.as_bytes()) {
        from.read_exact(&mut byte)?;
        heard.push(byte[0]);
        if heard.len() > AGENT_READY.len() {
            heard.remove(0);
        }
    }
    Ok(())
}

/// Passes data on as it comes, while `io::copy` may hold data back.
fn copy(from: &mut impl Read, to: &mut impl Write) -> io::Result<()> {
    let mut buffer = vec![0; 64 << 10];
    loop {
        match from.read(&mut buffer)? {
            0 => return Ok(()),
            count => to.write_all(&buffer[..count])?,
        }
        to.flush()?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_agent_before_has_left_is_skipped() {
        let said = format!("\u{ff}tracer-agent: retracer-agent: ready\n{AGENT_READY}rest");
        let mut from = said.as_bytes();
        wait_ready(&mut from).expect("it is there");
        assert_eq!(from, format!("{AGENT_READY}rest").as_bytes());
        assert!(wait_ready(&mut "tracer-agent: ready".as_bytes()).is_err());
    }
}
