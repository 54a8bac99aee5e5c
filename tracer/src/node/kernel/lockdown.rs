//! Kernel lockdown, which restricts even root (kernel_lockdown(7)).

use std::fs;

/// File of the modes; the present one is in brackets.
const LOCKDOWN: &str = "/sys/kernel/security/lockdown";

/// Whether no program may read the kernel's memory, so that `bpf_probe_read_kernel` is not
/// available (`LOCKDOWN_BPF_READ_KERNEL` in include/linux/security.h).
#[must_use]
pub fn hides_its_memory() -> bool {
    fs::read_to_string(LOCKDOWN).is_ok_and(|modes| is_confidential(&modes))
}

fn is_confidential(modes: &str) -> bool {
    modes.contains("[confidentiality]")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_mode_in_force_counts() {
        assert!(is_confidential("none integrity [confidentiality]\n"));
        assert!(!is_confidential("none [integrity] confidentiality\n"));
        assert!(!is_confidential("[none] integrity confidentiality\n"));
    }
}
