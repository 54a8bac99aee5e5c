//! `lab serve`: the program in a machine. It makes the machine's node, runs programs on the node
//! and in its pods, and starts an agent whenever somebody opens the agent's line.
//!
//! A request is a line of JSON with a number and words, and its answer is a line with the same
//! number.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::{Command, ExitStatus};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde_json::{Value, json};

use super::relay::AGENT_READY;
use super::{AGENT, CONTROL, READY};
use crate::lab::{Lab, LabSpec, Release, Wiring};
use crate::netns::Netns;
use crate::process::Finished;
use crate::traffic::apart::{self, Server};

/// The interval at which the program checks whether the other end of a line is open.
const TICK: Duration = Duration::from_millis(20);
/// The time limit of a program.
const LIMIT: Duration = Duration::from_secs(60);

/// Serves until the machine is switched off.
///
/// # Errors
/// If a serial line is missing.
pub fn run() -> Result<()> {
    let agents = port(AGENT)?;
    thread::spawn(move || {
        loop {
            if let Err(error) = serve_agent(&agents) {
                eprintln!("cannot run an agent: {error:#}");
                thread::sleep(TICK);
            }
        }
    });
    let line = OpenOptions::new()
        .read(true)
        .write(true)
        .open(port(CONTROL)?)?;
    println!("{READY}");
    let mut node = Node::default();
    let mut questions = BufReader::new(&line);
    loop {
        let mut question = String::new();
        if questions.read_line(&mut question)? == 0 || !question.ends_with('\n') {
            // Nobody has the other end open.
            thread::sleep(TICK);
            continue;
        }
        let Ok(question) = serde_json::from_str::<Value>(&question) else {
            continue;
        };
        let words = question["words"].as_array().into_iter().flatten();
        let words: Vec<&str> = words.filter_map(Value::as_str).collect();
        let number = &question["number"];
        let answer = match node.answer(&words) {
            Ok(told) => json!({ "number": number, "told": told }),
            Err(error) => json!({ "number": number, "error": format!("{error:#}") }),
        };
        (&line).write_all(format!("{answer}\n").as_bytes())?;
    }
}

/// The device of a serial line, by the name that QEMU gave it.
fn port(name: &str) -> Result<PathBuf> {
    for entry in fs::read_dir("/sys/class/virtio-ports").context("there are no serial lines")? {
        let entry = entry?;
        let own = fs::read_to_string(entry.path().join("name")).unwrap_or_default();
        if own.trim() == name {
            return Ok(PathBuf::from("/dev").join(entry.file_name()));
        }
    }
    bail!("there is no serial line {name}")
}

/// Runs one agent, as soon as somebody opens the other end, and first announces it there. Earlier
/// input went to an earlier agent, or nowhere.
fn serve_agent(port: &PathBuf) -> Result<()> {
    let mut line = OpenOptions::new().read(true).write(true).open(port)?;
    while !is_connected(&line)? {
        thread::sleep(TICK);
    }
    line.write_all(AGENT_READY.as_bytes())?;
    let mut agent = Command::new("tracer");
    agent.args(["agent", "--stdio"]);
    let status = agent.stdin(line.try_clone()?).stdout(line).status()?;
    println!("an agent ended: {status}");
    Ok(())
}

fn is_connected(line: &File) -> Result<bool> {
    let mut polled = [PollFd::new(line.as_fd(), PollFlags::POLLOUT)];
    poll(&mut polled, PollTimeout::ZERO)?;
    let events = polled[0].revents().unwrap_or(PollFlags::empty());
    Ok(events.contains(PollFlags::POLLOUT) && !events.contains(PollFlags::POLLHUP))
}

/// The node that the machine plays.
#[derive(Default)]
struct Node {
    /// The lab, with the words of the request that made it.
    lab: Option<(String, Lab)>,
    servers: BTreeMap<u64, Server>,
    number: u64,
}

impl Node {
    fn answer(&mut self, words: &[&str]) -> Result<Value> {
        Ok(match *words {
            ["kernel"] => json!({ "release": Release::own().0 }),
            ["lab", index, seed, wiring, pods] => {
                self.make([index, seed, wiring, pods])?;
                Value::Null
            }
            ["run", netns, line, input] => told(&Netns::named(netns).finish(line, input, LIMIT)?),
            ["sysctl", netns, name, value] => {
                Netns::named(netns).sysctl(&[(name, value)])?;
                Value::Null
            }
            ["listen", netns, kind, address] => {
                let server = Server::start(&Netns::named(netns), kind, address.parse()?)?;
                self.number += 1;
                let port = server.port();
                self.servers.insert(self.number, server);
                json!({ "server": self.number.to_string(), "port": port })
            }
            ["close", server, expected] => {
                let server = self.servers.remove(&server.parse()?);
                let server = server.context("there is no such server")?;
                json!({ "arrived": server.close(expected.parse()?) })
            }
            ["client", netns, kind, from, to, count, payload] => {
                let ends = (from.parse()?, to.parse()?);
                let (count, payload) = (count.parse()?, payload.parse()?);
                let tally = apart::client(&Netns::named(netns), kind, ends, count, payload)?;
                json!({ "sent": tally.sent, "received": tally.received })
            }
            _ => bail!("nobody knows how to {words:?}"),
        })
    }

    /// Makes the lab's node, unless it exists.
    fn make(&mut self, words: [&str; 4]) -> Result<()> {
        let said = words.join(" ");
        if let Some((made, _)) = &self.lab {
            ensure!(*made == said, "this machine plays another node: {made}");
            return Ok(());
        }
        let [index, seed, wiring, pods] = words;
        let wiring = Wiring::named(wiring)?;
        let spec = LabSpec {
            pods_per_node: pods.parse()?,
            seed: Some(seed.parse()?),
            wiring,
            ..LabSpec::default()
        };
        let lab = Lab::in_this_machine(&spec, index.parse()?)?;
        self.lab = Some((said, lab));
        Ok(())
    }
}

/// The result of a program, as an answer.
fn told(finished: &Finished) -> Value {
    let Finished {
        status,
        stdout,
        stderr,
    } = finished;
    json!({ "status": status.into_raw(), "stdout": stdout, "stderr": stderr })
}

/// The result of a program in an answer of [`told`].
pub(super) fn finished(told: &Value) -> Result<Finished> {
    let text = |key: &str| told[key].as_str().map(str::to_owned);
    let status = told["status"].as_i64().context("how it ended")?;
    Ok(Finished {
        status: ExitStatus::from_raw(i32::try_from(status)?),
        stdout: text("stdout").context("what it wrote")?,
        stderr: text("stderr").context("what it complained of")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_a_program_ended_is_told_whole() {
        let ended = |status| Finished {
            status: ExitStatus::from_raw(status),
            stdout: "a \"b\"\n".to_owned(),
            stderr: String::new(),
        };
        for status in [0, 1 << 8, 9] {
            let heard = finished(&told(&ended(status))).expect("it was told");
            assert_eq!(format!("{heard:?}"), format!("{:?}", ended(status)));
        }
    }

    #[test]
    fn what_nobody_knows_is_an_error() {
        let mut node = Node::default();
        assert!(node.answer(&["dance"]).is_err());
        assert!(node.answer(&["close", "7", "0"]).is_err());
        let kernel = node.answer(&["kernel"]).expect("it runs on one");
        assert_eq!(kernel["release"], Release::own().0);
    }
}
