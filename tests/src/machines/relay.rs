//! `lab relay SOCKET`: joins standard input and output to a socket that leads to an agent,
//! until one side ends.
//!
//! A serial line has no beginning: the agent before may still be there and take what is said.
//! So nothing is said before the line has told that an agent is there.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread;

use anyhow::{Context as _, Result};

/// What the line says when an agent begins to listen.
pub(super) const AGENT_READY: &str = "tracer-agent: ready\n";

/// Joins them.
///
/// # Errors
/// If nobody listens there, or what comes cannot be handed on.
pub fn run(socket: &Path) -> Result<()> {
    let stream = UnixStream::connect(socket)
        .with_context(|| format!("cannot connect to {}", socket.display()))?;
    let mut input = &stream;
    wait_ready(&mut input).context("no agent begins to listen")?;
    // Whoever speaks with the agent has to skip it, as a login's greeting.
    io::stdout().write_all(AGENT_READY.as_bytes())?;
    let mut out = stream.try_clone()?;
    thread::spawn(move || {
        // Whichever end fails, it is the end.
        let _ = copy(&mut io::stdin().lock(), &mut out);
        let _ = out.shutdown(Shutdown::Both);
    });
    copy(&mut input, &mut io::stdout().lock()).context("cannot hand on what comes")
}

/// Reads up to the words, whatever an agent before has left.
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

/// Hands on what comes as it comes: `io::copy` may keep it back.
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
