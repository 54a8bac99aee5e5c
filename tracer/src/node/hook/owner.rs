//! Who attached what, and whether it still lives.
//!
//! Each tracer holds a socket in the namespace in which it attaches, bound to an
//! abstract name with a number of its own (unix(7)). The kernel closes it when
//! the process ends, however it ends, and any other tracer in the namespace can
//! see whether the name is taken: also from a container that has process numbers
//! of its own, where these would say nothing.

use std::{
    io,
    os::{
        linux::net::SocketAddrExt as _,
        unix::net::{SocketAddr, UnixDatagram},
    },
    thread,
    time::{Duration, Instant},
};

use crate::node::NodeError;

/// How long to wait for one's turn, and how often to ask. Nobody needs it for
/// longer than some netlink messages take.
const PATIENCE: Duration = Duration::from_secs(5);
const ASK: Duration = Duration::from_millis(1);

/// One that attaches, as long as it lives.
pub(super) struct Owner {
    id: u64,
    _alive: UnixDatagram,
}

impl Owner {
    /// A new one, in the calling thread's namespace.
    pub(super) fn new() -> Result<Self, NodeError> {
        let id = crate::random();
        let alive = hold(&name(id)).map_err(cannot)?;
        Ok(Self { id, _alive: alive })
    }

    pub(super) const fn id(&self) -> u64 {
        self.id
    }
}

/// Whether an owner lives. One of whom that cannot be said does.
pub(super) fn lives(id: u64) -> bool {
    hold(&name(id)).is_err()
}

/// The right to change what is attached in the namespace, until dropped.
pub(super) struct Turn(#[expect(dead_code, reason = "holds the name")] UnixDatagram);

impl Turn {
    /// Waits until no other tracer has it.
    pub(super) fn wait() -> Result<Self, NodeError> {
        let end = Instant::now() + PATIENCE;
        loop {
            match hold("tracer/turn") {
                Ok(socket) => return Ok(Self(socket)),
                Err(error) if error.kind() != io::ErrorKind::AddrInUse || Instant::now() > end => {
                    return Err(cannot(error));
                }
                Err(_) => thread::sleep(ASK),
            }
        }
    }
}

fn name(id: u64) -> String {
    format!("tracer/{id:016x}")
}

fn hold(name: &str) -> io::Result<UnixDatagram> {
    UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(name)?)
}

fn cannot(source: io::Error) -> NodeError {
    NodeError::System {
        what: "agree with other tracers about who attaches",
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_owner_lives_until_it_is_dropped() {
        let owner = Owner::new().expect("a socket");
        let id = owner.id();
        assert!(lives(id));
        assert!(!lives(id ^ 1));
        drop(owner);
        assert!(!lives(id));
    }

    #[test]
    fn turns_are_taken_one_after_the_other() {
        let first = Turn::wait().expect("nobody has it");
        let waiting = thread::spawn(|| Turn::wait().map(drop));
        assert!(hold("tracer/turn").is_err());
        drop(first);
        waiting.join().expect("no panic").expect("its turn");
    }
}
