//! The Kubernetes cluster that `cargo xtask cluster` starts, as its users see it: from a machine
//! outside the nodes, with a kubeconfig.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use crate::{Netns, process, program::Tracer};

/// The variable that tells the tests where the cluster's files are.
const PLACE: &str = "TRACER_CLUSTER";
/// The beginning of the names of all machines' network namespaces.
const PREFIX: &str = "tracer-cluster-";
/// The time limit for anything that a test asks of Kubernetes, on a busy machine.
const LIMIT: Duration = Duration::from_secs(120);

/// The running cluster.
#[derive(Clone, Debug)]
pub struct Cluster {
    run: PathBuf,
}

/// A pod, as the API knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pod {
    /// The pod's namespace.
    pub namespace: String,
    /// The pod's name.
    pub name: String,
    /// The pod's node.
    pub node: String,
    /// The pod's address.
    pub address: String,
    /// Whether the pod uses its node's network namespace.
    pub host_network: bool,
}

impl Pod {
    /// `NAMESPACE/NAME`, as `tracer` takes it.
    #[must_use]
    pub fn path(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }
}

impl Cluster {
    /// The cluster that the environment names.
    ///
    /// # Errors
    /// If the environment names none.
    pub fn up() -> Result<Self> {
        let run = env::var_os(PLACE).with_context(|| {
            format!("{PLACE} names no cluster: `cargo xtask cluster test` starts one")
        })?;
        let run = PathBuf::from(run);
        ensure!(run.is_dir(), "there is no cluster in {}", run.display());
        Ok(Self { run })
    }

    /// The kubeconfig of one of its users: `admin`, or `someone` with no rights.
    #[must_use]
    pub fn kubeconfig(&self, user: &str) -> PathBuf {
        self.run.join("keys").join(user).with_extension("conf")
    }

    /// A machine outside of the cluster that reaches the API server.
    #[must_use]
    pub fn outside(&self) -> Netns {
        self.machine("user")
    }

    /// The network namespace of a machine: a node's name, `control` or `user`.
    #[must_use]
    pub fn machine(&self, name: &str) -> Netns {
        Netns::named(format!("{PREFIX}{name}"))
    }

    /// A command on a machine, in all of its namespaces.
    ///
    /// # Errors
    /// If the machine does not run.
    pub fn command_on(&self, machine: &str, program: &str) -> Result<Command> {
        let mut command = process::command("nsenter");
        command.args(["--target", &self.first_process(machine)?]);
        command.args(["--mount", "--uts", "--ipc", "--net", "--pid"]);
        command.args(["--", program]);
        Ok(command)
    }

    /// The process id of a machine's first process, as this machine knows it.
    ///
    /// # Errors
    /// If the machine does not run.
    pub fn first_process(&self, machine: &str) -> Result<String> {
        let file = self.run.join(machine).join("init");
        fs::read_to_string(&file).with_context(|| format!("{machine} does not run"))
    }

    /// Runs a command line (split at spaces, no quoting) on a machine and returns what
    /// it wrote on its standard output.
    ///
    /// # Errors
    /// If it fails; the error quotes its standard error.
    pub fn run_on(&self, machine: &str, line: &str) -> Result<String> {
        let (program, args) = line.split_once(' ').unwrap_or((line, ""));
        let mut command = self.command_on(machine, program)?;
        process::run(command.args(args.split_whitespace()), "")
            .with_context(|| format!("on {machine}"))
    }

    /// Imports an image into a node's containerd by `ctr`, and waits until kubelet sees it.
    ///
    /// # Errors
    /// If the file is no image of that name.
    pub fn give_image(&self, node: &str, archive: &Path, name: &str) -> Result<()> {
        self.ctr(node, &["import", text(archive)?])?;
        self.wait_image(node, name)
    }

    /// Gives an image of a node another name.
    ///
    /// # Errors
    /// If the node has no such image.
    pub fn name_image(&self, node: &str, name: &str, other: &str) -> Result<()> {
        self.ctr(node, &["tag", "--force", name, other])?;
        self.wait_image(node, other)
    }

    /// Waits until kubelet's interface has noticed what `ctr` has done.
    fn wait_image(&self, node: &str, name: &str) -> Result<()> {
        self.until(&format!("kubelet on {node} knows {name}"), || {
            let listed = self.ctr(node, &["list", &format!("name=={name}")])?;
            Ok(listed.contains("io.cri-containerd.image=managed"))
        })
    }

    fn ctr(&self, node: &str, args: &[&str]) -> Result<String> {
        let root = self.run.parent().context("a cluster is in a directory")?;
        let mut ctr = self.command_on(node, text(&root.join("debian/usr/bin/ctr"))?)?;
        ctr.args(["--namespace", "k8s.io", "images"]).args(args);
        process::run(&mut ctr, "").with_context(|| format!("on {node}"))
    }

    /// Runs kubectl as the administrator, and returns its output.
    ///
    /// # Errors
    /// If kubectl fails; the error quotes its standard error.
    pub fn kubectl<A: AsRef<str>>(&self, args: impl IntoIterator<Item = A>) -> Result<String> {
        self.kubectl_with(args, "")
    }

    /// Applies a manifest.
    ///
    /// # Errors
    /// If the API server refuses it.
    pub fn apply(&self, manifest: &str) -> Result<()> {
        self.kubectl_with(["apply", "-f", "-"], manifest).map(drop)
    }

    /// Runs a script by `sh` in a pod, and returns its output.
    ///
    /// # Errors
    /// If it fails.
    pub fn in_pod(&self, pod: &Pod, script: &str) -> Result<String> {
        let (namespace, name) = (pod.namespace.as_str(), pod.name.as_str());
        self.kubectl(["exec", "-n", namespace, name, "--", "sh", "-c", script])
    }

    fn kubectl_with<A: AsRef<str>>(
        &self,
        args: impl IntoIterator<Item = A>,
        input: &str,
    ) -> Result<String> {
        let root = self.run.parent().context("a cluster is in a directory")?;
        let kubectl = root.join("bin/kubectl");
        let mut kubectl = self.outside().command(text(&kubectl)?);
        kubectl.env("KUBECONFIG", self.kubeconfig("admin"));
        kubectl.env("KUBECACHEDIR", self.run.join("kubectl"));
        for arg in args {
            kubectl.arg(arg.as_ref());
        }
        process::run(&mut kubectl, input)
    }

    /// The running pods of a namespace.
    ///
    /// # Errors
    /// If the API server does not answer.
    pub fn pods(&self, namespace: &str) -> Result<Vec<Pod>> {
        let text = self.kubectl(["get", "pods", "-n", namespace, "-o", "json"])?;
        let list: Value = serde_json::from_str(&text)?;
        let items = list["items"].as_array().context("a list has items")?;
        let running = items
            .iter()
            .filter(|pod| pod["status"]["phase"] == "Running");
        let lives = running.filter(|pod| pod["metadata"]["deletionTimestamp"].is_null());
        let known = |pod: &Value| {
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            Pod {
                namespace: text(&pod["metadata"]["namespace"]),
                name: text(&pod["metadata"]["name"]),
                node: text(&pod["spec"]["nodeName"]),
                address: text(&pod["status"]["podIP"]),
                host_network: pod["spec"]["hostNetwork"] == true,
            }
        };
        Ok(lives.map(known).collect())
    }

    /// The shop's pod whose name begins with `begins`, on a node or on any.
    ///
    /// # Errors
    /// If there is none.
    pub fn pod(&self, begins: &str, node: Option<&str>) -> Result<Pod> {
        let pods = self.pods("shop")?;
        let mut fit = pods
            .into_iter()
            .filter(|pod| pod.name.starts_with(begins) && node.is_none_or(|node| pod.node == node));
        let Some(pod) = fit.next() else {
            bail!(
                "the shop has no pod {begins} on {}",
                node.unwrap_or("any node")
            );
        };
        Ok(pod)
    }

    /// The nodes' names.
    ///
    /// # Errors
    /// If the API server does not answer.
    pub fn nodes(&self) -> Result<Vec<String>> {
        let names = "jsonpath={.items[*].metadata.name}";
        let names = self.kubectl(["get", "nodes", "-o", names])?;
        Ok(names.split_whitespace().map(str::to_owned).collect())
    }

    /// A program of a machine, which starts again when it ends.
    #[must_use]
    pub fn service(&self, machine: &str, name: &str) -> Service {
        let file = self.run.join(machine).join(name);
        Service { file }
    }

    /// Writes all objects that `tracer` reads into a file, as YAML.
    ///
    /// # Errors
    /// If the API server does not answer.
    pub fn write_objects(&self, file: &Path) -> Result<()> {
        let kinds = "nodes,pods,services,endpointslices";
        let objects = self.kubectl(["get", kinds, "-A", "-o", "yaml"])?;
        fs::write(file, objects).context("cannot write the objects")
    }

    /// `tracer` on the machine outside. The environment tells it where the API server is.
    ///
    /// # Errors
    /// If `tracer` has not been built.
    pub fn tracer(&self) -> Result<Command> {
        let binary = crate::program::binary()?;
        let mut tracer = self.outside().command(text(&binary)?);
        tracer.env("KUBECONFIG", self.kubeconfig("admin"));
        Ok(tracer)
    }

    /// A `tracer follow -o json` between two pods, with the objects in a file and an agent on the
    /// node of each pod.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn follow_file(
        &self,
        objects: &Path,
        agents: Agents,
        [from, to]: [&Pod; 2],
    ) -> Result<Tracer> {
        let mut tracer = self.tracer()?;
        tracer.args(["follow", "-o", "json", "--inventory", text(objects)?]);
        tracer.args(["--agent", &self.agent(&from.node, agents)?]);
        if from.node != to.node {
            tracer.args(["--agent", &self.agent(&to.node, agents)?]);
        }
        Tracer::start(tracer.args(["--src-pod", &from.path(), "--dst-pod", &to.path()]))
    }

    /// The value of `--agent` for a node.
    ///
    /// # Errors
    /// If the node does not run.
    pub fn agent(&self, node: &str, agents: Agents) -> Result<String> {
        Ok(match agents {
            Agents::Netns => format!("{node}=netns:{}", self.machine(node).path.display()),
            Agents::Exec => {
                let binary = crate::program::binary()?;
                let first = self.first_process(node)?;
                format!(
                    "{node}=exec:nsenter --target {first} --mount --uts --ipc --net --pid -- \
                     {} agent --stdio",
                    text(&binary)?
                )
            }
        })
    }

    /// Waits for something that the cluster does in its own time.
    ///
    /// # Errors
    /// If it has not happened within two minutes.
    pub fn until(&self, what: &str, mut is_so: impl FnMut() -> Result<bool>) -> Result<()> {
        let deadline = process::deadline(LIMIT);
        while !is_so()? {
            ensure!(
                std::time::Instant::now() < deadline,
                "{LIMIT:?} later, not yet: {what}"
            );
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(())
    }
}

/// How agents are reached.
#[derive(Clone, Copy, Debug)]
pub enum Agents {
    /// One process enters the nodes' network namespaces.
    Netns,
    /// Each agent is a process in all of its node's namespaces.
    Exec,
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().context("its path is text")
}

/// A program that a machine keeps running.
#[derive(Debug)]
pub struct Service {
    file: PathBuf,
}

impl Service {
    /// Ends the program until [`Service::start`], or until this value is dropped.
    ///
    /// # Errors
    /// If the program does not end.
    pub fn stop(&self) -> Result<()> {
        fs::write(self.file.with_extension("stop"), "")?;
        self.wait("ends", false)
    }

    /// Lets the program run again.
    ///
    /// # Errors
    /// If the program does not start.
    pub fn start(&self) -> Result<()> {
        fs::remove_file(self.file.with_extension("stop"))?;
        self.wait("runs", true)
    }

    fn wait(&self, what: &str, runs: bool) -> Result<()> {
        let what = format!("{} {what}", self.file.display());
        process::until(&what, || {
            Ok(self.file.with_extension("pid").exists() == runs)
        })
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // If the program runs, there is no file to remove.
        let _ = fs::remove_file(self.file.with_extension("stop"));
    }
}
