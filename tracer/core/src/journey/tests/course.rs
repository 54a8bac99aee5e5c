//! The order of steps if each node has its own clock.

use super::*;

/// A chain of nodes from A's to B's. `leads`: by how much each node's clock is ahead, ns. Each node
/// is a hop of an IP network, and nodes in between forward by their uplinks. `agents`: the order of
/// the nodes in the scene.
fn seen(leads: &[i64], agents: &[usize], tunnelled: bool) -> Vec<usize> {
    let mut stage = Stage::new();
    let last = leads.len() - 1;
    stage.scene.nodes = agents
        .iter()
        .map(|at| {
            let mut node = stage.scene.nodes[usize::from(*at == last)].clone();
            node.boot_id = format!("boot-{at}");
            node.local = vec![address(*at)];
            node
        })
        .collect();
    let mut hops = Vec::new();
    let mut time = 1_000_000;
    for (at, lead) in leads.iter().enumerate() {
        let way = match at {
            0 => [FROM_POD, OUT],
            _ if at == last => [IN, TO_POD],
            _ => [IN, OUT],
        };
        let node = agents
            .iter()
            .position(|agent| *agent == at)
            .expect("an agent");
        for point in way {
            time += 1_000;
            // A packet that goes out has been forwarded.
            let forwarded = usize::from(point == OUT || point == TO_POD);
            let ttl = 64 - u8::try_from(at + forwarded).expect("few nodes");
            let packet = Packet { ttl, ..udp(1) };
            let mut hop = hop(point, time + lead, time.cast_unsigned(), &packet);
            let from = if point == IN { at.wrapping_sub(1) } else { at };
            hop.encap = hop.encap.filter(|_| tunnelled).map(|encap| Encap {
                outer_src: address(from),
                outer_dst: address(from.wrapping_add(1)),
                ..encap
            });
            hops.push((node, hop));
        }
    }
    hops.sort_by_key(|(_, hop)| hop.time);
    for (node, hop) in &hops {
        stage.see(*node, hop);
    }
    let journeys = stage.end();
    assert_eq!(journeys.len(), 1);
    let steps = journeys[0].steps.iter();
    steps.map(|step| agents[step.node]).collect()
}

fn address(node: usize) -> IpAddr {
    [172, 16, 0, u8::try_from(node).unwrap_or(u8::MAX)].into()
}

/// However clocks differ, a packet is first on the node that it comes from.
#[test]
fn steps_on_three_kernels_are_in_the_order_of_the_way() {
    for tunnelled in [false, true] {
        for leads in [
            [0, 0, 0],
            [0, -50_000, -90_000],
            [0, -90_000, -50_000],
            [0, 50_000, -90_000],
            [0, -90_000, 0],
            [90_000, 0, 50_000],
        ] {
            for agents in [[0, 1, 2], [2, 1, 0], [1, 2, 0]] {
                assert_eq!(
                    seen(&leads, &agents, tunnelled),
                    [0, 0, 1, 1, 2, 2],
                    "{leads:?} {agents:?} {tunnelled}"
                );
            }
        }
    }
}

#[test]
fn a_longer_chain_is_in_order() {
    assert_eq!(
        seen(&[0, -90_000, 70_000, -50_000], &[3, 1, 0, 2], true),
        [0, 0, 1, 1, 2, 2, 3, 3]
    );
}
