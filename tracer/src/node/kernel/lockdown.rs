//! What the kernel keeps even from those who may do everything
//! (kernel_lockdown(7)).

use std::fs;

/// Where it says so, with the mode that is in force in brackets.
const LOCKDOWN: &str = "/sys/kernel/security/lockdown";

/// Whether no program may read the kernel's memory, which takes
/// `bpf_probe_read_kernel` from it (`LOCKDOWN_BPF_READ_KERNEL` in
/// include/linux/security.h).
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
