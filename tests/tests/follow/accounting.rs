//! The fate of every packet and event: compares the program's sums with the kernel's count of its
//! programs' runs.

use std::{
    collections::BTreeSet,
    fs, io,
    net::Ipv4Addr,
    os::fd::{AsFd as _, AsRawFd as _},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use aya::{
    programs::{ProgramFd, ProgramType, loaded_programs},
    sys::{Stats, enable_stats},
};
use nix::libc;
use serde_json::Value;
use tracer_tests::{
    Lab, LabSpec, Pod,
    frames::{ICMP, IPV4, ethernet, icmp, ipv4},
    program::{Finished, LIMIT, Tracer, evidence},
    traffic::Flow,
};

/// The outcomes of a run of the program on `kfree_skb`.
const FREED: [&str; 7] = [
    "miss",
    "elsewhere",
    "emitted",
    "ring_full",
    "rate_limited",
    "sampled_out",
    "unparsed",
];

/// An address for documentation (RFC 5737), which no device has.
const LAYER3: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 7);

/// The programs of a tracer, held so that their counts outlive the process.
struct Programs {
    ids: Vec<u32>,
    _held: Vec<ProgramFd>,
}

impl Programs {
    /// The programs that the process has open.
    fn of(tracer: &Tracer) -> Result<Self> {
        let mut ids = Vec::new();
        for entry in fs::read_dir(format!("/proc/{}/fdinfo", tracer.id()))? {
            let text = fs::read_to_string(entry?.path()).unwrap_or_default();
            let field = text.lines().find_map(|line| line.strip_prefix("prog_id:"));
            // The descriptor of a link names its program, too.
            if let Some(id) = field {
                ids.push(id.trim().parse()?);
            }
        }
        ids.sort_unstable();
        ids.dedup();
        let mut held = Vec::new();
        for program in loaded_programs() {
            let program = program?;
            if ids.contains(&program.id()) {
                held.push(program.fd()?);
            }
        }
        assert_eq!(held.len(), ids.len());
        assert!(!held.is_empty(), "a tracer has programs");
        Ok(Self { ids, _held: held })
    }

    /// The number of their runs.
    fn runs(&self) -> Result<u64> {
        let mut runs = 0;
        for program in loaded_programs() {
            let program = program?;
            if self.ids.contains(&program.id()) {
                runs += program.run_count();
            }
        }
        Ok(runs)
    }
}

/// The first pod of the second node.
fn far(lab: &Lab) -> &Pod {
    let far = lab.pods.iter().find(|pod| pod.node == 1);
    far.expect("two nodes with pods")
}

/// Follows all traffic of two pods on two nodes during `traffic`, and compares the sums.
fn balanced(
    lab: &Lab,
    args: &[&str],
    traffic: impl FnOnce(&Flow) -> Result<()>,
) -> Result<Finished> {
    // The kernel counts runs only while a descriptor asks for it.
    let _statistics = enable_stats(Stats::RunTime).context("the kernel counts no runs")?;
    let [a, b] = [&lab.pods[0], far(lab)];
    let ends = [a.v4.to_string(), b.v4.to_string()];
    let follow = ["--src-ip", &ends[0], "--dst-ip", &ends[1]];
    let mut tracer = Tracer::follow(lab, follow.iter().chain(args))?;
    tracer.wait_started(LIMIT)?;
    let programs = Programs::of(&tracer)?;
    traffic(&Flow::new(a, b))?;
    let finished = tracer.stop()?;
    let accounting = &finished.summary["accounting"];
    let packets = accounting["packets"].as_object().context("counters")?;
    let passing: u64 = packets.values().filter_map(Value::as_u64).sum();
    let freed: u64 = FREED
        .iter()
        .filter_map(|outcome| accounting["drops"][outcome].as_u64())
        .sum();
    // Before Linux 6.2, the kernel counts runs that the program itself skips, as it is running.
    let missed = accounting["drops"]["missed"]
        .as_u64()
        .context("a counter")?;
    let (counted, runs) = (passing + freed, programs.runs()?);
    assert!(
        counted == runs || counted + missed == runs,
        "{counted} of {runs}: {accounting}"
    );
    assert_eq!(accounting["balances"], true, "{accounting}");
    Ok(finished)
}

#[test]
fn every_run_is_counted_once() -> Result<()> {
    let lab = Lab::new(&LabSpec {
        pods_per_node: 2,
        ..LabSpec::default()
    })?;
    for (args, misses) in [(&[][..], 2400), (&["--xdp"], 2800)] {
        let finished = balanced(&lab, args, |flow| {
            assert!(flow.ping(200, Duration::from_millis(2))?.is_complete());
            assert!(flow.tcp_connects(20)?.is_complete());
            let other = Flow::new(&lab.pods[1], &lab.pods[3]);
            assert!(other.ping(200, Duration::from_millis(2))?.is_complete());
            Ok(())
        })?;
        let packets = &finished.summary["accounting"]["packets"];
        assert!(packets["miss"].as_u64() >= Some(misses), "{packets}");
        assert_eq!(finished.summary["accounting"]["lost"], 0);
    }
    Ok(())
}

/// Somebody else may run a tracer's programs on packets that never existed.
#[test]
fn what_others_run_the_program_on_is_not_counted() -> Result<()> {
    const RUNS: u32 = 1000;
    let lab = Lab::new(&LabSpec::default())?;
    let [a, b] = [&lab.pods[0], far(&lab)];
    // Packets of this device have no Ethernet header, so tracer has other programs for it.
    let device = format!(
        "tuntap add dev l3 mode tun
         link set dev l3 up
         route add {LAYER3}/32 dev l3\n"
    );
    lab.nodes[0].netns.batch("ip -batch -", &device)?;
    let from = a.v4.to_string();
    let to = LAYER3.to_string();
    let args = ["--src-ip", &from, "--dst-ip", &to, "--xdp"];
    let mut tracer = Tracer::follow(&lab, args)?;
    tracer.wait_started(LIMIT)?;
    let echo = ipv4(ICMP, a.v4, LAYER3, &icmp(8, 0, &[0; 4]));
    let frame = ethernet(IPV4, &echo);
    let own = Programs::of(&tracer)?.ids;
    let mut ran = BTreeSet::new();
    for program in loaded_programs() {
        let program = program?;
        let kinds = [ProgramType::SchedClassifier, ProgramType::Xdp].map(Into::into);
        if own.contains(&program.id()) && kinds.contains(&program.program_type()) {
            let name = program.name_as_str().context("a name")?.to_owned();
            let bytes = if name.contains("_l3_") { &echo } else { &frame };
            test_run(&program.fd()?, bytes, RUNS).with_context(|| name.clone())?;
            ran.insert(name);
        }
    }
    let all = [
        "tracer_closer",
        "tracer_egress",
        "tracer_ingress",
        "tracer_l3_in",
        "tracer_l3_out",
        "tracer_xdp",
        // The kernel keeps 15 bytes of a name.
        "tracer_xdp_clos",
    ];
    assert_eq!(ran, all.map(str::to_owned).into());
    assert!(
        Flow::new(a, b)
            .ping(5, Duration::from_millis(2))?
            .is_complete()
    );
    let finished = tracer.stop()?;
    let accounting = &finished.summary["accounting"];
    assert_eq!(accounting["balances"], true, "{accounting}");
    assert_eq!(accounting["malformed"], 0, "{accounting}");
    let packets = accounting["packets"].as_object().context("counters")?;
    let counted: u64 = packets.values().filter_map(Value::as_u64).sum();
    assert!((1..RUNS.into()).contains(&counted), "{accounting}");
    Ok(())
}

/// Makes the kernel run a program on a frame, `repeat` times. The kernel gives the packet the
/// loopback device.
fn test_run(program: &ProgramFd, frame: &[u8], repeat: u32) -> Result<()> {
    /// `BPF_PROG_TEST_RUN`, and its part of `union bpf_attr`.
    const COMMAND: libc::c_int = 10;
    #[repr(C)]
    #[derive(Default)]
    struct Attributes {
        program: u32,
        returned: u32,
        len_in: u32,
        len_out: u32,
        data_in: u64,
        data_out: u64,
        repeat: u32,
        duration: u32,
        context: [u64; 3],
        options: [u32; 4],
    }
    let attributes = Attributes {
        program: program.as_fd().as_raw_fd().cast_unsigned(),
        len_in: u32::try_from(frame.len())?,
        data_in: frame.as_ptr() as u64,
        repeat,
        ..Attributes::default()
    };
    // SAFETY: the attributes, and the frame that they point to, outlive the call.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            COMMAND,
            &raw const attributes,
            size_of::<Attributes>(),
        )
    };
    ensure!(result == 0, io::Error::last_os_error());
    Ok(())
}

#[test]
fn a_ring_buffer_that_is_too_small_loses_events_and_says_so() -> Result<()> {
    let lab = Lab::new(&LabSpec::default())?;
    let finished = balanced(
        &lab,
        &[
            "--ring-size",
            "4KiB",
            "--budget",
            "100000000",
            "--hold",
            "300ms",
        ],
        |flow| {
            assert!(flow.udp_send(20_000, 100)?.is_complete());
            Ok(())
        },
    )?;
    let accounting = &finished.summary["accounting"];
    assert!(
        accounting["packets"]["ring_full"].as_u64() > Some(0),
        "{accounting}"
    );
    assert!(accounting["lost"].as_u64() > Some(0), "{accounting}");
    never_more_than_was_seen(&finished);
    Ok(())
}

#[test]
fn a_budget_that_is_exceeded_leaves_packets_out_and_says_so() -> Result<()> {
    let lab = Lab::new(&LabSpec::default())?;
    let finished = balanced(&lab, &["--budget", "2000", "--hold", "300ms"], |flow| {
        assert!(flow.ping_flood(30_000)?.is_complete());
        Ok(())
    })?;
    let packets = &finished.summary["accounting"]["packets"];
    assert!(packets["rate_limited"].as_u64() > Some(0), "{packets}");
    assert!(packets["sampled_out"].as_u64() > Some(0), "{packets}");
    never_more_than_was_seen(&finished);
    Ok(())
}

/// The points on the way from pod to pod: on each of two nodes veth, bridge, overlay and uplink.
const WAY: usize = 8;

/// Checks that only packets that were seen to arrive are delivered, and that the others are unknown
/// because events were lost. A packet that was seen at all points is delivered, unless the event of
/// its drop may be lost.
fn never_more_than_was_seen(finished: &Finished) {
    let drops = &finished.summary["accounting"]["drops"];
    let lost = ["ring_full", "rate_limited", "missed"];
    let drops_lost = lost.iter().any(|what| drops[what].as_u64() > Some(0));
    let mut unknown = 0;
    for journey in &finished.journeys {
        let verdict = &journey["verdict"];
        let hops = journey["hops"].as_array().expect("hops");
        if verdict["kind"] == "delivered" {
            let last = hops.last().expect("a hop");
            assert_eq!(last["direction"], "egress", "{journey}");
            continue;
        }
        assert_eq!(verdict["kind"], "unknown", "{journey}");
        let rests_on = |kind| evidence(journey, kind).next().is_some();
        let open = verdict["cause"] == "still-open";
        let uneven = rests_on("uneven");
        let unreported = rests_on("drops-lost");
        let blind = uneven || unreported || rests_on("hops-lost");
        assert!(open || blind, "{journey}");
        assert!(drops_lost || !unreported, "{drops} {journey}");
        let all_seen = hops.len() == WAY && !open;
        assert!(!all_seen || uneven || unreported, "{journey}");
        unknown += 1;
    }
    assert!(unknown > 0, "some were lost sight of");
}
