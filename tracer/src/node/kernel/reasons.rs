//! The kernel's names of drop reasons.
//!
//! Numbers differ from kernel to kernel (include/net/dropreason-core.h), so only the running
//! kernel's own list counts. A subsystem has its own list, with the subsystem's number in the
//! upper 16 bits (include/net/dropreason.h).

use std::{collections::HashMap, sync::Arc};

use super::Btf;

/// Names by number.
#[derive(Clone, Debug, Default)]
pub struct Reasons {
    names: HashMap<u32, Arc<str>>,
}

/// Name without a reason, before Linux 5.17.
const NONE: &str = "NO_REASON";

/// Number of bits of a reason within its subsystem.
const SUBSYSTEM_SHIFT: u32 = 16;

impl Reasons {
    /// Reads the names from BTF.
    #[must_use]
    pub fn new(btf: &Btf) -> Self {
        let mut names = HashMap::new();
        for (name, number) in btf.enumerators("skb_drop_reason") {
            let name = name.strip_prefix("SKB_DROP_REASON_").unwrap_or(&name);
            // The last enumerators are only a count and a mask.
            if !name.starts_with("SKB_") && name != "MAX" && !name.starts_with("SUBSYS") {
                names.insert(number, Arc::from(name));
            }
        }
        for (subsystem, number) in btf.enumerators("skb_drop_reason_subsys") {
            let subsystem = subsystem
                .strip_prefix("SKB_DROP_REASON_SUBSYS_")
                .unwrap_or(&subsystem);
            let (list, prefix, module) = match subsystem {
                "OPENVSWITCH" => ("ovs_drop_reason", "OVS_DROP_", "openvswitch"),
                "MAC80211_UNUSABLE" => ("mac80211_drop_reason", "RX_DROP_U_", "mac80211"),
                "QDISC" => ("qdisc_drop_reason", "QDISC_DROP_", ""),
                _ => continue,
            };
            let mut reasons = btf.enumerators(list);
            // A loadable module has the list in its own BTF.
            if reasons.is_empty() && !module.is_empty() {
                let module = btf.of_module(module);
                reasons = module.map_or_else(Vec::new, |module| module.enumerators(list));
            }
            for (name, own) in reasons {
                let name = name.strip_prefix(prefix).unwrap_or(&name);
                let own = own & ((1 << SUBSYSTEM_SHIFT) - 1);
                let number = number << SUBSYSTEM_SHIFT | own;
                names.insert(number, Arc::from(format!("{subsystem}_{name}")));
            }
        }
        Self { names }
    }

    /// Whether no name is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// Name of a reason; `REASON_` and the number if the kernel has no name for it.
    #[must_use]
    pub fn name(&self, number: u32) -> Arc<str> {
        match self.names.get(&number) {
            Some(name) => Arc::clone(name),
            None if number == 0 => Arc::from(NONE),
            None if number >> SUBSYSTEM_SHIFT != 0 => Arc::from(format!(
                "SUBSYSTEM_{}_REASON_{}",
                number >> SUBSYSTEM_SHIFT,
                number & ((1 << SUBSYSTEM_SHIFT) - 1)
            )),
            None => Arc::from(format!("REASON_{number}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_without_a_name_keeps_its_number() {
        let reasons = Reasons::default();
        assert_eq!(&*reasons.name(0), "NO_REASON");
        assert_eq!(&*reasons.name(77), "REASON_77");
        assert_eq!(&*reasons.name(3 << 16 | 5), "SUBSYSTEM_3_REASON_5");
    }
}
