//! Commands to QEMU itself, by its own protocol (QMP): one JSON object per line.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};

/// The name of QEMU's socket.
pub const NAME: &str = "qmp";
/// The time limit of a command.
const LIMIT: Duration = Duration::from_secs(60);

/// Runs one command.
pub(super) fn run(socket: &Path, command: &str, arguments: &Value) -> Result<()> {
    let stream = UnixStream::connect(socket)
        .with_context(|| format!("cannot connect to {}", socket.display()))?;
    stream.set_read_timeout(Some(LIMIT))?;
    let mut stream = BufReader::new(stream);
    // QEMU first sends a greeting.
    next(&mut stream)?;
    let negotiate = json!({ "execute": "qmp_capabilities" });
    let execute = json!({ "execute": command, "arguments": arguments });
    for request in [negotiate, execute] {
        stream
            .get_mut()
            .write_all(format!("{request}\n").as_bytes())?;
        loop {
            let answer = next(&mut stream)?;
            if let Some(error) = answer["error"]["desc"].as_str() {
                bail!("QEMU says: {error}");
            }
            // QEMU may send events before the answer.
            if answer.get("return").is_some() {
                break;
            }
        }
    }
    Ok(())
}

fn next(stream: &mut BufReader<UnixStream>) -> Result<Value> {
    let mut line = String::new();
    let count = stream.read_line(&mut line).context("QEMU says nothing")?;
    ensure!(count > 0, "QEMU has ended");
    serde_json::from_str(&line).with_context(|| format!("QEMU says {line}"))
}
