//! What is replaced in a recording that is given away.

use proptest::{collection::vec, prelude::*};

use super::{given, head};
use crate::store::Anonymizer;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// Of addresses, names and MACs nothing is left.
    #[test]
    fn anonymized_it_names_nobody(sent in vec((0..2_usize, given::batch()), 1..4)) {
        let mut anonymizer = Anonymizer::default();
        let replaced = anonymizer.head(head());
        let text = format!("{replaced:?}");
        for name in ["node-a", "web", "cart", "veth0", "veth3", "10.244", "192.168", "a-boot", "remark", "gap"] {
            prop_assert!(!text.contains(name), "{name} in {text}");
        }
        for (_, batch) in &sent {
            let replaced = anonymizer.batch(batch);
            prop_assert_eq!(replaced.hops.len(), batch.hops.len());
            for (hop, original) in replaced.hops.iter().zip(&batch.hops) {
                prop_assert_eq!(hop.time, original.time);
                prop_assert_eq!(hop.packet.ports(), original.packet.ports());
                prop_assert_eq!(hop.packet.dst.is_multicast(), original.packet.dst.is_multicast());
                let (new, old) = (hop.packet.dst, original.packet.dst);
                prop_assert!(new != old || old.is_unspecified() || old.is_loopback());
                // The same one everywhere.
                let again = anonymizer.batch(batch);
                prop_assert_eq!(&again.hops, &replaced.hops);
            }
        }
    }
}
