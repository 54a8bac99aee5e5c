//! A cluster's network without a cluster. Nodes and pods are network namespaces of this kernel,
//! wired as Flannel or Calico does it, with one of their tunnels or without.
//!
//! Tests that always run on the same network soon depend on that network. Therefore all names,
//! addresses and numbers come from a seed. The lab prints the seed, and `TRACER_LAB_SEED` repeats
//! it. Labs do not see each other, so any number of them may exist at once, in one process or many.
//! Dropping a lab takes it down, also after a panic. If its process is killed, the next lab removes
//! the remains.
//!
//! A lab needs root, iproute2 and ping (iputils).

mod claim;
mod devices;
pub mod ipsec;
mod kind;
mod netkit;
mod node;
mod objects;
mod outside;
mod plan;
mod restart;
mod service;
mod uplinks;
mod warm;
mod wiring;

use std::path::PathBuf;
use std::{env, fs};

use anyhow::{Context, Result, bail, ensure};
use nix::unistd::geteuid;

use crate::machines::Machine;
use crate::netns::Netns;
use crate::program;
use crate::rng::Rng;
use claim::Claim;
pub use claim::sweep;
pub use devices::{NOT_HERE, Release, is_before, not_here};
pub use kind::{Tunnel, Wiring};
pub use netkit::Pairs;
pub use node::{Node, Pod};
pub use outside::Outside;
use plan::Plan;
pub use service::{External, Proxy, Service, ServicePort, Translated, conntrack};
pub use uplinks::Uplinks;

/// The environment variable that repeats a lab.
pub const SEED_VARIABLE: &str = "TRACER_LAB_SEED";

/// The environment variable that says how agents are reached. `exec`: each by a separate command.
/// `apart`: likewise, and as if each node had its own kernel. Unset: within `tracer` itself.
pub const AGENTS_VARIABLE: &str = "TRACER_LAB_AGENTS";

/// The environment variable that says that this is a virtual machine whose kernel was chosen for a
/// test. The kernel supports what the test needs, or the test fails. The machine may be many times
/// slower than others.
pub const MACHINE_VARIABLE: &str = "TRACER_LAB_MACHINE";

/// The names of interfaces.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Names {
    /// The names that Flannel gives: `cni0`, `flannel.1`, `eth0`, `veth1a2b3c4d`; or Calico:
    /// `tunl0`, `eth0`, `cali1a2b3c4d5e6`.
    #[default]
    Realistic,
    /// Names that mean something else, or nothing. A program that relies on names is wrong then.
    Odd,
}

/// The kind of lab to make.
#[derive(Clone, Debug)]
pub struct LabSpec {
    /// The number of nodes, 1 to 200.
    pub nodes: usize,
    /// The number of pods on each node, up to 200.
    pub pods_per_node: usize,
    /// Decides everything else; `None` takes `TRACER_LAB_SEED` or a new one.
    pub seed: Option<u64>,
    /// The network plugin that the lab imitates.
    pub wiring: Wiring,
    /// How nodes are joined to each other.
    pub uplinks: Uplinks,
    /// The MTU between the nodes, in bytes; `None` lets the seed decide.
    pub mtu: Option<u32>,
    /// The kind of device that joins a pod to its node.
    pub pairs: Pairs,
    /// The names of interfaces.
    pub names: Names,
    /// Whether every pod has heard from every other one before the lab is ready. Then the first
    /// packet of a test does not wait for ARP.
    pub warm: bool,
    /// Whether a pod's own broadcasts come back to it, as with the hairpin mode of Flannel's CNI
    /// configuration.
    pub hairpin: bool,
}

impl Default for LabSpec {
    fn default() -> Self {
        Self {
            nodes: 2,
            pods_per_node: 1,
            seed: None,
            wiring: Wiring::Flannel,
            uplinks: Uplinks::One,
            mtu: None,
            pairs: Pairs::Veth,
            names: Names::Realistic,
            warm: true,
            hairpin: false,
        }
    }
}

impl LabSpec {
    fn seed(&self) -> Result<u64> {
        Ok(match self.seed {
            Some(seed) => seed,
            None => seed_from_environment()?.unwrap_or_else(Rng::fresh_seed),
        })
    }

    fn check(&self) -> Result<()> {
        let Self {
            nodes,
            pods_per_node,
            ..
        } = self;
        ensure!(
            (1..=200).contains(nodes),
            "a lab has 1 to 200 nodes, not {nodes}"
        );
        ensure!(
            (0..=200).contains(pods_per_node),
            "a node has up to 200 pods, not {pods_per_node}"
        );
        ensure!(
            self.wiring != Wiring::IpInV6 || *nodes == 2,
            "its tunnel joins two nodes, not {nodes}"
        );
        ensure!(geteuid().is_root(), "a lab needs root: run this with sudo");
        if let Some(kind) = self.uplinks.missing()?.or(self.wiring.missing()?) {
            bail!("this kernel has no {kind}: run this with `cargo xtask kernels`");
        }
        Ok(())
    }
}

/// A running lab; dropping it takes it down.
#[derive(Debug)]
pub struct Lab {
    /// The lab's nodes.
    pub nodes: Vec<Node>,
    /// The lab's pods: those of the first node first.
    pub pods: Vec<Pod>,
    /// The lab's Services, in the order in which they were added.
    pub services: Vec<Service>,
    /// The box between the nodes: a bridge called `wire` that no agent watches.
    pub middle: Netns,
    /// The network plugin that the lab imitates.
    pub wiring: Wiring,
    /// How nodes are joined to each other.
    pub uplinks: Uplinks,
    /// The VXLAN network identifier.
    pub vni: u32,
    /// The VLAN of the nodes, if they have one.
    pub vlan: u16,
    /// The UDP port of VXLAN.
    pub port: u16,
    /// The MTU between the nodes, in bytes.
    pub mtu: u32,
    /// The MTU of pods, bridges and tunnel devices, in bytes.
    pub pod_mtu: u32,
    hairpin: bool,
    pairs: Pairs,
    seed: u64,
    claim: Claim,
}

impl Lab {
    /// Removes abandoned labs, then makes a new one.
    ///
    /// # Errors
    /// If this process is not root, if a program or a kernel feature is missing, or if the pods
    /// cannot reach each other. The unfinished lab is taken down again.
    pub fn new(spec: &LabSpec) -> Result<Self> {
        spec.check()?;
        let seed = spec.seed()?;
        sweep();
        eprintln!("lab seed {seed:#018x} ({SEED_VARIABLE}={seed:#x} repeats it)");
        let claim = Claim::new(seed)?;
        let plan = Plan::new(spec, seed, claim.prefix());
        let lab = Self::planned(spec, seed, plan, claim);
        let wired = wiring::wire(&lab).and_then(|()| uplinks::settle(&lab));
        wired.with_context(|| format!("no lab with seed {seed:#x}"))?;
        if spec.warm {
            lab.ready()
                .with_context(|| format!("no lab with seed {seed:#x}"))?;
        }
        Ok(lab)
    }

    /// A lab whose nodes are machines, each of which makes its own node. The programs of the lab's
    /// nodes and pods run in the machines.
    ///
    /// # Errors
    /// If a machine cannot make its node, or plays a node of another lab already.
    pub fn on_machines(spec: &LabSpec, machines: &[Machine]) -> Result<Self> {
        ensure!(spec.nodes == machines.len(), "each node is a machine");
        let seed = spec.seed()?;
        eprintln!("lab seed {seed:#018x} ({SEED_VARIABLE}={seed:#x} repeats it)");
        let mut plan = Plan::new(spec, seed, "");
        let (wiring, pods) = (format!("{:?}", spec.wiring), spec.pods_per_node.to_string());
        for (index, (node, machine)) in plan.nodes.iter_mut().zip(machines).enumerate() {
            node.netns = node.netns.clone().on(machine);
            let (index, seed) = (index.to_string(), seed.to_string());
            machine.ask(&["lab", &index, &seed, &wiring, &pods])?;
        }
        for pod in &mut plan.pods {
            pod.netns = pod.netns.clone().on(&machines[pod.node]);
        }
        let lab = Self::planned(spec, seed, plan, Claim::new(seed)?);
        if spec.warm {
            warm::reach_other_machines(&lab)
                .with_context(|| format!("no lab with seed {seed:#x}"))?;
        }
        Ok(lab)
    }

    /// Makes this machine itself the node with this index, with its network card as the uplink. The
    /// other nodes are other machines.
    ///
    /// # Errors
    /// As [`Lab::new`].
    /// As [`Lab::new`].
    pub fn in_this_machine(spec: &LabSpec, index: usize) -> Result<Self> {
        spec.check()?;
        let seed = spec.seed()?;
        // The machine has one lab, so its names need no unique prefix, and the tests outside must
        // know them.
        let plan = Plan::new(spec, seed, "");
        let lab = Self::planned(spec, seed, plan, Claim::new(seed)?);
        wiring::wire_one(&lab, index)?;
        Ok(lab)
    }

    fn planned(spec: &LabSpec, seed: u64, plan: Plan, claim: Claim) -> Self {
        let Plan {
            nodes,
            pods,
            middle,
            vni,
            vlan,
            port,
            mtu,
            pod_mtu,
        } = plan;
        Self {
            nodes,
            pods,
            services: Vec::new(),
            middle,
            wiring: spec.wiring,
            uplinks: spec.uplinks,
            vni,
            vlan,
            port,
            mtu,
            pod_mtu,
            hairpin: spec.hairpin,
            pairs: spec.pairs,
            seed,
            claim,
        }
    }

    /// The seed of all names, addresses and numbers.
    #[must_use]
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Whether the lab's nodes are separate machines.
    #[must_use]
    pub fn is_on_machines(&self) -> bool {
        self.nodes.iter().all(|node| node.netns.machine.is_some())
    }

    /// The node that `pod` runs on.
    #[must_use]
    pub fn node_of(&self, pod: &Pod) -> &Node {
        &self.nodes[pod.node]
    }

    /// The tunnel between two nodes. If subnets matter, every second node is in the same subnet.
    #[must_use]
    pub fn tunnel(&self, a: &Node, b: &Node) -> Option<Tunnel> {
        let index = |node: &Node| self.nodes.iter().position(|one| one.name == node.name);
        let subnet = |node: &Node| index(node).map(|index| index % 2);
        let direct = self.wiring.is_cross_subnet() && subnet(a) == subnet(b);
        self.wiring.tunnel().filter(|_| !direct)
    }

    /// The next hop of a route from a node to the pods of another, as iproute2 takes it after the
    /// destination.
    #[must_use]
    pub fn next_hop(&self, from: &Node, to: &Node, v6: bool) -> String {
        wiring::tunnel::next_hop(self, from, to, v6)
    }

    /// The destination MAC address of a pod's packets to a pod of another node. With ipvlan, it is
    /// unknown.
    #[must_use]
    pub fn next_mac<'a>(&'a self, from: &Pod, to: &'a Pod) -> &'a str {
        if self.wiring.shares_uplink() {
            &to.mac
        } else if self.wiring.has_bridge() {
            &self.node_of(from).bridge_mac
        } else {
            wiring::calico::HOST_MAC
        }
    }

    /// The pods that run on `node`.
    pub fn pods_on<'a>(&'a self, node: &'a Node) -> impl Iterator<Item = &'a Pod> {
        self.pods
            .iter()
            .filter(|pod| self.nodes[pod.node].name == node.name)
    }

    /// Sends from every pod to every other one (beyond 16 pods: to two others), with IPv4 and, if
    /// the wiring carries it, IPv6, until all packets have arrived. [`Lab::new`] does this for a
    /// lab that is `warm`.
    ///
    /// # Errors
    /// Names the pods that did not reach each other within 10 s.
    pub fn ready(&self) -> Result<()> {
        warm::reach_each_other(&self.pods, self.wiring)
    }

    /// The cluster objects, as
    /// `kubectl get nodes,pods,services,endpointslices -A -o yaml` prints them.
    #[must_use]
    pub fn objects_yaml(&self) -> String {
        objects::yaml(&self.nodes, &self.pods, &self.services, self.wiring)
    }

    /// A directory for files that are removed with the lab.
    ///
    /// # Errors
    /// If the directory cannot be made.
    pub fn directory(&self) -> Result<PathBuf> {
        self.claim.directory()
    }

    /// Writes the cluster objects to a file in [`Lab::directory`].
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn write_objects(&self) -> Result<PathBuf> {
        let path = self.directory()?.join("objects.yaml");
        fs::write(&path, self.objects_yaml())
            .with_context(|| format!("cannot write {}", path.display()))?;
        Ok(path)
    }

    /// The arguments of `tracer` for this lab: `--inventory FILE`, and `--agent NODE=netns:PATH`
    /// for every node, or the command that reaches a node's machine. With `exec` in
    /// [`AGENTS_VARIABLE`], all agents are separate processes.
    ///
    /// # Errors
    /// If the cluster objects cannot be written.
    pub fn agent_args(&self) -> Result<Vec<String>> {
        let machines = self.nodes.iter().map(|node| node.netns.machine.as_ref());
        if let Some(machines) = machines.collect::<Option<Vec<_>>>() {
            let commands = machines.into_iter().map(Machine::agent_command);
            return self.args_of(commands.map(|command| Ok(format!("exec:{}", command?))));
        }
        match env::var(AGENTS_VARIABLE).as_deref() {
            Ok("exec") => {
                let commands = self.nodes.iter().map(agent_command);
                self.args_of(commands.map(|command| Ok(format!("exec:{}", command?))))
            }
            Ok("apart") => {
                let commands = self
                    .nodes
                    .iter()
                    .map(|node| self.agent_of_another_boot(node));
                self.args_of(commands.map(|command| Ok(format!("exec:{}", command?))))
            }
            Ok(other) => {
                bail!("{AGENTS_VARIABLE}={other} is nothing: give `exec` or `apart`, or unset it")
            }
            Err(_) => {
                let paths = self.nodes.iter().map(|node| node.netns.path.display());
                self.args_of(paths.map(|path| Ok(format!("netns:{path}"))))
            }
        }
    }

    /// A shell command that runs a node's agent and pretends that its kernel has booted separately,
    /// so that tracer has to find out its clock.
    ///
    /// # Errors
    /// If `tracer` has not been built, or the boot's identity cannot be written.
    pub fn agent_of_another_boot(&self, node: &Node) -> Result<String> {
        const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";
        let file = self.directory()?.join(format!("boot-{}", node.name));
        let seed = self.nodes.iter().position(|other| other.name == node.name);
        fs::write(&file, format!("{:032x}\n", seed.unwrap_or_default() + 1))?;
        let agent = agent_command(node)?.replace('\'', "'\\''");
        Ok(format!(
            "exec unshare --mount sh -c 'mount --bind {} {BOOT_ID} && {agent}'",
            file.display()
        ))
    }

    /// As [`Lab::agent_args`], with the given agents, one for each node, in their order.
    ///
    /// # Errors
    /// If the cluster objects cannot be written, or one of `agents` is an error.
    pub fn args_of(&self, agents: impl IntoIterator<Item = Result<String>>) -> Result<Vec<String>> {
        let objects = self.write_objects()?.display().to_string();
        let mut args = vec!["--inventory".to_owned(), objects];
        for (node, agent) in self.nodes.iter().zip(agents) {
            args.extend(["--agent".to_owned(), format!("{}={}", node.name, agent?)]);
        }
        Ok(args)
    }
}

/// A shell command that runs a node's agent, on standard input and output.
///
/// # Errors
/// If `tracer` has not been built.
pub fn agent_command(node: &Node) -> Result<String> {
    let (binary, netns) = (program::binary()?, &node.netns.path);
    Ok(format!(
        "exec '{}' agent --stdio --netns '{}'",
        binary.display(),
        netns.display()
    ))
}

fn seed_from_environment() -> Result<Option<u64>> {
    let Ok(text) = env::var(SEED_VARIABLE) else {
        return Ok(None);
    };
    let parsed = match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16),
        None => text.parse(),
    };
    parsed
        .map(Some)
        .with_context(|| format!("{SEED_VARIABLE}={text} is no seed: give a number, as 0x2a or 42"))
}
