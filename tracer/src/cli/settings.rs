//! Turns arguments into settings: looks up every name and fills in every default, so that later
//! code does not have to interpret arguments.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, IsTerminal as _},
    net::IpAddr,
    path::Path,
    time::Duration,
};

use nix::unistd::{SysconfVar, sysconf};
use tracer_common::config::PORTS;
use tracer_core::{
    journal::Query,
    model::{OwnerKind, Owners, Pair},
    request::Xdp,
};

use super::{
    agents,
    args::{
        ExpectArgs, Expected, FollowArgs, Protocol, RecordArgs, RecordingArgs, Shape, ShapeArgs,
        WatchArgs, watch::XdpMode,
    },
    ends::{End, EndKind, Names, Narrow, Side},
    error::SettingsError,
    load::{self, Objects, Reading},
    targets,
    values::{AgentSpec, EndName},
};
use crate::{
    cluster::{Access, Cluster, Wanted},
    collector::{Masqueraded, Write},
    inventory::Inventory,
    stdio::is_dash,
    store::Rotation,
};

/// Linux's VXLAN port from before the standard, and the port of the standard (RFC 7348).
pub(super) const USUAL_VXLAN_PORTS: [u16; 2] = [8472, 4789];

/// A follow, ready to start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The sources: a network, or all addresses of the named objects. Each has a partner of its
    /// family among the destinations.
    pub sources: Vec<End>,
    /// The destinations, including the virtual addresses by which packets reach them.
    pub destinations: Vec<End>,
    /// Other endpoints to which packets to these virtual addresses may go. The user does not ask
    /// for these endpoints, but after a translation packets appear there.
    pub besides: Vec<End>,
    /// The followed pairs of addresses, on both sides of a translation.
    pub pairs: Vec<Pair>,
    /// Packets that may have a node's address in place of their source's.
    pub masqueraded: Vec<Masqueraded>,
    /// The names of the source and the destination if these are Services, which differ from the
    /// names of their ends.
    pub services: [Option<String>; 2],
    /// Whether the source's DNS is followed, to any server.
    pub dns: bool,
    /// IANA protocol number; `None` for any. The number of ICMP also stands for ICMPv6.
    pub proto: Option<u8>,
    /// Port of the source.
    pub src_port: Option<u16>,
    /// Port of the destination.
    pub dst_port: Option<u16>,
    /// The Services by which packets may come to either side, by namespace and name.
    pub by: Vec<(String, String)>,
    /// How long the follow runs; `None`: no limit.
    pub duration: Option<Duration>,
    /// The number of journeys after which the follow ends; `None`: no limit.
    pub count: Option<u64>,
    /// How long to wait for a packet's next hop.
    pub hold: Duration,
    /// The form of the output, if it was given.
    pub shape: ShapeArgs,
    /// The query that selects the journeys to show.
    pub query: Option<Query>,
    /// Whether to show times in UTC.
    pub utc: bool,
    /// Whether to read facts that may explain a drop.
    pub explain: bool,
    /// The fate that every packet must have.
    pub expect: Option<Expected>,
    /// The expectations on flows.
    pub flows: ExpectArgs,
    /// Whether to attach nothing, and only show where programs would be attached.
    pub dry_run: bool,
    /// Whether to observe the pods' own interfaces.
    pub pod_interfaces: bool,
    /// The interfaces at whose XDP packets are observed, if the user asked for XDP.
    pub xdp: Option<Xdp>,
    /// UDP ports of VXLAN, besides those of the nodes' devices. The requested ports come first.
    pub vxlan_ports: Vec<u16>,
    /// Size of a node's ring buffer, bytes.
    pub ring_size: u32,
    /// The number of bytes that are captured of each frame; 0: none.
    pub snaplen: u32,
    /// Whether to read the names in DNS answers.
    pub dns_names: bool,
    /// Limit of events per second and node.
    pub budget: u32,
    /// The agents of the nodes to observe; never empty.
    pub agents: Vec<AgentSpec>,
    /// The owners of addresses.
    pub owners: Owners,
    /// The addresses of every known node.
    pub node_addresses: BTreeMap<String, Vec<IpAddr>>,
    /// Limits of the answers, one sentence each.
    pub warnings: Vec<String>,
    /// Where to record the follow; `None`: nowhere.
    pub write: Option<Write>,
    /// The secret that recordings must share to be joined.
    pub key: Option<String>,
    /// How to look up the names again; `None` if they are not from the API.
    pub live: Option<Live>,
}

/// How to look up again the names that the API has resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Live {
    /// The cluster.
    pub access: Access,
    args: WatchArgs,
}

impl Live {
    /// The objects to read from the cluster.
    #[must_use]
    pub fn wanted(&self, cluster: &Cluster) -> Vec<Wanted> {
        let names = names(&self.args);
        load::wanted(
            &names,
            &self.args.agents,
            self.args.namespace.as_deref(),
            cluster,
        )
    }

    /// Whether the follow finds a pod that takes the place of another. It does if no end is given
    /// as an address or a network.
    #[must_use]
    pub fn goes_along(&self) -> bool {
        let mut names = names(&self.args).into_iter();
        names.all(|name| !matches!(name, EndName::Network(_)))
    }

    /// Looks up the names again.
    ///
    /// # Errors
    /// See [`Settings::resolve`].
    pub fn resolve(&self, inventory: Inventory) -> Result<Settings, SettingsError> {
        let objects = Objects {
            inventory: Some(inventory),
            warnings: Vec::new(),
        };
        Settings::watch(&self.args, &objects)
    }
}

impl Settings {
    /// Looks up what the arguments name.
    ///
    /// # Errors
    /// If the arguments contradict each other, or name an object that does not exist.
    pub fn resolve(args: &FollowArgs) -> Result<Self, SettingsError> {
        check(&args.watch)?;
        Self::with(args, &objects(&args.watch)?)
    }

    pub(super) fn with(args: &FollowArgs, objects: &Objects) -> Result<Self, SettingsError> {
        let recording = &args.recording;
        if args.dry_run && args.write.is_some() {
            return Err(SettingsError::DryRecording);
        }
        if args.dry_run && args.shape.output == Some(Shape::Pcapng) {
            return Err(SettingsError::DryCapture);
        }
        if args.dry_run && args.flows.expect_file.is_some() {
            return Err(SettingsError::DryExpectations);
        }
        if args.write.as_deref().is_some_and(is_dash) {
            return Err(SettingsError::MixedOutput);
        }
        check_rotation(recording)?;
        Ok(Self {
            shape: args.shape,
            query: args.query.clone(),
            utc: args.times.utc,
            explain: args.explain.is_wanted(),
            expect: args.expect,
            flows: args.flows.clone(),
            dry_run: args.dry_run,
            write: args.write.as_deref().map(|path| write(path, recording)),
            key: key(recording)?,
            ..Self::watch(&args.watch, objects)?
        })
    }

    /// Looks up what a recording's arguments name.
    ///
    /// # Errors
    /// See [`Settings::resolve`].
    pub fn recording(args: &RecordArgs) -> Result<Self, SettingsError> {
        check(&args.watch)?;
        check_rotation(&args.recording)?;
        if args.watch.snaplen.is_some() && args.recording.anonymize {
            return Err(SettingsError::CapturesNothing);
        }
        if is_dash(&args.write) {
            let rotates =
                args.recording.rotate_size.is_some() || args.recording.rotate_time.is_some();
            if rotates {
                return Err(SettingsError::RotatedOutput);
            }
            if io::stdout().is_terminal() {
                return Err(SettingsError::TerminalOutput);
            }
        }
        let objects = objects(&args.watch)?;
        Ok(Self {
            explain: args.explain.is_wanted(),
            utc: args.times.utc,
            write: Some(write(&args.write, &args.recording)),
            key: key(&args.recording)?,
            ..Self::watch(&args.watch, &objects)?
        })
    }

    fn watch(args: &WatchArgs, objects: &Objects) -> Result<Self, SettingsError> {
        let inventory = objects.inventory.as_ref();
        let names = Names {
            namespace: args.namespace.as_deref(),
            inventory,
        };
        let proto = args.proto.number();
        let narrow = [args.src_port, args.dst_port].map(|port| Narrow { port, proto });
        let [from, to] = narrow;
        let source = names.source(args.source.name(), from)?;
        let destination = names.destination(args.destination.name(), to)?;
        let is_outside = |end: &End| inventory.is_some_and(|known| is_outside(end, known));
        let Followed {
            sources,
            destinations,
            besides,
            pairs,
            masqueraded,
        } = Followed::new(&source, &destination, narrow, is_outside)?;
        let agents = agents::resolve(&args.agents, inventory)?;
        let mut warnings = objects.warnings.clone();
        warnings.extend(source.warnings);
        warnings.extend(destination.warnings);
        if let Some(local) = &destination.local {
            warnings.extend(local.warnings(&sources, is_outside));
        }
        let all = sources
            .iter()
            .chain(&destinations)
            .filter(|end| end.is_real());
        let nodes = all.clone().filter_map(|end| end.node.as_ref());
        let pods = args.pods.pods(&args.access);
        let agents = agents::with_pods(agents, nodes, inventory, &pods);
        warnings.extend(agents::unwatched(&agents, inventory, &all)?);

        let mut vxlan_ports: Vec<u16> = Vec::new();
        for port in args.vxlan_ports.iter().chain(&USUAL_VXLAN_PORTS) {
            if !vxlan_ports.contains(port) {
                vxlan_ports.push(*port);
            }
        }
        Ok(Self {
            sources,
            destinations,
            besides,
            pairs,
            masqueraded,
            services: [source.service, destination.service],
            by: [source.by, destination.by].concat(),
            dns: args.destination.dns,
            proto,
            src_port: args.src_port,
            dst_port: args.dst_port,
            duration: args.duration,
            count: args.count,
            hold: args.hold,
            shape: ShapeArgs::default(),
            query: None,
            utc: false,
            explain: false,
            expect: None,
            flows: ExpectArgs::default(),
            dry_run: false,
            pod_interfaces: args.pod_interfaces,
            xdp: args.xdp.as_ref().map(|interfaces| Xdp {
                interfaces: interfaces.clone(),
                generic: args.xdp_mode == XdpMode::Generic,
            }),
            vxlan_ports,
            ring_size: args.ring_size,
            snaplen: args.snaplen.unwrap_or(0),
            dns_names: args.dns_names,
            budget: args.budget,
            agents,
            owners: inventory.map_or_else(Owners::default, Inventory::owners),
            node_addresses: inventory.map_or_else(BTreeMap::new, Inventory::node_addresses),
            warnings,
            write: None,
            key: None,
            live: inventory.is_some_and(Inventory::is_live).then(|| Live {
                access: args.access.access(),
                args: args.clone(),
            }),
        })
    }
}

fn write(path: &Path, args: &RecordingArgs) -> Write {
    Write {
        path: path.to_owned(),
        rotation: Rotation {
            size: args.rotate_size,
            time: args.rotate_time,
            keep: args.rotate_keep,
        },
        anonymize: args.anonymize,
    }
}

/// The secret, from the argument or its file.
fn key(args: &RecordingArgs) -> Result<Option<String>, SettingsError> {
    let Some(path) = &args.key_file else {
        return Ok(args.key.clone());
    };
    let text = fs::read_to_string(path).map_err(|source| SettingsError::KeyFile {
        path: path.clone(),
        source,
    })?;
    let secret = text.trim_end_matches(['\r', '\n']);
    if secret.is_empty() {
        return Err(SettingsError::EmptyKey(path.clone()));
    }
    Ok(Some(secret.to_owned()))
}

/// Without rotation there is only one file, so there is no file to remove.
fn check_rotation(args: &RecordingArgs) -> Result<(), SettingsError> {
    let rotates = args.rotate_size.is_some() || args.rotate_time.is_some();
    if args.rotate_keep.is_some() && !rotates {
        return Err(SettingsError::KeepsOneFile);
    }
    Ok(())
}

/// Finds contradictions between arguments, before the cluster is asked.
pub(super) fn check(args: &WatchArgs) -> Result<(), SettingsError> {
    let has_ports = args.src_port.is_some() || args.dst_port.is_some();
    if args.destination.dns && matches!(args.proto, Protocol::Icmp | Protocol::Sctp) {
        return Err(SettingsError::DnsProto);
    }
    if args.destination.dns && args.dst_port.is_some() {
        return Err(SettingsError::DnsPort);
    }
    if has_ports && args.proto == Protocol::Icmp {
        return Err(SettingsError::IcmpPorts);
    }
    if args.vxlan_ports.len() > PORTS {
        return Err(SettingsError::VxlanPorts(args.vxlan_ports.len()));
    }
    check_ring(args.ring_size)
}

/// Checks that a ring buffer has at least a page.
pub(super) fn check_ring(size: u32) -> Result<(), SettingsError> {
    let page = sysconf(SysconfVar::PAGE_SIZE).ok().flatten();
    match page.and_then(|page| u32::try_from(page).ok()) {
        Some(page) if size < page => Err(SettingsError::RingSize { size, page }),
        _ => Ok(()),
    }
}

/// The cluster's objects that a follow needs.
fn objects(args: &WatchArgs) -> Result<Objects, SettingsError> {
    load::objects(
        args.inventory.as_deref(),
        &args.access,
        args.namespace.as_deref(),
        &args.agents,
        &names(args),
        Reading::Services,
    )
}

fn names(args: &WatchArgs) -> [EndName; 2] {
    [args.source.name(), args.destination.name()]
}

/// The ends of a follow that have a partner of their family, and the pairs between them.
struct Followed {
    sources: Vec<End>,
    destinations: Vec<End>,
    besides: Vec<End>,
    pairs: Vec<Pair>,
    masqueraded: Vec<Masqueraded>,
}

impl Followed {
    /// `is_outside` says whether an end is a node, or outside of the cluster. Nodes may masquerade
    /// the packets of such ends.
    fn new(
        source: &Side,
        destination: &Side,
        narrow: [Narrow; 2],
        is_outside: impl Fn(&End) -> bool,
    ) -> Result<Self, SettingsError> {
        let mut sources = source.ends.clone();
        let is_any_outside = sources.iter().any(&is_outside);
        // Pods use a Service's own addresses, not its node ports.
        let is_used = |end: &&End| is_any_outside || end.kind != EndKind::NodePort;
        let mut destinations: Vec<End> = destination.ends.iter().filter(is_used).cloned().collect();
        let has_partner = |end: &End, others: &[End]| {
            let mut others = others.iter();
            others.any(|other| other.family() == end.family())
        };
        let firsts = [&source.ends, &destination.ends].map(|ends| ends[0].clone());
        sources.retain(|source| has_partner(source, &destinations));
        destinations.retain(|destination| has_partner(destination, &sources));
        if sources.is_empty() {
            let [source_end, destination_end] = &firsts;
            return Err(SettingsError::Families {
                source_end: source_end.to_string(),
                source_family: source_end.family(),
                destination_end: destination_end.to_string(),
                destination_family: destination_end.family(),
            });
        }
        let besides = destination.besides.iter();
        let besides: Vec<End> = besides
            .filter(|end| has_partner(end, &sources))
            .cloned()
            .collect();
        let [from, to] = narrow;
        let all = destinations.iter().chain(&besides);
        let pairs = targets::pairs((&sources, from), (all.clone(), to));
        let pairs = pairs.map_err(|targets::TooMany| SettingsError::TooManyPairs)?;
        if pairs.is_empty() {
            return Err(SettingsError::SameEnds(firsts[0].to_string()));
        }
        let may_be = is_any_outside || destination.is_masqueraded;
        Ok(Self {
            masqueraded: targets::masqueraded(&sources, (all, to), may_be, is_outside),
            sources,
            destinations,
            besides,
            pairs,
        })
    }
}

/// Whether an end is a node, or outside of the cluster: neither a pod nor a network of pods.
fn is_outside(end: &End, inventory: &Inventory) -> bool {
    match end.address() {
        Some(address) => match inventory.owner(address) {
            Some(owner) => owner.kind == OwnerKind::Node,
            None => inventory.home_of_network(end.network).is_none(),
        },
        None => !inventory.has_pods_in(end.network),
    }
}
