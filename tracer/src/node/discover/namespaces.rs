//! Searches the pods' own network namespaces.
//!
//! A bridge forgets a MAC address after five minutes of silence, and the neighbour table
//! sooner. So the host's tables do not find a pod that has sent nothing lately. Its own
//! namespace still has the interface with the pod's address, which names its peer by index. An
//! index counts in one namespace only, and pod addresses repeat, because several clusters can
//! share a kernel. So a pod counts only if its peer's namespace is the asking one, by the
//! kernel's own namespace id.
//!
//! A separate thread enters the namespaces, so that the calling thread stays in its own.
//! Namespaces are found by their usual names first, and then by processes in them; both
//! searches are bounded.

use std::{
    collections::HashSet,
    fs::{self, File},
    io,
    net::IpAddr,
    os::linux::fs::MetadataExt as _,
    path::{Path, PathBuf},
    thread,
};

use nix::sched::{CloneFlags, setns};

use super::{DiscoverError, attributes::Mac, netlink::Connection};

/// Folders in which container runtimes and `ip netns` keep names for namespaces.
const NAMED: [&str; 3] = ["/run/netns", "/var/run/netns", "/var/run/docker/netns"];

/// Limits of the search; a node has some hundred pods.
const MAX_NAMESPACES: usize = 4096;
const MAX_PROCESSES: usize = 1 << 17;

/// A pod's own interface.
#[derive(Clone, Debug)]
pub(super) struct PodLink {
    pub(super) pod: IpAddr,
    pub(super) path: PathBuf,
    pub(super) index: u32,
    pub(super) name: String,
    pub(super) kind: String,
    pub(super) mac: Option<Mac>,
    /// Whether the interface is one end of a pair.
    pub(super) is_pair: bool,
    /// Index of the host-side end, or of the device below, in the asking namespace.
    pub(super) lower: u32,
    /// Whether the node routes the pod's packets, although the pod shares a device of the node.
    pub(super) routed_below: bool,
}

impl PodLink {
    /// Whether the pod sends by a shared device of the node.
    pub(super) fn shares_device(&self) -> bool {
        matches!(
            self.kind.as_str(),
            "macvlan" | "macvtap" | "ipvlan" | "ipvtap"
        )
    }
}

/// The result of the search, and why it may be incomplete.
#[derive(Debug, Default)]
pub(super) struct Search {
    pub(super) found: Vec<PodLink>,
    pub(super) notes: Vec<String>,
}

/// Searches all known namespaces for the pods' interfaces.
pub(super) fn find(pods: &[IpAddr]) -> Result<Search, DiscoverError> {
    let here = File::open("/proc/thread-self/ns/net").map_err(failed)?;
    thread::scope(|scope| {
        let search = thread::Builder::new()
            .name("namespaces".to_owned())
            .spawn_scoped(scope, || search(&here, pods))
            .map_err(failed)?;
        match search.join() {
            Ok(result) => result.map_err(failed),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

fn failed(source: io::Error) -> DiscoverError {
    DiscoverError::Namespaces { source }
}

/// Enters one namespace after the other. The thread must end afterwards.
fn search(here: &File, pods: &[IpAddr]) -> io::Result<Search> {
    let home = here.metadata()?;
    let mut seen = HashSet::from([home.st_ino()]);
    let mut search = Search::default();
    let mut denied = 0;
    for path in candidates() {
        if pods
            .iter()
            .all(|&pod| search.found.iter().any(|link| link.pod == pod))
        {
            break;
        }
        let entered = match fs::metadata(&path) {
            // All namespaces are in one file system; any other file is a stale name.
            Ok(file) if file.st_dev() != home.st_dev() || !seen.insert(file.st_ino()) => continue,
            Ok(_) => look(&path, here, pods),
            Err(error) => Err(error),
        };
        match entered {
            Ok(links) => search.found.extend(links),
            Err(error) if is_denied(&error, &path) => denied += 1,
            // Pods and processes end at any time.
            Err(_) => {}
        }
        if seen.len() > MAX_NAMESPACES {
            let note =
                format!("only the first {MAX_NAMESPACES} network namespaces were looked into");
            search.notes.push(note);
            break;
        }
    }
    if denied > 0 {
        search.notes.push(denials(denied));
    }
    Ok(search)
}

fn denials(denied: usize) -> String {
    let what = match denied {
        1 => "one process or network namespace".to_owned(),
        _ => format!("{denied} processes or network namespaces"),
    };
    format!("{what} could not be looked into (that takes CAP_SYS_ADMIN and CAP_SYS_PTRACE)")
}

/// Whether access to an existing namespace is denied. The kernel also denies access to a
/// process that ended after its folder was found (`proc_ns_get_link` in fs/proc/namespaces.c).
fn is_denied(error: &io::Error, path: &Path) -> bool {
    let process = path.parent().and_then(Path::parent);
    let is_process = path.starts_with("/proc");
    error.kind() == io::ErrorKind::PermissionDenied
        && (!is_process || process.is_some_and(|process| fs::symlink_metadata(process).is_ok()))
}

/// Files of namespaces, the stable ones first.
fn candidates() -> impl Iterator<Item = PathBuf> {
    let entries = |folder: &'static str| fs::read_dir(folder).into_iter().flatten().flatten();
    let named = NAMED
        .into_iter()
        .flat_map(entries)
        .map(|entry| entry.path());
    let processes = entries("/proc")
        .filter(|entry| {
            entry
                .file_name()
                .as_encoded_bytes()
                .iter()
                .all(u8::is_ascii_digit)
        })
        .map(|entry| entry.path().join("ns/net"));
    named.chain(processes.take(MAX_PROCESSES))
}

/// Followed pods in one namespace. The thread stays in it.
fn look(path: &Path, here: &File, pods: &[IpAddr]) -> io::Result<Vec<PodLink>> {
    setns(File::open(path)?, CloneFlags::CLONE_NEWNET)?;
    let mut kernel = Connection::open()?;
    let mut owned = kernel.addresses()?;
    owned.retain(|(_, address)| pods.contains(address));
    if owned.is_empty() {
        return Ok(Vec::new());
    }
    let Some(home) = kernel.namespace_id(here)? else {
        return Ok(Vec::new());
    };
    let links = kernel.links()?;
    let pod_link = |&(index, pod): &(u32, IpAddr)| {
        let link = links.iter().find(|link| link.index == index)?;
        let lower = link.lower.filter(|_| link.lower_namespace == Some(home))?;
        Some(PodLink {
            pod,
            path: path.to_owned(),
            index,
            name: link.name.clone(),
            kind: link.kind.clone(),
            mac: link.mac,
            is_pair: link.is_pair(),
            lower,
            routed_below: link.routed_below,
        })
    };
    Ok(owned.iter().filter_map(pod_link).collect())
}

#[cfg(test)]
mod tests {
    use std::{io, path::Path};

    use super::{denials, is_denied};

    #[test]
    fn a_process_that_has_ended_denies_nothing() {
        let denied = io::Error::from(io::ErrorKind::PermissionDenied);
        // The number is above Linux's highest process id, 2^22.
        let ended = Path::new("/proc/4194305/ns/net");
        assert!(!is_denied(&denied, ended));
        assert!(is_denied(&denied, Path::new("/proc/self/ns/net")));
        assert!(is_denied(&denied, Path::new("/run/netns/blue")));
        let gone = io::Error::from(io::ErrorKind::NotFound);
        assert!(!is_denied(&gone, Path::new("/proc/self/ns/net")));
    }

    #[test]
    fn one_is_one() {
        assert!(denials(1).starts_with("one process or network namespace could"));
        assert!(denials(2).starts_with("2 processes or network namespaces could"));
    }
}
