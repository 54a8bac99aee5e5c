//! `tracer follow`: from settings to a session and its view.

use std::{
    collections::{BTreeMap, BTreeSet},
    env, future,
    io::{self, IsTerminal as _, Write},
    net::IpAddr,
    task::Poll,
    thread,
    time::Instant,
};

use ipnet::IpNet;
use tokio::{
    runtime::Runtime,
    signal::unix::{Signal, SignalKind, signal},
    sync::{mpsc, oneshot},
};
use tracer_common::hash::{HASHED_BYTES, Key, payload_hash};
use tracer_core::{
    journal::View,
    journey::Limits,
    model::{OwnerKind, Owners},
    request::{Filter, OUTSIDE, Remote, Request, Start, Watch},
    verdict::Kind,
};

use crate::{
    cli::{self, AgentSpec, End, EndKind, Expected, Failure, Outcome, Settings, Shape, selection},
    collector::{self, Plan, SessionError, Targets, Update},
    expect::{Compared, Expectations},
    export::SAVER,
    link::{self, Place},
    node::{self, Task},
    store::RecordError,
    terminal::{look_of_stderr, look_of_stdout, tell},
    view::{self, Condensed, Json, Live, Progress, Shown, Text},
};

mod live;
#[cfg(test)]
mod tests;

/// Runs a follow to its end.
///
/// # Errors
/// [`Failure`], in one sentence.
pub fn run(settings: &Settings) -> Result<Outcome, Failure> {
    let shape = settings.shape.shape()?;
    let utc = settings.utc;
    let dry_run = settings.dry_run;
    let expect = settings.expect;
    let expectations = &mut Expectations::of(&settings.flows).map_err(Failure::new)?;
    let flows = settings.flows.clone();
    let key = key(settings);
    let plan = plan(settings, utc || shape == Shape::Json, key);
    if dry_run {
        return look(&plan, shape, utc);
    }
    let updates = live::updates(settings, key);
    let runtime = runtime()?;
    let stdout = io::stdout();
    let outcome = runtime.block_on(async {
        match shape {
            Shape::Live => {
                let shown = Shown {
                    live: true,
                    command: same(settings),
                    query: settings.query.clone(),
                    saver: SAVER,
                };
                let (view, left) =
                    Live::start(shown, stdout.lock(), look_of_stdout(utc)).map_err(Failure::new)?;
                session(plan, updates, Compared { view, expectations }, left).await
            }
            Shape::Text if settings.shape.is_condensed() => {
                let begin = Instant::now();
                let clock = |_| i64::try_from(begin.elapsed().as_nanos()).unwrap_or(i64::MAX);
                let look = look_of_stdout(utc);
                let view = Condensed::new(stdout.lock(), look, clock, all(settings));
                lines(plan, updates, Compared { view, expectations }).await
            }
            Shape::Text => {
                let view = Text::new(stdout.lock(), look_of_stdout(utc));
                lines(plan, updates, Compared { view, expectations }).await
            }
            Shape::Json => {
                // In text they stand below the first line.
                plan.warnings.iter().for_each(|warning| tell(warning));
                let view = Json::new(stdout.lock());
                lines(plan, updates, Compared { view, expectations }).await
            }
        }
    })?;
    let matched = match (Outcome::of(outcome.matched), expect) {
        (Outcome::Done, Some(Expected::Delivered)) => all_delivered(&outcome.fates),
        (outcome, _) => outcome,
    };
    match expectations {
        Some(expectations) if matched != Outcome::Unexpected => expectations.outcome(&flows),
        Some(expectations) => expectations.outcome(&flows).map(|_| matched),
        None => Ok(matched),
    }
}

/// The words of a command line that shows the same, but for the output and `--where`: of
/// what is recorded, the recording.
fn same(settings: &Settings) -> Vec<String> {
    let mut words = vec!["tracer".to_owned()];
    if let Some(write) = &settings.write {
        words.push("replay".to_owned());
        words.push(write.path.display().to_string());
        return words;
    }
    let mut given = env::args().skip(1);
    while let Some(word) = given.next() {
        match word.as_str() {
            "-o" | "--output" | "--where" => drop(given.next()),
            word if word.starts_with("-o")
                || word.starts_with("--output=")
                || word.starts_with("--where=") => {}
            _ => words.push(word),
        }
    }
    words
}

/// How one sees all journeys that a terminal was not shown.
fn all(settings: &Settings) -> String {
    match &settings.write {
        Some(write) => format!(
            "`tracer replay {}` shows what was recorded, and --hops all at once.",
            write.path.display()
        ),
        None => {
            "To see all: --hops, a pipe, -o json, or -w FILE and `tracer replay FILE`.".to_owned()
        }
    }
}

/// Compares what became of packets with what was expected, and says what they
/// differ in.
fn all_delivered(fates: &BTreeMap<Kind, u64>) -> Outcome {
    let others = fates.iter().filter(|(kind, _)| **kind != Kind::Delivered);
    let others: Vec<String> = others
        .map(|(kind, packets)| format!("{packets} {}", kind.name()))
        .collect();
    if !others.is_empty() {
        tell(&format!("expected delivered, but: {}", others.join(", ")));
    } else if fates.is_empty() {
        tell("expected delivered, but no packet was seen from its first hop to its last");
    } else {
        return Outcome::Done;
    }
    Outcome::Unexpected
}

/// Records what a follow would show.
///
/// # Errors
/// [`Failure`], in one sentence.
pub fn record(settings: &Settings) -> Result<Outcome, Failure> {
    let look = look_of_stderr(settings.utc);
    let key = key(settings);
    let plan = plan(settings, settings.utc, key);
    let updates = live::updates(settings, key);
    let progress = Progress::new(io::stderr(), look, io::stderr().is_terminal());
    let outcome = runtime()?.block_on(lines(plan, updates, progress))?;
    Ok(Outcome::of(outcome.matched))
}

/// A session whose view is only written to: nobody can leave it.
async fn lines(
    plan: Plan,
    updates: Option<mpsc::Receiver<Update>>,
    view: impl View,
) -> Result<collector::Outcome, Failure> {
    session(plan, updates, view, future::pending()).await
}

async fn session(
    plan: Plan,
    updates: Option<mpsc::Receiver<Update>>,
    mut view: impl View,
    left: impl Future<Output = ()>,
) -> Result<collector::Outcome, Failure> {
    let interrupted = interrupted()?;
    let stop = async {
        tokio::select! {
            () = interrupted => {}
            () = left => {}
        }
    };
    collector::follow(plan, updates, &mut view, &mut tell, stop)
        .await
        .map_err(|error| match error {
            SessionError::View(error) => Failure::from(error),
            // As of any other output, and nothing else can break a pipe here.
            SessionError::Record(RecordError::Write { source, .. })
                if source.kind() == io::ErrorKind::BrokenPipe =>
            {
                Failure::BrokenPipe
            }
            error => Failure::new(error),
        })
}

/// Resolves when somebody wants the program to end.
///
/// Signals have a thread of their own, because the one that writes may be
/// held up by a reader that does not read. Asked a second time, the program
/// ends at once; the kernel then detaches what is attached.
pub(crate) fn interrupted() -> Result<impl Future<Output = ()>, Failure> {
    let (asked, asks) = oneshot::channel();
    let runtime = runtime()?;
    let mut signals = {
        let _context = runtime.enter();
        [
            SignalKind::interrupt(),
            SignalKind::terminate(),
            SignalKind::hangup(),
        ]
        .map(signal)
        .into_iter()
        .collect::<io::Result<Vec<Signal>>>()
        .map_err(Failure::new)?
    };
    let mut asked = Some(asked);
    thread::spawn(move || {
        runtime.block_on(async {
            loop {
                future::poll_fn(|context| {
                    let mut ready = signals.iter_mut().map(|s| s.poll_recv(context).is_ready());
                    if ready.any(|ready| ready) {
                        Poll::Ready(())
                    } else {
                        Poll::Pending
                    }
                })
                .await;
                let Some(asked) = asked.take() else {
                    link::end_all();
                    view::live::give_back();
                    std::process::exit(1);
                };
                // The terminal has echoed ^C; the summary is to begin there.
                if io::stderr().is_terminal() {
                    let _: io::Result<()> = write!(io::stderr(), "\r");
                }
                // A session that is over need not be asked to end.
                let _: Result<(), ()> = asked.send(());
            }
        });
    });
    Ok(async {
        let _: Result<(), _> = asks.await;
    })
}

pub(crate) fn runtime() -> Result<Runtime, Failure> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(format!("cannot start: {error}")))
}

/// Shows where it would attach, and attaches nothing.
fn look(plan: &Plan, shape: Shape, utc: bool) -> Result<Outcome, Failure> {
    let mut nodes = Vec::new();
    for (place, start) in &plan.agents {
        let node = &start.node;
        if let Place::Pod(_) = place {
            tell(&link::about_pod(start));
            continue;
        }
        let netns = place.namespace().ok_or_else(|| {
            Failure::new(format!(
                "--dry-run cannot look into {node} through `{place}`: leave that agent out, or \
                 run the same with {node}=local on that node"
            ))
        })?;
        let start = start.clone();
        let found = node::look(&Task { start, netns })
            .map_err(|error| Failure::new(format!("{node}: {error}")))?;
        nodes.push((node.clone(), found));
    }
    let mut stdout = io::stdout().lock();
    match shape {
        Shape::Json => view::plan_json(&mut stdout, plan, &nodes)?,
        Shape::Live | Shape::Text => {
            view::plan_text(&mut stdout, &look_of_stdout(utc), plan, &nodes)?;
        }
    }
    stdout.flush()?;
    Ok(Outcome::Done)
}

/// Whose packets are followed.
fn targets(settings: &Settings) -> Targets {
    let is_more = !settings.besides.is_empty() || !settings.masqueraded.is_empty();
    let asked = settings.destinations.iter();
    let asked = asked.filter(|end| is_more && (end.is_real() || end.kind == EndKind::Asked));
    Targets {
        pairs: settings.pairs.clone(),
        masqueraded: settings.masqueraded.clone(),
        asked: asked.map(|end| end.network).collect(),
    }
}

/// That of the payloads' hash.
fn key(settings: &Settings) -> Key {
    match &settings.key {
        Some(secret) => secret_key(secret),
        None => Key([crate::random(), crate::random()]),
    }
}

/// What is to be done, with every agent's part.
fn plan(settings: &Settings, utc: bool, key: Key) -> Plan {
    let Targets {
        pairs,
        masqueraded,
        asked,
    } = targets(settings);
    let filter = Filter {
        generation: 1,
        pairs,
        next_hops: Vec::new(),
        neighbours: settings.proto.is_none() && !settings.dns,
    };
    let selection = selection(settings.query.as_ref(), utc, settings.count);
    Plan {
        description: describe(settings),
        sources: settings.sources.iter().map(|end| end.network).collect(),
        source_nodes: settings
            .sources
            .iter()
            .filter(|end| {
                end.address()
                    .is_some_and(|address| is_node(settings, address))
            })
            .filter_map(|end| end.node.clone())
            .collect(),
        asked,
        masqueraded,
        node_addresses: settings.node_addresses.clone(),
        limits: Limits {
            hold: i64::try_from(settings.hold.as_nanos()).unwrap_or(i64::MAX),
            open: open_at_once(settings.snaplen),
        },
        duration: settings.duration,
        // What is not shown does not count; what is recorded is all.
        count: settings.count.filter(|_| selection.is_none()),
        selection,
        agents: settings
            .agents
            .iter()
            .filter(|agent| concerns(settings, agent))
            .map(|agent| start(settings, agent, key, &filter))
            .collect(),
        filter,
        owners: settings.owners.clone(),
        warnings: settings.warnings.clone(),
        write: settings.write.clone(),
    }
}

/// A key that everybody has who knows the secret.
fn secret_key(secret: &str) -> Key {
    let mut bytes = [0; HASHED_BYTES];
    let mut key = Key([0, 0]);
    // The hash takes so many bytes at a time.
    for chunk in secret.as_bytes().chunks(HASHED_BYTES) {
        bytes[..chunk.len()].copy_from_slice(chunk);
        let Key([a, b]) = key;
        key = Key([
            payload_hash(Key([a, b]), &bytes, chunk.len()),
            payload_hash(Key([b, !a]), &bytes, chunk.len()),
        ]);
        bytes = [0; HASHED_BYTES];
    }
    key
}

/// An address that an end stands for.
struct Member<'a> {
    address: IpAddr,
    name: Option<&'a str>,
    /// The node that it is on, where that is known.
    node: Option<&'a str>,
    /// Whether the follow asks for this very address.
    named: bool,
}

/// The addresses of an end by which its packets' way is looked up: its own;
/// of a network those of the pods in it, or, where none is known, one that
/// stands for them all.
fn members<'a>(settings: &'a Settings, end: &'a End) -> Vec<Member<'a>> {
    let one = |address, named| Member {
        address,
        name: end.name.as_deref(),
        node: end.node.as_deref(),
        named,
    };
    if let Some(address) = end.address() {
        // A slice may still have an endpoint that is gone.
        return vec![one(address, end.kind == EndKind::Named)];
    }
    let pods: Vec<Member<'_>> = settings
        .owners
        .all_at(Owners::LATEST)
        .filter(|(address, owner)| owner.kind == OwnerKind::Pod && end.network.contains(address))
        .map(|(address, owner)| Member {
            address,
            name: Some(&owner.name),
            node: Some(&owner.node),
            named: false,
        })
        .collect();
    if pods.is_empty() {
        let any = end.network.hosts().nth(1);
        vec![one(any.unwrap_or_else(|| end.network.addr()), false)]
    } else {
        pods
    }
}

/// Whether a node may see any of the packets.
fn concerns(settings: &Settings, agent: &AgentSpec) -> bool {
    let mut ends = settings.sources.iter().chain(&settings.destinations);
    ends.any(|end| {
        if !end.is_real() {
            return end.node.as_ref() == Some(&agent.node);
        }
        let mut members = members(settings, end).into_iter();
        members.any(|member| member.node.is_none_or(|node| node == agent.node))
    })
}

fn is_node(settings: &Settings, address: IpAddr) -> bool {
    let owner = settings.owners.at(address, Owners::LATEST);
    owner.is_some_and(|owner| owner.kind == OwnerKind::Node)
}

/// The address of any pod on a node.
fn pod_on(settings: &Settings, node: &str, v4: bool) -> Option<IpAddr> {
    let mut owners = settings.owners.all_at(Owners::LATEST);
    let pod = owners.find(|(address, owner)| {
        owner.kind == OwnerKind::Pod && owner.node == node && address.is_ipv4() == v4
    });
    pod.map(|(address, _)| address)
}

fn start(settings: &Settings, agent: &AgentSpec, key: Key, filter: &Filter) -> (Place, Start) {
    let mut request = Request {
        pod_interfaces: settings.pod_interfaces,
        ..Request::default()
    };
    let mut pods = Vec::new();
    let ends = settings.sources.iter().chain(&settings.destinations);
    let ends = ends.filter(|end| end.is_real());
    for member in ends.flat_map(|end| members(settings, end)) {
        let address = member.address;
        match member.node {
            Some(node) if node == agent.node => {
                // A pod of a network may have gone since the objects were
                // listed; one that was named has to be there.
                if member.named {
                    request.pods.push(address);
                } else {
                    request.unplaced.push(address);
                }
                if let Some(name) = member.name {
                    pods.push((address, name.to_owned()));
                }
            }
            Some(node) => {
                let remote = |address| Remote {
                    address,
                    node_addresses: settings
                        .node_addresses
                        .get(node)
                        .cloned()
                        .unwrap_or_default(),
                };
                request.remotes.push(remote(address));
                // What a node itself sends to pods goes the way of its pods' packets.
                if is_node(settings, address) {
                    let pod = pod_on(settings, node, address.is_ipv4());
                    request.remotes.extend(pod.map(remote));
                }
            }
            None => request.unplaced.push(address),
        }
    }
    add_besides(settings, agent, &mut request);
    if settings.dns {
        add_outside(settings, &mut request);
    }
    let others = settings.owners.all_at(Owners::LATEST);
    let others = others.filter(|(address, owner)| {
        owner.kind == OwnerKind::Pod
            && owner.node == agent.node
            && !pods.iter().any(|(known, _)| known == address)
    });
    let start = Start {
        bystanders: others
            .map(|(address, owner)| (address, owner.name.clone()))
            .collect(),
        node: agent.node.clone(),
        watch: Watch::Follow,
        filter: filter.clone(),
        request,
        pods,
        vxlan_ports: settings.vxlan_ports.clone(),
        key,
        ring_size: settings.ring_size,
        budget: settings.budget,
        explain: settings.explain,
        snaplen: settings.snaplen,
        goes_along: settings.live.as_ref().is_some_and(cli::Live::goes_along),
    };
    (agent.place.clone(), start)
}

/// How many journeys may be open at once: fewer where each holds what was captured of it.
fn open_at_once(snaplen: u32) -> usize {
    /// Bytes that open journeys may hold of frames.
    const ROOM: usize = 256 << 20;
    /// Observation points that a packet usually passes.
    const HOPS: usize = 8;
    let usual = Limits::default().open;
    let each = snaplen as usize * HOPS;
    ROOM.checked_div(each).map_or(usual, |most| most.min(usual))
}

/// Lets an agent see where packets to other endpoints leave: those on its node by their own
/// interfaces, others by the way to their node, which one of them stands for.
fn add_besides(settings: &Settings, agent: &AgentSpec, request: &mut Request) {
    let mut ways = BTreeSet::new();
    for end in &settings.besides {
        let (address, node) = (end.network.addr(), end.node.as_ref());
        if node == Some(&agent.node) {
            request.unplaced.push(address);
        } else if ways.insert((node, address.is_ipv4())) {
            let known = node.and_then(|node| settings.node_addresses.get(node));
            request.remotes.push(Remote {
                address,
                node_addresses: known.cloned().unwrap_or_default(),
            });
        }
    }
}

/// Lets an agent see where packets leave that are for nobody in the cluster.
fn add_outside(settings: &Settings, request: &mut Request) {
    let is_used = |address: &IpAddr| {
        let mut ends = settings.sources.iter();
        ends.any(|end| matches!(end.network, IpNet::V4(_)) == address.is_ipv4())
    };
    let outside = OUTSIDE.into_iter().filter(is_used);
    request.remotes.extend(outside.map(|address| Remote {
        address,
        node_addresses: Vec::new(),
    }));
}

fn describe(settings: &Settings) -> String {
    let names = |ends: &[End], service: &Option<String>| {
        if let Some(service) = service {
            return service.clone();
        }
        let named = ends.iter().filter(|end| end.is_real());
        let mut names: Vec<String> = named.map(ToString::to_string).collect();
        names.dedup();
        names.join(", ")
    };
    let [source, destination] = &settings.services;
    let port = |port: Option<u16>| port.map_or_else(String::new, |port| format!(" port {port}"));
    let proto = match settings.proto {
        None if settings.dns => "udp and tcp port 53".to_owned(),
        None => "any protocol".to_owned(),
        Some(number) => tracer_core::model::Proto::Ip(number).to_string(),
    };
    let captured = match settings.snaplen {
        0 => String::new(),
        bytes => format!(", with payload: the first {bytes} bytes of each frame"),
    };
    format!(
        "{}{} → {}{} ({proto}){captured}",
        names(&settings.sources, source),
        port(settings.src_port),
        names(&settings.destinations, destination),
        port(settings.dst_port)
    )
}
