//! `lab relay SOCKET`: joins standard input and output to a socket, until one side ends.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread;

use anyhow::{Context as _, Result};

/// Joins them.
///
/// # Errors
/// If nobody listens there, or what comes cannot be handed on.
pub fn run(socket: &Path) -> Result<()> {
    let stream = UnixStream::connect(socket)
        .with_context(|| format!("cannot connect to {}", socket.display()))?;
    let mut out = stream.try_clone()?;
    thread::spawn(move || {
        // Whichever end fails, it is the end.
        let _ = copy(&mut io::stdin().lock(), &mut out);
        let _ = out.shutdown(Shutdown::Both);
    });
    let mut input = &stream;
    copy(&mut input, &mut io::stdout().lock()).context("cannot hand on what comes")
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
