//! Owners of attached filters, and whether they are still alive.
//!
//! Each tracer has a socket in the namespace in which it attaches, bound to an abstract name
//! with its own number (unix(7)). The kernel closes the socket when the process ends for any
//! reason, and any other tracer in the namespace can see whether the name is in use. That also
//! works from a container, whose own process ids mean nothing outside.
//!
//! Any process there may take such a name. Tracers take turns by one of these names. A process
//! that is no tracer must not lock tracers out.

use std::{
    fmt::Write as _,
    fs, io,
    os::{
        linux::net::SocketAddrExt as _,
        unix::net::{SocketAddr, UnixDatagram},
    },
    path::Path,
    thread,
    time::{Duration, Instant},
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
pub(super) struct Turn(Option<UnixDatagram>);

impl Turn {
    /// Waits until no other tracer has the turn.
    ///
    /// # Errors
    /// If a tracer, or an unknown process, holds the turn for longer than `patience`.
    pub(super) fn wait(patience: Duration) -> Result<Self, NodeError> {
        Self::of(TURN, patience)
    }

    fn of(name: &str, patience: Duration) -> Result<Self, NodeError> {
        let end = Instant::now() + patience;
        loop {
            match hold(name) {
                Ok(socket) => return Ok(Self(Some(socket))),
                Err(error) if error.kind() != io::ErrorKind::AddrInUse => {
                    return Err(cannot(error));
                }
                Err(_) if Instant::now() < end => thread::sleep(ASK),
                Err(_) => break,
            }
        }
        let holders = holders(name);
        let text = describe(name, &holders);
        if holders.is_empty() || holders.iter().any(|holder| holder.may_attach) {
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
    pid: u32,
    /// Name of the process.
    name: String,
    /// Whether the process could attach programs, as tracers do.
    may_attach: bool,
}

/// Processes that hold an abstract name in the calling thread's namespace, as far as they are
/// visible.
fn holders(name: &str) -> Vec<Holder> {
    let sockets = fs::read("/proc/thread-self/net/unix").unwrap_or_default();
    let sockets = String::from_utf8_lossy(&sockets);
    let Some(inode) = inode(&sockets, name) else {
        return Vec::new();
    };
    let socket = format!("socket:[{inode}]");
    let mut found = Vec::new();
    for process in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Ok(pid) = process.file_name().to_string_lossy().parse() else {
            continue;
        };
        let path = process.path();
        let descriptors = fs::read_dir(path.join("fd"))
            .into_iter()
            .flatten()
            .flatten();
        let mut open = descriptors.filter_map(|fd| fs::read_link(fd.path()).ok());
        if open.any(|target| target == Path::new(&socket)) {
            let comm = fs::read(path.join("comm")).unwrap_or_default();
            found.push(Holder {
                pid,
                name: String::from_utf8_lossy(&comm)
                    .trim()
                    .escape_debug()
                    .to_string(),
                may_attach: may_attach(&path),
            });
        }
    }
    found
}

/// Inode number of the socket that is bound to an abstract name, from `/proc/net/unix`.
fn inode<'a>(sockets: &'a str, name: &str) -> Option<&'a str> {
    sockets.lines().find_map(|line| {
        let mut words = line.split_ascii_whitespace();
        let inode = words.nth(6)?;
        (words.next()?.strip_prefix('@')? == name).then_some(inode)
    })
}

/// Whether a process has CAP_NET_ADMIN here. If that cannot be read, the answer is yes. A
/// process in its own user namespace has the capability only there.
fn may_attach(process: &Path) -> bool {
    let user = |process: &Path| fs::read_link(process.join("ns/user"));
    let own = user(Path::new("/proc/thread-self"));
    if let (Ok(own), Ok(other)) = (own, user(process))
        && own != other
    {
        return false;
    }
    fs::read_to_string(process.join("status")).map_or(true, |status| has_net_admin(&status))
}

fn has_net_admin(status: &str) -> bool {
    let mut lines = status.lines();
    let effective = lines
        .find_map(|line| line.strip_prefix("CapEff:"))
        .and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok());
    effective.is_none_or(|effective| effective & (1 << NET_ADMIN) != 0)
}

/// A sentence on who holds a name, and what to do about it.
fn describe(name: &str, holders: &[Holder]) -> String {
    let Some(first) = holders.first() else {
        return format!(
            "the abstract socket @{name} is held by a process that cannot be seen from here: \
             `ss -xlp` on the node names it"
        );
    };
    let mut text = format!(
        "the abstract socket @{name} is held by process {}",
        first.pid
    );
    write!(text, " ({})", first.name).expect("a string takes everything");
    text + ": end it if it hangs"
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
        let name = name(crate::random());
        let first = Turn::of(&name, PATIENCE).expect("nobody has it");
        let same = name.clone();
        let waiting = thread::spawn(move || Turn::of(&same, PATIENCE).map(drop));
        assert!(hold(&name).is_err());
        drop(first);
        waiting.join().expect("no panic").expect("its turn");
    }

    /// This process holds the name, and the sentence says so.
    #[test]
    fn who_holds_a_name_for_too_long_is_named() {
        let name = name(crate::random());
        let _held = hold(&name).expect("nobody has it");
        let found = holders(&name);
        let own = std::process::id();
        assert!(found.iter().any(|holder| holder.pid == own), "{found:?}");
        let text = describe(&name, &found);
        assert!(
            text.contains(&format!("@{name} is held by process ")),
            "{text}"
        );
        assert!(text.ends_with(": end it if it hangs"), "{text}");
        assert!(describe(&name, &[]).contains("cannot be seen"));
        assert_eq!(holders("tracer/nobody_has_this"), []);
    }

    #[test]
    fn a_socket_is_found_by_its_whole_name() {
        let table = "Num       RefCount Protocol Flags    Type St Inode Path\n\
            0000000000000000: 00000002 00000000 00000000 0002 01 21 @tracer/turn2\n\
            0000000000000000: 00000002 00000000 00000000 0002 01 22 /run/tracer/turn\n\
            0000000000000000: 00000003 00000000 00000000 0001 03 23\n\
            0000000000000000: 00000002 00000000 00000000 0002 01 24 @tracer/turn\n";
        assert_eq!(inode(table, TURN), Some("24"));
        assert_eq!(inode(table, "tracer"), None);
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
