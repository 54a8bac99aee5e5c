//! Reads the cluster's objects, and shows progress to a user who waits.

use std::{
    io::{self, IsTerminal as _, Write},
    path::Path,
    time::{Duration, Instant},
};

use tokio::runtime;

use super::{
    args::AccessArgs,
    error::SettingsError,
    values::{AgentSpec, EndName},
};
use crate::{
    cluster::{Cluster, Leading, Wanted},
    inventory::{Group, Inventory, Progress},
    stdio,
    terminal::clean,
};

/// The time before the first progress message, and between messages.
const PATIENCE: Duration = Duration::from_millis(500);
const EVERY: Duration = Duration::from_millis(100);

/// The known objects of a cluster.
#[derive(Debug, Default)]
pub(super) struct Objects {
    /// The objects; `None` if the command uses no cluster.
    pub(super) inventory: Option<Inventory>,
    /// Notes on the objects for the user, one sentence each.
    pub(super) warnings: Vec<String>,
}

/// What is read from a cluster, besides what is named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reading {
    /// The Services that lead to named pods.
    Services,
    /// Nothing.
    Pods,
    /// All nodes.
    AllNodes,
}

/// Reads the file, if there is one. Otherwise reads the named objects from the API, if a name is an
/// object or if `access` names a cluster.
pub(super) fn objects(
    file: Option<&Path>,
    access: &AccessArgs,
    namespace: Option<&str>,
    agents: &[AgentSpec],
    names: &[EndName],
    reading: Reading,
) -> Result<Objects, SettingsError> {
    if let Some(path) = file {
        let inventory = inventory(path)?;
        return Ok(Objects {
            warnings: inventory.warning().into_iter().collect(),
            inventory: Some(inventory),
        });
    }
    let is_object = |name: &EndName| !matches!(name, EndName::Network(_) | EndName::Dns);
    let all_nodes = reading == Reading::AllNodes;
    if !access.is_given() && !all_nodes && !names.iter().any(is_object) {
        return Ok(Objects::default());
    }
    let (inventory, warnings) = runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(SettingsError::Runtime)?
        .block_on(async {
            let cluster = access.access().connect().await?;
            let mut wanted = wanted(names, agents, namespace, &cluster);
            wanted.extend(all_nodes.then_some(Wanted::AllNodes));
            let leading = match reading {
                Reading::Services => Leading::Services,
                Reading::Pods | Reading::AllNodes => Leading::Nothing,
            };
            cluster.read(&wanted, leading).await
        })?;
    Ok(Objects {
        inventory: Some(inventory),
        warnings,
    })
}

/// The objects to read for ends and agents.
pub(super) fn wanted(
    names: &[EndName],
    agents: &[AgentSpec],
    namespace: Option<&str>,
    cluster: &Cluster,
) -> Vec<Wanted> {
    let namespace = namespace.unwrap_or(&cluster.namespace);
    let ends = names.iter().filter_map(|name| wanted_by(name, namespace));
    let nodes = agents.iter().map(|agent| Wanted::Node(agent.node.clone()));
    ends.chain(nodes).collect()
}

/// The objects to read for an end.
fn wanted_by(name: &EndName, namespace: &str) -> Option<Wanted> {
    let or_default = |own: &Option<String>| own.clone().unwrap_or_else(|| namespace.to_owned());
    Some(match name {
        EndName::Pod(pod) => Wanted::Pod {
            namespace: or_default(&pod.namespace),
            name: pod.name.clone(),
        },
        EndName::Group { namespace, pods } => Wanted::Group(Group {
            namespace: or_default(namespace),
            pods: pods.clone(),
        }),
        EndName::Service(service) => Wanted::Service {
            namespace: or_default(&service.namespace),
            name: service.name.clone(),
        },
        EndName::Node(name) => Wanted::Node(name.clone()),
        EndName::Dns => Wanted::Dns,
        EndName::Network(network) => {
            let is_one = network.prefix_len() == network.max_prefix_len();
            return is_one.then(|| Wanted::Address(network.addr()));
        }
    })
}

fn inventory(path: &Path) -> Result<Inventory, SettingsError> {
    if !io::stderr().is_terminal() {
        return Ok(Inventory::load(path, |_| {})?);
    }
    let mut waiting = Waiting::new(io::stderr(), &stdio::input(path), Instant::now());
    let loaded = Inventory::load(path, |progress| waiting.hear(progress, Instant::now()));
    waiting.end();
    Ok(loaded?)
}

/// Shows the progress on one line of a terminal.
struct Waiting<W: Write> {
    out: W,
    name: String,
    next: Instant,
    said: bool,
}

impl<W: Write> Waiting<W> {
    fn new(out: W, name: &str, now: Instant) -> Self {
        Self {
            out,
            name: clean(name),
            next: now + PATIENCE,
            said: false,
        }
    }

    fn hear(&mut self, Progress { bytes, of }: Progress, now: Instant) {
        if now < self.next {
            return;
        }
        self.next = now + EVERY;
        self.said = true;
        let (name, read) = (&self.name, bytes >> 20);
        let of = of.map_or_else(String::new, |of| format!(" of {}", of >> 20));
        // A closed stderr is no error: the progress is only a courtesy.
        let _: io::Result<()> = write!(self.out, "\rtracer: reading {name}: {read}{of} MiB");
        let _: io::Result<()> = self.out.flush();
    }

    /// Clears the line.
    fn end(&mut self) {
        if self.said {
            let _: io::Result<()> = write!(self.out, "\r\u{1b}[K");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Duration, Instant, Progress, Waiting};

    #[test]
    fn only_a_slow_read_shows_progress() {
        let begin = Instant::now();
        let mut waiting = Waiting::new(Vec::new(), "a\u{1b}.yaml", begin);
        let mut at = |ms, bytes, of| {
            waiting.hear(Progress { bytes, of }, begin + Duration::from_millis(ms));
        };
        at(0, 1 << 20, Some(300 << 20));
        at(499, 2 << 20, Some(300 << 20));
        at(500, 30 << 20, Some(300 << 20));
        at(550, 31 << 20, Some(300 << 20));
        at(600, 32 << 20, None);
        waiting.end();
        assert_eq!(
            String::from_utf8(waiting.out).expect("text"),
            "\rtracer: reading a\u{fffd}.yaml: 30 of 300 MiB\
             \rtracer: reading a\u{fffd}.yaml: 32 MiB\
             \r\u{1b}[K"
        );
        let mut quick = Waiting::new(Vec::new(), "a.yaml", begin);
        quick.hear(Progress { bytes: 9, of: None }, begin);
        quick.end();
        assert_eq!(quick.out, b"");
    }
}
