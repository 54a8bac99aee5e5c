//! Checks an agent's requirements of its process and kernel before anything is changed, so that
//! errors name what is missing.

use std::{fs, path::Path};

use aya::{maps::MapType, programs::ProgramType, sys};

use super::NodeError;

/// Capabilities by bit (include/uapi/linux/capability.h), with the purpose of each.
const NEEDED: [(u32, &str); 3] = [
    (39, "CAP_BPF (to load its programs)"),
    (12, "CAP_NET_ADMIN (to attach them)"),
    (
        38,
        "CAP_PERFMON (to tell packets apart by their kernel addresses)",
    ),
];

/// Capability for entering another network namespace.
const SYS_ADMIN: (u32, &str) = (21, "CAP_SYS_ADMIN (to enter network namespaces)");

/// Checks that programs can be loaded and attached, and namespaces entered if
/// `namespaces`.
pub(super) fn check(namespaces: bool) -> Result<(), NodeError> {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    missing_capability(&status, namespaces, true)?;
    kernel(
        Path::new("/sys/kernel/btf/vmlinux"),
        sys::is_map_supported(MapType::RingBuf).unwrap_or(false),
        sys::is_program_supported(ProgramType::SchedClassifier).unwrap_or(false),
    )
}

/// Checks that namespaces can be entered, which is all that a search needs.
pub(super) fn check_to_look(namespaces: bool) -> Result<(), NodeError> {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    missing_capability(&status, namespaces, false)
}

fn missing_capability(status: &str, namespaces: bool, attach: bool) -> Result<(), NodeError> {
    let effective = status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))
        .and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok())
        .unwrap_or(0);
    let needed = NEEDED.into_iter().filter(|_| attach);
    let missing: Vec<&str> = needed
        .chain(namespaces.then_some(SYS_ADMIN))
        .filter(|(bit, _)| effective & (1 << bit) == 0)
        .map(|(_, name)| name)
        .collect();
    if missing.is_empty() {
        Ok(())
    } else {
        Err(NodeError::Capabilities(missing))
    }
}

fn kernel(btf: &Path, ring_buffers: bool, classifiers: bool) -> Result<(), NodeError> {
    let lacks = |what, needs| Err(NodeError::Kernel { what, needs });
    if !classifiers {
        return lacks("tc programs", "CONFIG_BPF_SYSCALL and CONFIG_NET_CLS_BPF");
    }
    if !ring_buffers {
        return lacks("BPF ring buffers", "Linux 5.8 or newer");
    }
    if !btf.exists() {
        return lacks(
            "type information (/sys/kernel/btf/vmlinux)",
            "CONFIG_DEBUG_INFO_BTF=y",
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sentence(result: Result<(), NodeError>) -> String {
        result.expect_err("something is missing").to_string()
    }

    #[test]
    fn all_missing_capabilities_are_named_at_once() {
        let all = "CapInh:\t0\nCapEff:\t000001ffffffffff\n";
        missing_capability(all, true, true).expect("nothing is missing");
        let none = "CapEff:\t0000000000000000\n";
        assert_eq!(
            sentence(missing_capability(none, true, true)),
            "tracer needs CAP_BPF (to load its programs), CAP_NET_ADMIN (to attach them), \
             CAP_PERFMON (to tell packets apart by their kernel addresses) and CAP_SYS_ADMIN (to \
             enter network namespaces): run it as root, or give the program these capabilities"
        );
        assert_eq!(
            sentence(missing_capability(none, true, false)),
            "tracer needs CAP_SYS_ADMIN (to enter network namespaces): run it as root, or give \
             the program that capability"
        );
        missing_capability(none, false, false).expect("looking needs none");
        let bpf_only = "CapEff:\t0000008000000000\n";
        let sentence = sentence(missing_capability(bpf_only, false, true));
        assert!(
            sentence.starts_with("tracer needs CAP_NET_ADMIN (to attach them) and CAP_PERFMON")
        );
    }

    #[test]
    fn what_a_kernel_lacks_is_named() {
        let here = Path::new("/");
        let nowhere = Path::new("/nonexistent/btf");
        kernel(here, true, true).expect("all there");
        assert!(sentence(kernel(here, false, true)).contains("5.8"));
        assert!(sentence(kernel(nowhere, true, true)).contains("CONFIG_DEBUG_INFO_BTF"));
        assert!(sentence(kernel(here, true, false)).contains("tc programs"));
    }
}
