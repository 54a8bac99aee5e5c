//! Every other test relies on the lab, so these tests check the lab itself: its network carries
//! traffic, its counts are true, and nothing of it stays behind.

// The remains of labs after any kind of end.
mod leftovers;

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;
use tracer_tests::program::LIMIT;
use tracer_tests::raw::{Layout, PacketSocket, Tap};
use tracer_tests::traffic::{Flow, Tally, arp_nd};
use tracer_tests::{Lab, LabSpec, Names};

const fn tally(count: u64) -> Tally {
    Tally {
        sent: count,
        received: count,
    }
}

#[test]
fn every_kind_of_traffic_arrives_whatever_the_names() -> Result<()> {
    for names in [Names::Realistic, Names::Odd] {
        let lab = Lab::new(&LabSpec {
            pods_per_node: 2,
            names,
            ..LabSpec::default()
        })?;
        // The other pod is on another node, and on the same one.
        for to in [&lab.pods[2], &lab.pods[1]] {
            for v6 in [false, true] {
                let flow = Flow::new(&lab.pods[0], to).v6(v6);
                assert_eq!(flow.ping(5, Duration::from_millis(2))?, tally(5));
                assert_eq!(flow.ping_flood(500)?, tally(500));
                assert_eq!(arp_nd(&lab, &flow)?, tally(1));
                assert_eq!(flow.udp_exchange(100, 64)?, tally(100));
                assert_eq!(flow.udp_exchange(3, 0)?, tally(3));
                assert_eq!(flow.udp_exchange(3, 20_000)?, tally(3), "in fragments");
                assert_eq!(flow.udp_send(10_000, 100)?, tally(10_000));
                assert_eq!(flow.clone().port(8080).tcp_connects(50)?, tally(50));
                assert_eq!(flow.tcp_bulk(100_000_000)?, tally(100_000_000));
            }
        }
    }
    Ok(())
}

#[test]
fn traffic_between_nodes_goes_through_the_tunnel() -> Result<()> {
    let lab = Lab::new(&LabSpec::default())?;
    let [node, other] = &lab.nodes[..] else {
        panic!("two nodes were asked for")
    };
    let before = other.netns.received(&other.overlay)?;
    assert!(
        Flow::new(&lab.pods[0], &lab.pods[1])
            .udp_send(1000, 10)?
            .is_complete()
    );
    assert!(other.netns.received(&other.overlay)? >= before + 1000);

    let device = node
        .netns
        .run(&format!("ip -details link show dev {}", node.overlay))?;
    let expected = [format!("id {} ", lab.vni), format!("dstport {} ", lab.port)];
    assert!(
        expected.iter().all(|part| device.contains(part)),
        "{device}"
    );
    assert!(
        device.contains(" nolearning ") && device.contains(&node.overlay_mac),
        "{device}"
    );
    Ok(())
}

#[test]
fn a_fault_is_counted_and_ends_in_time() -> Result<()> {
    let lab = Lab::new(&LabSpec::default())?;
    lab.middle.run(&format!(
        "ip link set dev {} down",
        lab.nodes[1].middle_port
    ))?;
    let flow = Flow::new(&lab.pods[0], &lab.pods[1]).limit(Duration::from_secs(3));
    let start = Instant::now();
    let results = thread::scope(|scope| {
        let traffic: [fn(&Flow) -> Result<Tally>; 5] = [
            |flow| flow.ping(3, Duration::from_millis(10)),
            |flow| flow.udp_exchange(3, 10),
            |flow| flow.udp_send(100, 10),
            |flow| flow.tcp_connects(2),
            |flow| flow.tcp_bulk(1000),
        ];
        let flow = &flow;
        let threads = traffic.map(|traffic| scope.spawn(move || traffic(flow)));
        threads.map(|thread| thread.join().expect("traffic does not panic"))
    });
    for result in results {
        assert_eq!(result?.received, 0);
    }
    assert!(start.elapsed() < LIMIT);

    lab.middle
        .run(&format!("ip link set dev {} up", lab.nodes[1].middle_port))?;
    lab.ready()
}

#[test]
fn a_node_alone_and_many_nodes() -> Result<()> {
    for (nodes, pods_per_node) in [(1, 0), (1, 3), (5, 2), (3, 30)] {
        let lab = Lab::new(&LabSpec {
            nodes,
            pods_per_node,
            hairpin: true,
            ..LabSpec::default()
        })?;
        assert_eq!(lab.nodes.len(), nodes);
        assert_eq!(lab.pods.len(), nodes * pods_per_node);
    }
    Ok(())
}

#[test]
fn a_lab_that_cannot_be_is_refused() {
    for (nodes, pods_per_node) in [(0, 1), (201, 1), (1, 201)] {
        let spec = LabSpec {
            nodes,
            pods_per_node,
            ..LabSpec::default()
        };
        assert!(Lab::new(&spec).is_err(), "{spec:?}");
    }
}

#[test]
fn objects_are_as_kubectl_prints_them() -> Result<()> {
    let lab = Lab::new(&LabSpec::default())?;
    let yaml = lab.objects_yaml();
    for pod in &lab.pods {
        let node = lab.node_of(pod);
        let pod_item = format!(
            "    name: {}\n    namespace: {}\n    uid: {}\n  spec:\n    nodeName: {}\n",
            pod.name, pod.namespace, pod.uid, node.name
        );
        let status = format!("    podIPs:\n    - ip: {}\n    - ip: {}\n", pod.v4, pod.v6);
        let address = format!("    - address: {}\n      type: InternalIP\n", node.underlay);
        for part in [pod_item, status, address] {
            assert!(yaml.contains(&part), "{part} is missing in\n{yaml}");
        }
    }
    let args = lab.agent_args()?;
    assert_eq!(std::fs::read_to_string(&args[1])?, yaml);
    assert_eq!(args.iter().filter(|arg| *arg == "--agent").count(), 2);
    let file = args[1].clone();
    drop(lab);
    assert!(!Path::new(&file).exists());
    Ok(())
}

#[test]
fn frames_are_sent_and_received_as_given() -> Result<()> {
    let lab = Lab::new(&LabSpec::default())?;
    let (pod, node) = (&lab.pods[0], &lab.nodes[0]);
    // The frame is for an unused address, with a VLAN tag and an EtherType for experiments.
    let frame = *b"\x02\x00\x00\x00\x00\x01\x02\x00\x00\x00\x00\x02\x81\x00\x00\x07\x88\xb5 raw";
    let before = node.netns.received(&pod.veth)?;
    let socket = PacketSocket::open(&pod.netns, &pod.interface)?;
    for _ in 0..100 {
        socket.send(&frame)?;
    }
    assert!(node.netns.received(&pod.veth)? >= before + 100);
    assert!(
        socket.send(&frame[..13]).is_err(),
        "shorter than an Ethernet header"
    );
    assert!(PacketSocket::open(&pod.netns, "nothing").is_err());

    for (name, layout) in [("tap0", Layout::Linear), ("tap1", Layout::Fragments)] {
        let tap = Tap::open(&node.netns, name, layout)?;
        for _ in 0..100 {
            tap.send(&[&frame[..14], &frame[14..16], &frame[16..]])?;
        }
        assert_eq!(node.netns.received(name)?, 100);
    }
    assert!(Tap::open(&node.netns, "a-name-that-is-too-long", Layout::Linear).is_err());
    Ok(())
}

#[test]
fn labs_of_one_seed_run_side_by_side() -> Result<()> {
    let spec = LabSpec {
        seed: Some(42),
        ..LabSpec::default()
    };
    thread::scope(|scope| {
        let lab = || -> Result<String> {
            let lab = Lab::new(&spec)?;
            let flow = Flow::new(&lab.pods[0], &lab.pods[1]);
            assert_eq!(flow.udp_exchange(1000, 10)?, tally(1000));
            Ok(lab.objects_yaml())
        };
        let threads = [(); 3].map(|()| scope.spawn(lab));
        let [a, b, c] = threads.map(|thread| thread.join().expect("a lab does not panic"));
        let a = a?;
        assert_eq!(a, b?);
        assert_eq!(a, c?);
        Ok(())
    })
}
