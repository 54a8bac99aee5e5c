//! Hands the results of a search to the workers.

use std::{net::IpAddr, path::PathBuf, sync::Arc, time::Instant};

use nix::net::if_::if_nametoindex;
use tracer_core::{input::Change, model::Network};
use tracing::warn;

use super::{OTHERS, PodWorker, Search, Stopped};
use crate::{
    interfaces::Plan,
    node::{
        discover::discover_again,
        drops, points,
        source::{Found, PodNamespace},
        worker::Hand,
    },
};

impl Search {
    /// Searches, and hands the differences to the workers.
    pub(super) fn look(&mut self) -> Result<(), Stopped> {
        // Another namespace may soon get the inode number of one that is gone.
        self.forget_namespaces()?;
        // Drops come first, so that no packet arrives at a new interface before its drops are
        // watched.
        self.find_namespaces()?;
        let Some(host) = self.workers.host.clone() else {
            return Ok(());
        };
        let plan = match discover_again(&self.request) {
            Ok(plan) => plan,
            Err(error) => return self.say(error.to_string()),
        };
        self.observe(&host, &plan)?;
        self.observe_pods(&plan)?;
        self.others.get_or_insert_with(|| Instant::now() + OTHERS);
        Ok(())
    }

    /// Asks the workers which programs others have attached to observed interfaces.
    pub(super) fn ask_for_others(&mut self) -> Result<(), Stopped> {
        let pods = self.workers.pods.iter().map(|worker| &worker.hand);
        for hand in self.workers.host.iter().chain(pods) {
            let first = self.points;
            self.points += hand.found(Found::Others { first }).ok_or(Stopped)?;
        }
        Ok(())
    }

    /// Stops watching drops in namespaces that are gone.
    fn forget_namespaces(&mut self) -> Result<(), Stopped> {
        let Some((_, namespaces)) = &mut self.workers.drops else {
            return Ok(());
        };
        let before = namespaces.len();
        namespaces.retain(|pod| drops::inode(&pod.path).is_ok_and(|inode| inode == pod.inode));
        if namespaces.len() == before {
            return Ok(());
        }
        self.watch_drops()
    }

    /// Watches drops in the namespaces of pods that are new or have come back.
    fn find_namespaces(&mut self) -> Result<(), Stopped> {
        let Some((_, namespaces)) = &mut self.workers.drops else {
            return Ok(());
        };
        let is_known = |name: &str| namespaces.iter().any(|pod| *pod.name == *name);
        let missing = |pods: &[(IpAddr, String)]| -> Vec<(IpAddr, String)> {
            let pods = pods.iter().filter(|(_, name)| !is_known(name));
            pods.cloned().collect()
        };
        let node = &self.start.node;
        let (mut found, mut problems) = (Vec::new(), Vec::new());
        for (pods, followed) in [(&self.followed, true), (&self.bystanders, false)] {
            let missing = missing(pods);
            if missing.is_empty() {
                continue;
            }
            match drops::find_pods(&missing, node, &mut Vec::new()) {
                Ok(pods) => {
                    found.extend(pods.into_iter().map(|pod| PodNamespace { followed, ..pod }));
                }
                Err(error) => problems.push(error.to_string()),
            }
        }
        let any = !found.is_empty();
        namespaces.extend(found);
        if any {
            self.watch_drops()?;
        }
        problems
            .into_iter()
            .try_for_each(|problem| self.say(problem))
    }

    /// Tells the user something once.
    pub(super) fn say(&mut self, note: String) -> Result<(), Stopped> {
        if self.said.contains(&note) {
            return Ok(());
        }
        self.said.push(note.clone());
        self.say_again(note)
    }

    /// Tells the user something, even if it was told before.
    pub(super) fn say_again(&self, note: String) -> Result<(), Stopped> {
        let Some(host) = &self.workers.host else {
            warn!("{note}");
            return Ok(());
        };
        let told = host.found(Found::Interfaces {
            netns: None,
            first: self.points,
            interfaces: Vec::new(),
            change: Change {
                notes: vec![note],
                ..Change::default()
            },
        });
        told.map(drop).ok_or(Stopped)
    }

    fn watch_drops(&self) -> Result<(), Stopped> {
        let Some((hand, namespaces)) = &self.workers.drops else {
            return Ok(());
        };
        let told = hand.found(Found::Namespaces {
            pods: namespaces.clone(),
            devices: self.devices.clone(),
        });
        told.map(drop).ok_or(Stopped)
    }

    /// Observes the interfaces of the node's own namespace.
    fn observe(&mut self, host: &Hand, plan: &Plan) -> Result<(), Stopped> {
        let interfaces = plan.interfaces.iter();
        let interfaces = interfaces.map(|found| (points::host_point(found), found.l2));
        let found = Found::Interfaces {
            netns: None,
            first: self.points,
            interfaces: interfaces.collect(),
            change: Change {
                local: news(&mut self.local, &plan.local),
                next_hops: news(&mut self.next_hops, &plan.next_hops),
                network: self.network(plan),
                notes: self.notes(plan),
                ..Change::default()
            },
        };
        self.points += host.found(found).ok_or(Stopped)?;
        for found in &plan.interfaces {
            self.missing.found(&found.pods, found.ifindex, &found.name);
        }
        let exists = |index, name: &str| if_nametoindex(name) == Ok(index);
        self.missing.look(Instant::now(), exists);
        let devices: Vec<_> = plan
            .interfaces
            .iter()
            .map(|found| (found.ifindex, Arc::from(found.name.as_str())))
            .collect();
        if devices != self.devices {
            self.devices = devices;
            self.watch_drops()?;
        }
        Ok(())
    }

    /// The interfaces and routes, if they have changed.
    fn network(&mut self, plan: &Plan) -> Option<Box<Network>> {
        (self.network != plan.network).then(|| {
            self.network.clone_from(&plan.network);
            Box::new(plan.network.clone())
        })
    }

    /// Notes on what is there now and cannot be observed.
    fn notes(&mut self, plan: &Plan) -> Vec<String> {
        let there = [&*plan.vxlan_ports, &*plan.geneve_ports].concat();
        let ports = news(&mut self.tunnel_ports, &there).into_iter();
        let mut notes: Vec<String> = ports
            .map(|port| {
                format!(
                    "a new tunnel device uses UDP port {port}: tracer cannot parse its packets on the \
                     uplink; restart the command"
                )
            })
            .collect();
        for pod in &plan.pod_namespaces {
            let name = self.start.pod_name(pod.pod);
            let mut workers = self.workers.pods.iter();
            if workers.any(|worker| worker.name == name) {
                continue;
            }
            let note = format!(
                "the own interface of pod {name} is not observed, as it was not there at the \
                 start; start again to see it"
            );
            if !self.said.contains(&note) {
                self.said.push(note.clone());
                notes.push(note);
            }
        }
        notes
    }

    /// Observes the pods' own interfaces, if the follow asks for these.
    fn observe_pods(&mut self, plan: &Plan) -> Result<(), Stopped> {
        for worker in &mut self.workers.pods {
            let mut pods = plan.pod_namespaces.iter();
            let found = pods.find(|pod| self.start.pod_name(pod.pod) == worker.name);
            let (netns, interfaces) = match found {
                Some(pod) => {
                    let point = points::pod_point(&self.start, pod);
                    (Some(pod.path.clone()), vec![(point, true)])
                }
                // The worker leaves the namespace, because a thread in a namespace keeps it alive.
                None if !worker.is_there() => (Some(self.home.clone()), Vec::new()),
                None => (None, Vec::new()),
            };
            if let Some(path) = &netns {
                let inode = drops::inode(path).ok();
                worker.place = inode.map(|inode| (path.clone(), inode));
            }
            let found = Found::Interfaces {
                netns,
                first: self.points,
                interfaces,
                change: Change::default(),
            };
            self.points += worker.hand.found(found).ok_or(Stopped)?;
        }
        Ok(())
    }
}

impl PodWorker {
    /// Whether the pod still has the namespace that the worker is in.
    fn is_there(&self) -> bool {
        let is_same =
            |(path, inode): &(PathBuf, u32)| drops::inode(path).is_ok_and(|there| there == *inode);
        self.place.as_ref().is_some_and(is_same)
    }
}

/// The items that are not known yet. From then on they are known.
fn news<T: Copy + PartialEq>(known: &mut Vec<T>, found: &[T]) -> Vec<T> {
    let mut news = Vec::new();
    for one in found {
        if !known.contains(one) {
            known.push(*one);
            news.push(*one);
        }
    }
    news
}
