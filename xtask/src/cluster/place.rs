//! The paths and names of a cluster.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};

use crate::setup;

/// The beginning of the names of the cluster's network namespaces, which no other has.
pub(super) const PREFIX: &str = "tracer-cluster-";
/// The machine of the control plane.
pub(super) const CONTROL: &str = "control";
/// A machine outside of the cluster, such as a user's laptop.
pub(super) const USER: &str = "user";
/// The nodes.
pub(super) const NODES: [&str; 3] = ["node-a", "node-b", "node-c"];

/// The network of the machines, and the networks of pods and Services.
pub(super) const UNDERLAY: &str = "172.31.77";
pub(super) const PODS: &str = "10.244.0.0/16";
pub(super) const SERVICES: &str = "10.96.0.0/16";
/// The address of the first Service, which is the API server's.
pub(super) const API_SERVICE: &str = "10.96.0.1";
pub(super) const DNS_SERVICE: &str = "10.96.0.10";

/// The address of a machine.
///
/// # Panics
/// If there is no machine of that name, which is a mistake of the caller.
pub(super) fn address(machine: &str) -> String {
    let last = match machine {
        CONTROL => 1,
        USER => 2,
        node => {
            let known = NODES.iter().position(|name| *name == node);
            11 + known.unwrap_or_else(|| panic!("there is no machine `{node}`"))
        }
    };
    format!("{UNDERLAY}.{last}")
}

/// The name of a machine's network namespace.
pub(super) fn namespace(machine: &str) -> String {
    format!("{PREFIX}{machine}")
}

/// The directories of a cluster, all below one that outlives it.
pub(super) struct Place {
    root: PathBuf,
}

impl Place {
    pub(super) fn new() -> Result<Self> {
        Ok(Self::below(&setup::cache()?))
    }

    /// The directories of a cluster in the project's part of a cache directory.
    pub(super) fn below(cache: &Path) -> Self {
        let root = cache.join("cluster");
        Self { root }
    }

    /// The directory that outlives a cluster, with programs and images.
    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// Compiled programs.
    pub(super) fn programs(&self) -> PathBuf {
        self.root.join("bin")
    }

    /// The unpacked packages of Debian.
    pub(super) fn debian(&self) -> PathBuf {
        self.root.join("debian")
    }

    pub(super) fn images(&self) -> PathBuf {
        self.root.join("images")
    }

    /// The directory that is removed with the cluster. It exists only if there is a cluster.
    pub(super) fn run(&self) -> PathBuf {
        self.root.join("run")
    }

    pub(super) fn keys(&self) -> PathBuf {
        self.run().join("keys")
    }

    pub(super) fn logs(&self) -> PathBuf {
        self.run().join("log")
    }

    /// A machine's files.
    pub(super) fn machine(&self, name: &str) -> PathBuf {
        self.run().join(name)
    }

    pub(super) fn kubeconfig(&self, user: &str) -> PathBuf {
        self.keys().join(user).with_extension("conf")
    }

    /// A `PATH` with the cluster's programs before the machine's.
    pub(super) fn path(&self) -> String {
        let debian = self.debian();
        let first = [
            self.programs(),
            debian.join("usr/bin"),
            debian.join("usr/sbin"),
        ];
        let first = first.map(|directory| directory.display().to_string());
        format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", first.join(":"))
    }

    /// An example of running kubectl from outside the nodes.
    pub(super) fn example(&self) -> String {
        let kubectl = self.programs().join("kubectl");
        format!(
            "ip netns exec {} {} --kubeconfig {} get pods -A",
            namespace(USER),
            kubectl.display(),
            self.kubeconfig("admin").display()
        )
    }

    /// The output of kubectl, run as the administrator from outside the nodes.
    pub(super) fn kubectl(&self, args: &[&str]) -> Result<String> {
        let output = self.kubectl_command().args(args).output()?;
        ensure!(
            output.status.success(),
            "kubectl {}: {}",
            args.join(" "),
            String::from_utf8_lossy(&output.stderr).trim()
        );
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Applies a manifest. Tries again, because a namespace's service account comes a moment after
    /// the namespace.
    pub(super) fn apply(&self, manifest: &str) -> Result<()> {
        super::wait("the manifest is applied", || {
            let mut kubectl = self.kubectl_command();
            kubectl.args(["apply", "-f", "-"]).stdin(Stdio::piped());
            kubectl.stdout(Stdio::null()).stderr(Stdio::piped());
            let mut child = kubectl.spawn()?;
            let mut stdin = child.stdin.take().context("a pipe was asked for")?;
            stdin.write_all(manifest.as_bytes())?;
            drop(stdin);
            let output = child.wait_with_output()?;
            let said = String::from_utf8_lossy(&output.stderr);
            ensure!(output.status.success(), "kubectl apply: {}", said.trim());
            Ok(true)
        })
    }

    fn kubectl_command(&self) -> Command {
        let mut kubectl = Command::new("nsenter");
        kubectl.arg(format!("--net=/run/netns/{}", namespace(USER)));
        kubectl.arg(self.programs().join("kubectl"));
        kubectl.arg("--kubeconfig").arg(self.kubeconfig("admin"));
        kubectl.arg("--request-timeout=10s");
        // kubectl's cache of the API is removed with the cluster.
        kubectl.env("KUBECACHEDIR", self.run().join("kubectl"));
        kubectl.stdin(Stdio::null());
        kubectl
    }

    /// A program of this cluster.
    pub(super) fn program(&self, name: &str) -> Command {
        let mut command = Command::new(name);
        command.env("PATH", self.path());
        command
    }

    /// Writes a machine's configuration file and returns its path.
    pub(super) fn configure(
        &self,
        machine: &str,
        file: &str,
        content: impl AsRef<[u8]>,
    ) -> Result<PathBuf> {
        let path = self.machine(machine).join(file);
        fs::write(&path, content).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(path)
    }
}
