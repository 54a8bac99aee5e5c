//! From arguments to settings: every name looked up, every default filled in, so that nothing further on
//! has to ask what was meant.

use std::{
    collections::BTreeMap,
    fmt, fs,
    io::{self, IsTerminal as _},
    net::IpAddr,
    path::Path,
    time::Duration,
};

use ipnet::IpNet;
use nix::unistd::{SysconfVar, sysconf};
use tracer_common::config::PORTS;
use tracer_core::{
    journal::Query,
    model::{OwnerKind, Owners},
};

use super::{
    agents,
    args::{
        ExpectArgs, Expected, FollowArgs, Output, Protocol, RecordArgs, RecordingArgs, WatchArgs,
    },
    error::SettingsError,
    load::{self, Objects},
    values::{AgentSpec, EndName, PodName},
};
use crate::{
    cluster::{Access, Cluster, Wanted},
    collector::Write,
    inventory::{Group, Inventory, Pod},
    link::wire::MAX_PAIRS,
    stdio::is_dash,
    store::Rotation,
};

/// Linux's VXLAN port from before there was a standard, and the standard's (RFC 7348).
pub(super) const USUAL_VXLAN_PORTS: [u16; 2] = [8472, 4789];

/// A follow, ready to start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The source: one network, or all addresses of a pod. Each has a partner of its family among the
    /// destinations.
    pub sources: Vec<End>,
    /// The destination, likewise.
    pub destinations: Vec<End>,
    /// IANA protocol number, that of ICMP also for ICMPv6; `None` for any.
    pub proto: Option<u8>,
    /// Port of the source.
    pub src_port: Option<u16>,
    /// Port of the destination.
    pub dst_port: Option<u16>,
    /// When to end.
    pub duration: Option<Duration>,
    /// How many journeys to end after.
    pub count: Option<u64>,
    /// How long to wait for a packet's next hop.
    pub hold: Duration,
    /// How to show it.
    pub output: Output,
    /// What journeys have to be like that are shown.
    pub query: Option<Query>,
    /// Whether to show times in UTC.
    pub utc: bool,
    /// Whether to read what may explain a drop.
    pub explain: bool,
    /// What has to become of every packet.
    pub expect: Option<Expected>,
    /// What has to become of flows.
    pub flows: ExpectArgs,
    /// Whether to attach nothing and only show where it would.
    pub dry_run: bool,
    /// Whether to observe the pods' own interfaces.
    pub pod_interfaces: bool,
    /// UDP ports of VXLAN, besides those of the nodes' devices, the ones asked for first.
    pub vxlan_ports: Vec<u16>,
    /// Bytes of a node's ring buffer.
    pub ring_size: u32,
    /// Events per second and node.
    pub budget: u32,
    /// The nodes to look at; never empty.
    pub agents: Vec<AgentSpec>,
    /// Who has which address.
    pub owners: Owners,
    /// The addresses of every known node.
    pub node_addresses: BTreeMap<String, Vec<IpAddr>>,
    /// What will limit the answers, one sentence each.
    pub warnings: Vec<String>,
    /// Where to record it.
    pub write: Option<Write>,
    /// The secret that recordings to be joined share.
    pub key: Option<String>,
    /// How to find out again what the names mean; `None` if no cluster was asked.
    pub live: Option<Live>,
}

/// How names that a cluster was asked for can be looked up again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Live {
    /// The cluster.
    pub access: Access,
    args: WatchArgs,
}

impl Live {
    /// What is to be read of the cluster.
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

    /// Whether a pod that takes the place of another is found: each end is named, and not
    /// by an address.
    #[must_use]
    pub fn goes_along(&self) -> bool {
        let mut names = names(&self.args).into_iter();
        names.all(|name| !matches!(name, EndName::Network(_)))
    }

    /// What the names mean by now.
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

/// One address, or network of addresses, of a side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    /// The addresses.
    pub network: IpNet,
    /// The pod's `namespace/name`, where it is one.
    pub name: Option<String>,
    /// The node that it is on, where that is known.
    pub node: Option<String>,
}

impl End {
    /// The address, where it is one and not a network.
    #[must_use]
    pub fn address(&self) -> Option<IpAddr> {
        (self.network.prefix_len() == self.network.max_prefix_len()).then(|| self.network.addr())
    }

    const fn family(&self) -> &'static str {
        match self.network {
            IpNet::V4(_) => "IPv4",
            IpNet::V6(_) => "IPv6",
        }
    }
}

/// The pod's name, else the address or network.
impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.name, self.address()) {
            (Some(name), _) => f.pad(name),
            (None, Some(address)) => f.pad(&address.to_string()),
            (None, None) => f.pad(&self.network.to_string()),
        }
    }
}

impl Settings {
    /// Finds out what the arguments mean.
    ///
    /// # Errors
    /// If they contradict each other, or name what is not there.
    pub fn resolve(args: &FollowArgs) -> Result<Self, SettingsError> {
        check(&args.watch)?;
        Self::with(args, &objects(&args.watch)?)
    }

    pub(super) fn with(args: &FollowArgs, objects: &Objects) -> Result<Self, SettingsError> {
        let recording = &args.recording;
        if args.dry_run && args.write.is_some() {
            return Err(SettingsError::DryRecording);
        }
        if args.write.as_deref().is_some_and(is_dash) {
            return Err(SettingsError::MixedOutput);
        }
        check_rotation(recording)?;
        Ok(Self {
            output: args.output,
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

    /// Finds out what is to be recorded.
    ///
    /// # Errors
    /// See [`Settings::resolve`].
    pub fn recording(args: &RecordArgs) -> Result<Self, SettingsError> {
        check(&args.watch)?;
        check_rotation(&args.recording)?;
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
        let ends = |name| ends(name, args.namespace.as_deref(), inventory);
        let (sources, destinations) =
            paired(ends(args.source.name())?, ends(args.destination.name())?)?;
        let agents = agents::resolve(&args.agents, inventory)?;
        let mut warnings = objects.warnings.clone();
        let all = sources.iter().chain(&destinations);
        let nodes = all.clone().filter_map(|end| end.node.as_ref());
        let pods = args.pods.pods(&args.access);
        let agents = agents::with_pods(agents, nodes, inventory, &pods);
        warnings.extend(agents::unwatched(&agents, inventory, &all)?);
        warnings.extend(sources.iter().chain(&destinations).filter_map(|end| {
            let address = end.address()?;
            let service = inventory?.service(address)?;
            Some(format!(
                "{address} is the virtual address of service {service}, which its packets lose on \
                 the way to a pod: they can be followed to that point only, so name the pod instead"
            ))
        }));

        let mut vxlan_ports: Vec<u16> = Vec::new();
        for port in args.vxlan_ports.iter().chain(&USUAL_VXLAN_PORTS) {
            if !vxlan_ports.contains(port) {
                vxlan_ports.push(*port);
            }
        }
        Ok(Self {
            sources,
            destinations,
            proto: args.proto.number(),
            src_port: args.src_port,
            dst_port: args.dst_port,
            duration: args.duration,
            count: args.count,
            hold: args.hold,
            output: Output::default(),
            query: None,
            utc: false,
            explain: false,
            expect: None,
            flows: ExpectArgs::default(),
            dry_run: false,
            pod_interfaces: args.pod_interfaces,
            vxlan_ports,
            ring_size: args.ring_size,
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

    /// Every source with every destination of its family.
    pub fn pairs(&self) -> impl Iterator<Item = (&End, &End)> {
        pairs(&self.sources, &self.destinations)
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

/// The secret, from wherever it is to be had.
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

/// To keep some of the files means nothing where there is one.
fn check_rotation(args: &RecordingArgs) -> Result<(), SettingsError> {
    let rotates = args.rotate_size.is_some() || args.rotate_time.is_some();
    if args.rotate_keep.is_some() && !rotates {
        return Err(SettingsError::KeepsOneFile);
    }
    Ok(())
}

/// What the arguments say against each other, whatever the cluster is like.
pub(super) fn check(args: &WatchArgs) -> Result<(), SettingsError> {
    let has_ports = args.src_port.is_some() || args.dst_port.is_some();
    if has_ports && args.proto == Protocol::Icmp {
        return Err(SettingsError::IcmpPorts);
    }
    if args.vxlan_ports.len() > PORTS {
        return Err(SettingsError::VxlanPorts(args.vxlan_ports.len()));
    }
    check_ring(args.ring_size)
}

/// A ring buffer has at least a page.
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
    )
}

fn names(args: &WatchArgs) -> [EndName; 2] {
    [args.source.name(), args.destination.name()]
}

/// All addresses of a side.
fn ends(
    name: EndName,
    namespace: Option<&str>,
    inventory: Option<&Inventory>,
) -> Result<Vec<End>, SettingsError> {
    let known = || inventory.expect("objects that were named have been read");
    let namespace = |own: Option<String>| {
        let given = own.or_else(|| namespace.map(str::to_owned));
        given.unwrap_or_else(|| known().namespace().to_owned())
    };
    match name {
        EndName::Pod(PodName {
            namespace: own,
            name,
        }) => {
            let namespace = namespace(own);
            let pod = known().pod(&namespace, &name)?;
            Ok(pod_ends(&format!("{namespace}/{name}"), pod))
        }
        EndName::Group {
            namespace: own,
            pods,
        } => {
            let namespace = namespace(own);
            let pods = known().group(&Group { namespace, pods })?;
            let ends = pods.iter().flat_map(|(name, pod)| pod_ends(name, pod));
            Ok(ends.collect())
        }
        EndName::Node(name) => {
            let end = |address: &IpAddr| End {
                network: (*address).into(),
                name: None,
                node: Some(name.clone()),
            };
            Ok(known().addresses_of_node(&name)?.iter().map(end).collect())
        }
        EndName::Network(network) => {
            let mut end = End {
                network,
                name: None,
                node: None,
            };
            if let Some(inventory) = inventory {
                let owner = end.address().and_then(|address| inventory.owner(address));
                let pod = owner.filter(|owner| owner.kind == OwnerKind::Pod);
                end.name = pod.map(|owner| owner.name.clone());
                let home = match end.address() {
                    Some(address) => inventory.home(address),
                    None => inventory.home_of_network(network),
                };
                end.node = home.map(str::to_owned);
            }
            Ok(vec![end])
        }
    }
}

fn pod_ends(full_name: &str, pod: &Pod) -> Vec<End> {
    let end = |&address: &IpAddr| End {
        network: address.into(),
        name: Some(full_name.to_owned()),
        node: Some(pod.node.clone()).filter(|node| !node.is_empty()),
    };
    pod.addresses.iter().map(end).collect()
}

/// Leaves out what has no partner on the other side.
fn paired(
    mut sources: Vec<End>,
    mut destinations: Vec<End>,
) -> Result<(Vec<End>, Vec<End>), SettingsError> {
    if pairs(&sources, &destinations).next().is_none() {
        let same = |end: &&End| {
            destinations
                .iter()
                .any(|other| other.network == end.network)
        };
        if let Some(end) = sources.iter().find(same) {
            return Err(SettingsError::SameEnds(end.to_string()));
        }
    }
    let partner = |end: &End, others: &[End]| {
        let mut others = others.iter();
        others.any(|other| other.family() == end.family())
    };
    let (first_source, first_destination) = (sources[0].clone(), destinations[0].clone());
    sources.retain(|source| partner(source, &destinations));
    destinations.retain(|destination| partner(destination, &sources));
    if sources.is_empty() {
        return Err(SettingsError::Families {
            source_end: first_source.to_string(),
            source_family: first_source.family(),
            destination_end: first_destination.to_string(),
            destination_family: first_destination.family(),
        });
    }
    let count = pairs(&sources, &destinations).count();
    if count > MAX_PAIRS {
        return Err(SettingsError::TooManyPairs(count));
    }
    Ok((sources, destinations))
}

fn pairs<'a>(
    sources: &'a [End],
    destinations: &'a [End],
) -> impl Iterator<Item = (&'a End, &'a End)> {
    let with_all = move |source: &'a End| {
        let partners = destinations
            .iter()
            .map(move |destination| (source, destination));
        // Of two that are named together, each is a partner of the others.
        partners.filter(|(source, destination)| {
            source.family() == destination.family() && source.network != destination.network
        })
    };
    sources.iter().flat_map(with_all)
}

#[cfg(test)]
mod tests {
    use super::{End, SettingsError, paired};

    #[test]
    fn more_pairs_than_an_agent_can_be_told_are_refused() {
        let ends = |net: u8, count: u16| -> Vec<End> {
            let end = |number: u16| End {
                network: format!("10.{net}.{}.{}/32", number >> 8, number & 255)
                    .parse()
                    .expect("a network"),
                name: None,
                node: None,
            };
            (0..count).map(end).collect()
        };
        assert!(paired(ends(1, 512), ends(2, 512)).is_ok());
        let refused = paired(ends(1, 513), ends(2, 512));
        assert!(matches!(refused, Err(SettingsError::TooManyPairs(262_656))));
    }
}
