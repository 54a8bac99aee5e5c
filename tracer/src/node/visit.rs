//! Enters other network namespaces, and comes back.
//!
//! A path may lead elsewhere later: after a process has ended, `/proc/PID/ns/net` may soon
//! belong to another one. So a namespace counts as the same only if its inode number is
//! unchanged.

use std::{
    collections::HashMap,
    fs::{self, File},
    io,
    os::{fd::AsFd as _, unix::fs::MetadataExt as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use nix::sched::{CloneFlags, setns};

/// The calling thread's own network namespace.
const OWN: &str = "/proc/thread-self/ns/net";

/// Network namespaces that a thread can visit; [`Visitor::visit`] always comes back. The value
/// belongs to the thread that created it.
pub(super) struct Visitor {
    home: File,
    name: Arc<str>,
    others: HashMap<Arc<str>, Place>,
}

struct Place {
    path: PathBuf,
    /// Device and inode number of the namespace's file.
    identity: (u64, u64),
}

impl Visitor {
    /// Creates a visitor for the calling thread's own namespace, with the name `name`, and for
    /// others by name and path. Namespaces that cannot be found are left out.
    pub(super) fn new(
        name: Arc<str>,
        others: impl IntoIterator<Item = (Arc<str>, PathBuf)>,
    ) -> io::Result<Self> {
        let mut visitor = Self {
            home: File::open(OWN)?,
            name,
            others: HashMap::new(),
        };
        visitor.replace(others);
        Ok(visitor)
    }

    /// Replaces the other namespaces.
    pub(super) fn replace(&mut self, others: impl IntoIterator<Item = (Arc<str>, PathBuf)>) {
        let places = others.into_iter().filter_map(|(name, path)| {
            let identity = identity(&fs::metadata(&path).ok()?);
            Some((name, Place { path, identity }))
        });
        self.others = places.collect();
    }

    /// Names of the namespaces, the thread's own first.
    pub(super) fn names(&self) -> Vec<Arc<str>> {
        let mut others: Vec<_> = self.others.keys().cloned().collect();
        others.sort();
        [vec![Arc::clone(&self.name)], others].concat()
    }

    /// Runs `look` in the namespace with the name `name`; `None` if the namespace is not known
    /// or gone. `look` must not move the thread to another namespace.
    ///
    /// # Panics
    /// If the thread cannot come back, because it would do everything afterwards in the wrong
    /// namespace.
    pub(super) fn visit<T>(&self, name: &str, look: impl FnOnce() -> T) -> Option<T> {
        if *name == *self.name {
            return Some(look());
        }
        let place = self.others.get(name)?;
        let namespace = open(&place.path, place.identity)?;
        setns(namespace.as_fd(), CloneFlags::CLONE_NEWNET).ok()?;
        let _back = Back(&self.home);
        Some(look())
    }
}

/// Brings the thread back, also after a panic.
struct Back<'a>(&'a File);

impl Drop for Back<'_> {
    fn drop(&mut self) {
        setns(self.0.as_fd(), CloneFlags::CLONE_NEWNET)
            .unwrap_or_else(|errno| panic!("cannot return to the own network namespace: {errno}"));
    }
}

/// The file of the namespace, if its path still leads to it.
fn open(path: &Path, expected: (u64, u64)) -> Option<File> {
    let file = File::open(path).ok()?;
    (identity(&file.metadata().ok()?) == expected).then_some(file)
}

/// Whether a file is that of the calling thread's own namespace.
pub(super) fn is_own(path: &Path) -> bool {
    let of = |path: &Path| fs::metadata(path).map(|file| identity(&file));
    of(path).is_ok_and(|there| of(Path::new(OWN)).is_ok_and(|here| there == here))
}

fn identity(file: &fs::Metadata) -> (u64, u64) {
    (file.dev(), file.ino())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_leads_elsewhere_is_not_entered() {
        let own = fs::metadata(OWN).expect("every thread has one");
        assert!(open(Path::new(OWN), identity(&own)).is_some());
        assert!(open(Path::new(OWN), (own.dev(), own.ino() + 1)).is_none());
    }

    #[test]
    fn only_what_is_known_is_visited() {
        let gone = (Arc::from("gone"), PathBuf::from("/nonexistent/netns"));
        let visitor = Visitor::new(Arc::from("host"), [gone]).expect("a namespace of its own");
        assert_eq!(visitor.names(), [Arc::from("host")]);
        assert_eq!(visitor.visit("host", || 7), Some(7));
        assert_eq!(visitor.visit("gone", || 7), None);
    }
}
