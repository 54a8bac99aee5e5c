//! The same input gives the same result, whenever else the engine's time passes.

use proptest::prelude::*;

use super::*;

/// Hops of some packets, in order of time. There are few contents, so packets have twins, and come
/// again after they were reported. Pauses are long enough for all of the engine's deadlines.
fn hops() -> impl Strategy<Value = Vec<(i64, usize, Hop)>> {
    let pause = prop_oneof![
        8 => Just(1_000),
        2 => 1..SETTLED,
        1 => 1..3 * Limits::default().hold,
    ];
    let packet = prop_oneof![
        (0_u64..4).prop_map(udp),
        (0_u32..6, 1_u32..3, 0_u32..2).prop_map(|(at, len, stamp)| tcp(at * 100, len * 100, stamp)),
    ];
    let one = (pause, 0_usize..4, 0_u64..4, packet);
    prop::collection::vec(one, 1..80).prop_map(|seen| {
        let mut time = 0;
        let hop = |(pause, at, skb, packet): (i64, usize, u64, Packet)| {
            time += pause;
            let (node, point) = WAY[at];
            (time, node, hop(point, time, skb, &packet))
        };
        seen.into_iter().map(hop).collect()
    })
}

proptest! {
    #[test]
    fn borders_of_batches_change_nothing(
        hops in hops(),
        borders in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>()), 0..20),
        open in 2_usize..40,
    ) {
        let scene = scene();
        let limits = Limits { open, ..Limits::default() };
        let mut whole = Engine::new(limits);
        let mut cut = Engine::new(limits);
        for (index, (time, node, hop)) in hops.iter().enumerate() {
            whole.push(&scene, *node, *time, hop);
            cut.push(&scene, *node, *time, hop);
            // A watermark may be at any time before the next hop.
            let next = hops.get(index + 1).map_or(*time, |(next, ..)| *next);
            for (_, part) in borders.iter().filter(|(border, _)| border.index(hops.len()) == index) {
                let pause = usize::try_from(next - time).expect("time does not go back");
                let passed = i64::try_from(part.index(pause + 1)).expect("a pause");
                cut.advance(&scene, time + passed);
            }
        }
        whole.end(&scene);
        cut.end(&scene);
        prop_assert_eq!(whole.counts(), cut.counts());
        prop_assert_eq!(taken(&mut whole), taken(&mut cut));
    }
}
