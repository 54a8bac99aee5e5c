//! Looks again when the network has changed.
//!
//! A follow outlives pods: when a pod restarts, the agent has to observe its new interface, soon.
//! The kernel tells of changes ([`Changes`]), and a search finds what is there then. Workers get
//! what the search has found, attach to new interfaces, and tell the collector.
//!
//! A search costs time, and on a busy node something changes all the time. Therefore a burst of
//! changes leads to one search, and a pause follows that is many times as long as the search.
//! Without changes, the agent asks once for the programs of others, and then does nothing.
//!
//! The search has its own thread, so that no event waits for it. The thread hands its findings to
//! one worker after the other, because points are numbered in the order in which the workers tell
//! of them.

mod look;
mod missing;

use std::{
    io,
    net::IpAddr,
    os::fd::{AsFd as _, BorrowedFd},
    path::PathBuf,
    sync::{Arc, mpsc},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::eventfd::{EfdFlags, EventFd},
};
use tracing::warn;

use missing::Missing;
use tracer_core::model::{Hello, Network, Point, Role};

use super::{
    NodeError,
    discover::Changes,
    drops,
    source::PodNamespace,
    task::Task,
    worker::{self, Hand},
};
use tracer_core::request::{Look, Request};

/// A search waits until nothing has changed for this long, but not much longer than `MOST`.
const QUIET: Duration = Duration::from_millis(20);
const MOST: Duration = Duration::from_millis(100);

/// The pause after a search, as a multiple of the search's duration, with its limits.
const PAUSE: u32 = 10;
const SHORTEST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_millis(500);

/// The delay after the start, and after a search, before the agent asks what others have attached.
/// Whoever makes an interface attaches programs to it later, and the kernel tells nobody. The agent
/// asks no more often than this.
const OTHERS: Duration = Duration::from_secs(3);

/// A handle to the thread that looks again.
pub(super) struct Scout {
    wake: Arc<EventFd>,
    asks: mpsc::Sender<Ask>,
    thread: JoinHandle<()>,
}

/// A request to the thread.
enum Ask {
    /// Look for other pods from now on.
    Look(Look),
    /// End.
    Stop,
}

/// The workers that take what the search finds.
#[derive(Default)]
pub(super) struct Workers {
    /// The worker of the node's own namespace, in a follow.
    pub(super) host: Option<Hand>,
    /// The workers of the pods' own interfaces.
    pub(super) pods: Vec<PodWorker>,
    /// The worker for drops, and the namespaces that it watches.
    pub(super) drops: Option<(Hand, Vec<PodNamespace>)>,
}

/// The worker of a pod's own interface.
pub(super) struct PodWorker {
    pub(super) hand: Hand,
    /// The pod's name.
    pub(super) name: String,
    /// The file and the inode number of the namespace that the worker is in.
    pub(super) place: Option<(PathBuf, u32)>,
}

/// Looks again whenever the network changes. If the kernel does not tell of changes, the agent says
/// so in its `hello`.
pub(super) fn look_again(
    start: &Task,
    changes: io::Result<Changes>,
    hello: &mut Hello,
    tunnel_ports: &[u16],
    workers: Workers,
) -> Option<Scout> {
    let unheard = |source| NodeError::System {
        what: "subscribe to network changes",
        source,
    };
    let scout = changes
        .map_err(unheard)
        .and_then(|changes| Scout::start(changes, start, hello, tunnel_ports, workers));
    match scout {
        Ok(scout) => Some(scout),
        Err(error) => {
            hello.notes.push(format!(
                "tracer cannot notice network changes, so it will not observe restarted pods: {error}"
            ));
            None
        }
    }
}

impl Scout {
    /// Starts the thread, for an agent that has sent `hello`.
    fn start(
        changes: Changes,
        start: &Task,
        hello: &Hello,
        tunnel_ports: &[u16],
        workers: Workers,
    ) -> Result<Self, NodeError> {
        let system = |what| move |source| NodeError::System { what, source };
        let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
        let wake = EventFd::from_flags(flags)
            .map(Arc::new)
            .map_err(io::Error::from)
            .map_err(system("make an event descriptor"))?;
        let (asks, inbox) = mpsc::channel();
        let mut search = Search {
            request: later_request(&start.request, &hello.points),
            home: home(start),
            points: hello.points.len(),
            local: hello.local.clone(),
            next_hops: hello.next_hops.clone(),
            network: hello.network.clone(),
            followed: start.pods.clone(),
            bystanders: start.bystanders.clone(),
            devices: drops::devices(&hello.points),
            tunnel_ports: tunnel_ports.to_vec(),
            said: Vec::new(),
            missing: Missing::new(&[], &[]),
            start: start.clone(),
            workers,
            changes,
            wake: Arc::clone(&wake),
            inbox,
            asked: None,
            others: Some(Instant::now() + OTHERS),
        };
        search.recall();
        search.missing = Missing::new(&search.followed, &hello.points);
        let run = move || {
            if let Err(error) = search.run() {
                let note = format!("changes of the network are not noticed any more: {error}");
                // If nobody takes the note, the thread ends anyway.
                let _: Result<(), Stopped> = search.say(note);
            }
        };
        let thread = thread::Builder::new()
            .name("scout".to_owned())
            .spawn(run)
            .map_err(system("start a thread"))?;
        Ok(Self { wake, asks, thread })
    }

    /// Tells the thread to end.
    pub(super) fn stop(&self) {
        self.tell(Ask::Stop);
    }

    /// Tells the thread to look for other addresses.
    pub(super) fn ask(&self, look: Look) {
        self.tell(Ask::Look(look));
    }

    fn tell(&self, ask: Ask) {
        // A thread that has ended does not need the request.
        let _: Result<(), _> = self.asks.send(ask);
        let _: Result<usize, _> = self.wake.write(1);
    }

    /// Waits for the end of the thread.
    pub(super) fn join(self) {
        self.stop();
        if self.thread.join().is_err() {
            warn!("the thread that looks for changes panicked");
        }
    }
}

/// The request of later searches. An address that turned out to be a pod's remains a pod's while
/// the pod is gone.
fn later_request(request: &Request, points: &[Point]) -> Request {
    let mut later = request.clone();
    let is_pod = |address: &_| {
        let mut veths = points.iter().filter(|point| point.role == Role::Veth);
        veths.any(|point| point.addresses.contains(address))
    };
    let (pods, unplaced) = later.unplaced.into_iter().partition(is_pod);
    later.unplaced = unplaced;
    later.pods.extend::<Vec<_>>(pods);
    later
}

/// The file of the node's own namespace.
fn home(start: &Task) -> PathBuf {
    // The process's first thread never changes its namespace.
    let own = || PathBuf::from(format!("/proc/{}/ns/net", std::process::id()));
    start.netns.clone().unwrap_or_else(own)
}

/// The thread is to end.
struct Stopped;

struct Search {
    start: Task,
    request: Request,
    /// The node's own namespace.
    home: PathBuf,
    /// The number of points that the agent has told of.
    points: usize,
    /// The other facts that the agent has told.
    local: Vec<IpAddr>,
    next_hops: Vec<IpAddr>,
    network: Network,
    /// The followed pods, whose drops are watched, and the other pods of the node whose namespaces
    /// were found at the start.
    followed: Vec<(IpAddr, String)>,
    bystanders: Vec<(IpAddr, String)>,
    /// The node's observed interfaces, by index and name.
    devices: Vec<(u32, Arc<str>)>,
    /// The UDP ports of tunnels that the programs know.
    tunnel_ports: Vec<u16>,
    /// The notes that were told.
    said: Vec<String>,
    /// The followed pods that are gone.
    missing: Missing,
    workers: Workers,
    changes: Changes,
    wake: Arc<EventFd>,
    inbox: mpsc::Receiver<Ask>,
    /// A request to look for other pods that waits for its turn.
    asked: Option<Look>,
    /// The time to ask what others have attached.
    others: Option<Instant>,
}

impl Search {
    /// Adds the followed pods that have no name, and forgets other pods that were never found.
    fn recall(&mut self) {
        let known = |address: &IpAddr| self.followed.iter().any(|(other, _)| other == address);
        let unplaced = self.request.pods.iter().filter(|address| !known(address));
        let unplaced: Vec<_> = unplaced.map(|one| (*one, one.to_string())).collect();
        self.followed.extend(unplaced);
        // The follow does not ask for these pods, so later searches skip those that were not found.
        let namespaces = self.workers.drops.iter().flat_map(|(_, found)| found);
        let found: Vec<Arc<str>> = namespaces.map(|pod| Arc::clone(&pod.name)).collect();
        self.bystanders
            .retain(|(_, name)| found.iter().any(|one| **one == **name));
    }

    fn run(&mut self) -> Result<(), NodeError> {
        if let Some(netns) = &self.start.netns {
            worker::enter(netns)?;
        }
        let mut not_before = Instant::now();
        loop {
            let now = Instant::now();
            let others = self.others.map(|at| at.saturating_duration_since(now));
            let due = self.missing.due(now).into_iter().chain(others).min();
            // A request may have come while the last changes settled.
            let due = if self.asked.is_some() {
                Some(Duration::ZERO)
            } else {
                due
            };
            let Ok(any) = self.wait(due) else {
                return Ok(());
            };
            if self.others.is_some_and(|at| at <= Instant::now()) {
                self.others = None;
                if self.ask_for_others().is_err() {
                    return Ok(());
                }
            }
            if let Some(look) = self.asked.take() {
                self.look_for(look);
                if self.look().is_err() {
                    return Ok(());
                }
                continue;
            }
            if !any && self.tell_missing().is_err() {
                return Ok(());
            }
            if !self.heard()? {
                continue;
            }
            if self.settle(not_before).is_err() {
                return Ok(());
            }
            // The search sees the changes up to now.
            self.heard()?;
            let begun = Instant::now();
            if self.look().is_err() {
                return Ok(());
            }
            let pause = begun.elapsed() * PAUSE;
            not_before = Instant::now() + pause.clamp(SHORTEST, LONGEST);
        }
    }

    /// Looks for other pods from now on. An address that was a pod's here remains a pod's.
    fn look_for(&mut self, look: Look) {
        let Look { mut request, pods } = look;
        let known = &self.request.pods;
        let (here, unplaced): (Vec<_>, Vec<_>) = request
            .unplaced
            .into_iter()
            .partition(|address| known.contains(address));
        request.unplaced = unplaced;
        request.pods.extend(here);
        self.start.start.request = request.clone();
        self.start.start.pods.clone_from(&pods);
        self.changes.listen_for(self.start.every_pod());
        self.request = request;
        self.followed = pods;
        self.recall();
        self.missing = Missing::new(&self.followed, &[]);
    }

    /// Tells of the pods that have not come back.
    fn tell_missing(&mut self) -> Result<(), Stopped> {
        let told = self.missing.tell(Instant::now(), &self.start);
        told.into_iter().try_for_each(|note| self.say_again(note))
    }

    /// Reads the kernel's messages, and returns whether one of them may matter.
    fn heard(&mut self) -> Result<bool, NodeError> {
        self.changes.read().map_err(|source| NodeError::System {
            what: "subscribe to network changes",
            source,
        })
    }

    /// Waits until nothing changes any more, or changes have come for long enough, and until the
    /// pause is over.
    fn settle(&mut self, not_before: Instant) -> Result<(), Stopped> {
        let begun = Instant::now();
        while begun.elapsed() < MOST && self.wait(Some(QUIET))? {
            let _: io::Result<bool> = self.changes.read();
        }
        loop {
            let left = not_before.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            wait_for(&[self.wake.as_fd()], Some(left));
            self.check()?;
        }
    }

    /// Waits until a message or a request comes, and returns whether one has.
    fn wait(&mut self, limit: Option<Duration>) -> Result<bool, Stopped> {
        let wake = [self.wake.as_fd()];
        let all: Vec<_> = wake.into_iter().chain(self.changes.readiness()).collect();
        let heard = wait_for(&all, limit);
        self.check()?;
        Ok(heard)
    }

    /// Takes the requests.
    fn check(&mut self) -> Result<(), Stopped> {
        // Without a request, this read fails.
        let _: Result<u64, _> = self.wake.read();
        loop {
            match self.inbox.try_recv() {
                Ok(Ask::Look(look)) => self.asked = Some(look),
                Ok(Ask::Stop) | Err(mpsc::TryRecvError::Disconnected) => return Err(Stopped),
                Err(mpsc::TryRecvError::Empty) => return Ok(()),
            }
        }
    }
}

/// Waits until one of the descriptors is readable, and returns whether one is.
fn wait_for(descriptors: &[BorrowedFd<'_>], limit: Option<Duration>) -> bool {
    // The timeout is rounded up: if it was too short, the caller would spin.
    let timeout = limit.map_or(PollTimeout::NONE, |limit| {
        PollTimeout::try_from(limit + Duration::from_millis(1)).unwrap_or(PollTimeout::MAX)
    });
    let mut all: Vec<_> = descriptors
        .iter()
        .map(|descriptor| PollFd::new(*descriptor, PollFlags::POLLIN))
        .collect();
    // After an interruption, the caller waits again.
    poll(&mut all, timeout).is_ok_and(|ready| ready > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracer_core::model::Direction;

    #[test]
    fn an_address_that_was_a_pods_stays_one() {
        let [pod, remote] = [[10, 1, 0, 5], [10, 2, 0, 7]].map(IpAddr::from);
        let request = Request {
            unplaced: vec![pod, remote],
            ..Request::default()
        };
        let veth = Point {
            netns: "host".to_owned(),
            interface: "veth0".to_owned(),
            ifindex: 7,
            direction: Direction::Egress,
            hook: "tcx".into(),
            role: Role::Veth,
            kind: "veth".to_owned(),
            addresses: vec![pod],
            why: String::new(),
            foreign: Vec::new(),
            since: 0,
            until: None,
        };
        let later = later_request(&request, &[veth]);
        assert_eq!((later.pods, later.unplaced), (vec![pod], vec![remote]));
    }

    #[test]
    fn a_descriptor_that_says_nothing_is_waited_for() {
        let event = EventFd::from_flags(EfdFlags::EFD_NONBLOCK).expect("a descriptor");
        let moment = Some(Duration::from_millis(1));
        assert!(!wait_for(&[event.as_fd()], moment));
        event.write(1).expect("room for one");
        assert!(wait_for(&[event.as_fd()], None));
    }
}
