//! Owners of attached filters, and whether they are still alive.
//!
//! Each tracer has a socket in the namespace in which it attaches, bound to an abstract name
//! with its own number (unix(7)). The kernel closes the socket when the process ends for any
//! reason, and any other tracer in the namespace can see whether the name is in use. That also
//! works from a container, whose own process ids mean nothing outside.
//!
//! Any process there may take such a name. Tracers take turns by one of these names. A process
//! that is no tracer must not lock tracers out, so the turn's socket listens: the kernel tells
//! whoever connects which process called listen(2), and as which user (`SO_PEERCRED`).

use std::{
    fmt::Write as _,
    fs, io,
    os::{
        fd::AsRawFd as _,
        linux::net::SocketAddrExt as _,
        unix::net::{SocketAddr, UnixDatagram, UnixListener},
    },
    thread,
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    sys::socket::{
        AddressFamily, SockFlag, SockType, UnixAddr, connect, getsockopt, socket,
        sockopt::PeerCredentials,
    },
};
use tracing::warn;

use crate::node::NodeError;

/// How long to wait for the turn, and how often to try. A tracer holds it only for some netlink
/// messages.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);
const ASK: Duration = Duration::from_millis(1);

/// Name of the turn, which the attaching tracer holds.
const TURN: &str = "tracer/turn";

/// Bit of CAP_NET_ADMIN (include/uapi/linux/capability.h), which attaching needs.
const NET_ADMIN: u32 = 12;

/// An owner, for as long as this value lives.
pub(super) struct Owner {
    id: u64,
    _alive: UnixDatagram,
}

impl Owner {
    /// Creates an owner in the calling thread's namespace.
    pub(super) fn new() -> Result<Self, NodeError> {
        let id = crate::random();
        let alive = hold(&name(id)).map_err(cannot)?;
        Ok(Self { id, _alive: alive })
    }

    pub(super) const fn id(&self) -> u64 {
        self.id
    }
}

/// Whether an owner is alive. If that cannot be read, the owner counts as alive.
pub(super) fn lives(id: u64) -> bool {
    hold(&name(id)).is_err()
}

/// The right to change the filters in the namespace, until dropped. `None`: a process that is
/// no tracer keeps the name, so that no tracer has it.
pub(super) struct Turn(Option<UnixListener>);

impl Turn {
    /// Waits until no other tracer has the turn.
    ///
    /// # Errors
    /// If a tracer, or another process that could attach, holds the turn for longer than
    /// `patience`.
    pub(super) fn wait(patience: Duration) -> Result<Self, NodeError> {
        Self::of(TURN, patience)
    }

    fn of(name: &str, patience: Duration) -> Result<Self, NodeError> {
        let end = Instant::now() + patience;
        loop {
            match listen(name) {
                Ok(listener) => return Ok(Self(Some(listener))),
                Err(error) if error.kind() != io::ErrorKind::AddrInUse => {
                    return Err(cannot(error));
                }
                Err(_) if Instant::now() < end => thread::sleep(ASK),
                Err(_) => break,
            }
        }
        let holder = holder(name).map_err(|errno| cannot(errno.into()))?;
        let text = describe(name, holder.as_ref());
        if holder.is_some_and(|holder| holder.may_attach) {
            return Err(cannot(io::Error::other(text)));
        }
        warn!("{text}: tracer goes on, as that is no tracer");
        Ok(Self(None))
    }

    /// Whether a process that is no tracer keeps the turn.
    pub(super) const fn is_not_granted(&self) -> bool {
        self.0.is_none()
    }
}

/// A process that holds a name.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Holder {
    /// Process id; 0 if the process is in another PID namespace.
    pid: i32,
    /// Name of the process; empty if unknown.
    name: String,
    /// Whether the process could attach programs, as tracers do.
    may_attach: bool,
}

/// The process that listens at an abstract name in the calling thread's namespace. `None`: no
/// process listens there as a tracer does.
fn holder(name: &str) -> Result<Option<Holder>, Errno> {
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    let socket = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    match connect(
        socket.as_raw_fd(),
        &UnixAddr::new_abstract(name.as_bytes())?,
    ) {
        Ok(()) => {}
        // The process does not listen, or others wait there already, which no tracer does.
        Err(Errno::ECONNREFUSED | Errno::EAGAIN) => return Ok(None),
        Err(errno) => return Err(errno),
    }
    let peer = getsockopt(&socket, PeerCredentials)?;
    let read = |file: &str| fs::read(format!("/proc/{}/{file}", peer.pid()));
    let status = read("status").unwrap_or_default();
    let comm = read("comm").unwrap_or_default();
    Ok(Some(Holder {
        pid: peer.pid(),
        name: String::from_utf8_lossy(&comm)
            .trim()
            .escape_debug()
            .to_string(),
        // In a user namespace of its own, any user's process has all capabilities.
        may_attach: (peer.uid() == 0 || shares_user_namespace(peer.pid()))
            && has_net_admin(&String::from_utf8_lossy(&status)),
    }))
}

/// Whether a process is in the user namespace of this one. If that cannot be read, the answer is no.
fn shares_user_namespace(pid: i32) -> bool {
    let user = |process: &str| fs::read_link(format!("/proc/{process}/ns/user")).ok();
    let own = user("thread-self");
    own.is_some() && own == user(&pid.to_string())
}

/// Whether a process has CAP_NET_ADMIN, by `/proc/PID/status`. If that cannot be read, the answer is
/// yes.
fn has_net_admin(status: &str) -> bool {
    let mut lines = status.lines();
    let effective = lines
        .find_map(|line| line.strip_prefix("CapEff:"))
        .and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok());
    effective.is_none_or(|effective| effective & (1 << NET_ADMIN) != 0)
}

/// A sentence on who holds a name, and what to do about it.
fn describe(name: &str, holder: Option<&Holder>) -> String {
    let mut text = format!("the abstract socket @{name} is held by ");
    match holder {
        Some(holder) if holder.pid != 0 => {
            write!(text, "process {} ({})", holder.pid, holder.name)
                .expect("a string takes everything");
            text + ": end it if it hangs"
        }
        _ => text + "a process that cannot be seen from here: `ss -xlp` on the node names it",
    }
}

fn name(id: u64) -> String {
    format!("tracer/{id:016x}")
}

fn listen(name: &str) -> io::Result<UnixListener> {
    UnixListener::bind_addr(&SocketAddr::from_abstract_name(name)?)
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
        let name = name(crate::random());
        let first = Turn::of(&name, PATIENCE).expect("nobody has it");
        let same = name.clone();
        let waiting = thread::spawn(move || Turn::of(&same, PATIENCE).map(drop));
        assert!(listen(&name).is_err());
        drop(first);
        waiting.join().expect("no panic").expect("its turn");
    }

    /// This process holds the name, and the sentence says so.
    #[test]
    fn who_holds_a_name_for_too_long_is_named() {
        let name = name(crate::random());
        let _held = listen(&name).expect("nobody has it");
        let found = holder(&name).expect("an answer").expect("a process");
        assert_eq!(found.pid.cast_unsigned(), std::process::id());
        let text = describe(&name, Some(&found));
        assert!(
            text.contains(&format!("@{name} is held by process ")),
            "{text}"
        );
        assert!(text.ends_with(": end it if it hangs"), "{text}");
        assert!(describe(&name, None).contains("cannot be seen"));
        assert_eq!(holder("tracer/nobody_has_this"), Ok(None));
    }

    #[test]
    fn only_who_may_attach_is_taken_for_a_tracer() {
        assert!(has_net_admin("CapEff:\t0000000000001000\n"));
        assert!(!has_net_admin(
            "CapPrm:\t0000000000001000\nCapEff:\t0000000000000000\n"
        ));
        assert!(has_net_admin("it says nothing"));
    }
}
