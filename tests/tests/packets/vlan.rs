use anyhow::Result;
use tracer_tests::frames::{IPV4, OUTER_VLAN, VLAN, vlan};

use crate::case::Case;
use crate::stage::Stage;

/// The pod's own interface sees the tag in the frame. The kernel moves the tag out of the frame
/// before the veth peer on the host sees it.
const OPTIONS: &[&str] = &["--pod-interfaces"];
const IN_POD: u64 = 1;

#[test]
fn in_the_frame_and_beside_it() -> Result<()> {
    let stage = Stage::new()?;
    let packet = stage.datagram(&[0; 16]);
    let tagged_by = |outer: u16, ids: &[u16]| {
        let mut ids = ids.iter().rev();
        let last = ids.next().expect("a tag");
        let innermost = vlan(*last, IPV4, &packet);
        let payload = ids.fold(innermost, |payload, id| vlan(*id, VLAN, &payload));
        stage.sent_by_pod(outer, &payload)
    };
    let tagged = |ids: &[u16]| tagged_by(VLAN, ids);
    let good = tagged(&[7]);
    let cut = |lengths: std::ops::Range<usize>| lengths.map(|len| good[..len].to_vec());
    let cases = [
        // The tag has a priority and no VLAN, so the bridge takes the frame for its own VLAN.
        Case::new("priority", [tagged(&[0])]).journey(10, "delivered"),
        // Pod, veth and bridge see the frame. Nothing is in that VLAN, so the packet counts as for
        // another host (net/core/dev.c __netif_receive_skb_core: PACKET_OTHERHOST).
        Case::new("one tag", [tagged(&[7])]).journey(3, "dropped"),
        Case::new("one outer tag", [tagged_by(OUTER_VLAN, &[7])]).journey(3, "dropped"),
        // The dropped frame begins with the second tag.
        Case::new("two tags", [tagged(&[7, 8])]).journey(3, "dropped"),
        Case::new(
            "an outer and an inner tag",
            [tagged_by(OUTER_VLAN, &[7, 8])],
        )
        .journey(3, "dropped"),
        // After the pod's interface, the frame has one tag less.
        Case::new("three tags", [tagged(&[7, 8, 9])])
            .unparsed(IN_POD)
            .journey(2, "dropped"),
        Case::new("ten tags", [tagged(&[7; 10])]).unparsed(3),
        // To move a tag, the kernel needs the tag and two more bytes.
        Case::new("cut within the tag", cut(14..20)).unparsed(IN_POD),
        Case::new("cut behind the tag", cut(20..38)).unparsed(3),
    ];
    cases
        .into_iter()
        .try_for_each(|case| case.check_with(&stage, &stage.pod, OPTIONS))?;
    // The tag's number is shown where the tag is outside of the frame.
    let seen = stage.watch(OPTIONS, || stage.pod.send(&good))?;
    let hops = &seen.journeys[0]["hops"];
    let vlans = [0, 1, 2].map(|hop| hops[hop]["vlan"].as_u64());
    assert_eq!(vlans, [None, Some(7), Some(7)], "{:#?}", seen.journeys);
    Ok(())
}
