//! The memory that this process can still take: what the machine has available, or less if a
//! control group sets a limit, as for a container.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// The number of bytes that the process may still take, or `None` if it is unknown.
pub(super) fn available() -> Option<usize> {
    let read = |path| fs::read_to_string(path).ok();
    let groups = read("/proc/self/cgroup").zip(read("/proc/self/mountinfo"));
    let in_groups = groups.and_then(|(groups, mounts)| left(&groups, &mounts));
    let on_machine = read("/proc/meminfo").and_then(|text| {
        let kib: usize = value(&text, "MemAvailable:")?;
        Some(kib << 10)
    });
    in_groups.into_iter().chain(on_machine).min()
}

/// The files of a control group about memory.
struct Files {
    limit: &'static str,
    used: &'static str,
    /// The line of `memory.stat` with the memory that the kernel can take back at once.
    cache: &'static str,
}

const V1: Files = Files {
    limit: "memory.limit_in_bytes",
    used: "memory.usage_in_bytes",
    cache: "total_inactive_file",
};
const V2: Files = Files {
    limit: "memory.max",
    used: "memory.current",
    cache: "inactive_file",
};

/// The memory that the limits of all control groups of a process leave, by `/proc/PID/cgroup` and
/// `/proc/PID/mountinfo` (cgroups(7), proc_pid_mountinfo(5)).
fn left(groups: &str, mounts: &str) -> Option<usize> {
    let groups = groups.lines().filter_map(|line| {
        let mut parts = line.splitn(3, ':').skip(1);
        let controllers = parts.next()?;
        let files = match controllers {
            "" => V2,
            _ if controllers.split(',').any(|one| one == "memory") => V1,
            _ => return None,
        };
        Some((files, parts.next()?))
    });
    groups
        .filter_map(|(files, group)| {
            let (mount, directory) = directory(mounts, &files, group)?;
            // The limits of the groups above hold as well.
            let all = directory
                .ancestors()
                .take_while(|one| one.starts_with(&mount));
            all.filter_map(|one| left_in(one, &files)).min()
        })
        .min()
}

/// The mount of a hierarchy, and the directory of a group in it.
fn directory(mounts: &str, files: &Files, group: &str) -> Option<(PathBuf, PathBuf)> {
    mounts.lines().find_map(|line| {
        let (place, mounted) = line.split_once(" - ")?;
        let mut place = place.split(' ').skip(3);
        let (root, mount) = (place.next()?, Path::new(place.next()?));
        let (kind, options) = mounted.split_once(' ')?;
        let is_this = match kind {
            "cgroup2" => files.limit == V2.limit,
            "cgroup" => {
                let mut options = options.split([' ', ',']);
                files.limit == V1.limit && options.any(|option| option == "memory")
            }
            _ => false,
        };
        // A container may see only its own group, at the mount itself.
        let below = Path::new(group).strip_prefix(root).unwrap_or(Path::new(""));
        is_this.then(|| (mount.to_owned(), mount.join(below)))
    })
}

/// The memory that the limit of one group leaves, or `None` without a limit.
fn left_in(directory: &Path, files: &Files) -> Option<usize> {
    let read = |file| fs::read_to_string(directory.join(file)).ok();
    let number = |file| read(file)?.trim().parse::<usize>().ok();
    let limit = number(files.limit)?;
    let cache = read("memory.stat").and_then(|stat| value(&stat, files.cache));
    let used = number(files.used).unwrap_or(0);
    Some(limit.saturating_sub(used.saturating_sub(cache.unwrap_or(0))))
}

/// The number after a word at the beginning of a line.
fn value(text: &str, name: &str) -> Option<usize> {
    text.lines().find_map(|line| {
        let mut words = line.split_whitespace();
        (words.next()? == name).then(|| words.next()?.parse().ok())?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Makes a group with a limit, and the memory that it uses.
    fn group(at: &Path, files: &Files, [limit, used]: [&str; 2], cache: usize) {
        fs::create_dir_all(at).expect("a directory");
        for (file, text) in [
            (files.limit, limit.to_owned()),
            (files.used, used.to_owned()),
            ("memory.stat", format!("anon 5\n{} {cache}\n", files.cache)),
        ] {
            fs::write(at.join(file), format!("{text}\n")).expect("a file");
        }
    }

    #[test]
    fn the_tightest_limit_of_all_groups_counts() {
        let root = tempfile::tempdir().expect("a directory");
        let at = root.path();
        let mounts = format!(
            "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n\
             41 31 0:38 / {} rw,relatime shared:4 - cgroup2 cgroup2 rw,nsdelegate\n",
            at.display()
        );
        let groups = "0::/pods/pod7\n";
        // The root group has no such files.
        assert_eq!(left(groups, &mounts), None);
        group(&at.join("pods/pod7"), &V2, ["max", "700"], 0);
        group(&at.join("pods"), &V2, ["max", "900"], 0);
        assert_eq!(left(groups, &mounts), None);
        group(&at.join("pods"), &V2, ["1000", "900"], 50);
        assert_eq!(left(groups, &mounts), Some(150));
        group(&at.join("pods/pod7"), &V2, ["800", "700"], 10);
        assert_eq!(left(groups, &mounts), Some(110));
        // The limit was lowered below the used memory.
        group(&at.join("pods/pod7"), &V2, ["500", "700"], 10);
        assert_eq!(left(groups, &mounts), Some(0));
    }

    /// A container may have its own mount, or see the mount of the host.
    #[test]
    fn version_one_is_read_where_it_is_mounted() {
        let root = tempfile::tempdir().expect("a directory");
        let at = root.path();
        group(at, &V1, ["4096", "1024"], 24);
        let mounts = |root: &str| {
            format!(
                "34 31 0:31 / /nowhere rw - cgroup cgroup rw,cpu,cpuacct\n\
                 35 31 0:32 {root} {} ro,relatime - cgroup cgroup rw,memory\n",
                at.display()
            )
        };
        let groups = "9:name=systemd:/\n4:cpu,memory:/docker/abc\n0::/\n";
        assert_eq!(left(groups, &mounts("/docker/abc")), Some(3096));
        group(&at.join("docker/abc"), &V1, ["9223372036854771712", "1"], 0);
        assert_eq!(left(groups, &mounts("/")), Some(3096));
        group(&at.join("docker/abc"), &V1, ["2048", "0"], 0);
        assert_eq!(left(groups, &mounts("/")), Some(2048));
        // The root of the process's cgroup namespace may be beside its group.
        assert_eq!(left("4:memory:/../x\n", &mounts("/docker/abc")), Some(3096));
        assert_eq!(left("4:pids:/docker/abc\n", &mounts("/")), None);
    }

    #[test]
    fn there_is_memory_here() {
        assert!(available().is_some_and(|bytes| bytes > 1 << 20));
    }
}
