//! The services of a node, and the directories that they expect.

use std::{
    fs,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use nix::mount::{MsFlags, mount as mount_at};
use serde_json::json;

use super::{
    Wiring, image,
    machine::{CGROUP, Service},
    place::{DNS_SERVICE, PODS, Place, address},
    word,
};
use crate::command::quiet;

/// Directories that each node has of its own.
const OWN: &[&str] = &[
    "/var/lib/containerd",
    "/var/lib/kubelet",
    "/var/lib/cni",
    "/var/log/pods",
    "/var/log/containers",
];
/// Settings that kubelet would change for the whole machine. The node sees them as set already.
const SETTINGS: &[(&str, &str)] = &[
    ("vm/overcommit_memory", "1"),
    ("vm/panic_on_oom", "0"),
    ("kernel/panic", "10"),
    ("kernel/panic_on_oops", "1"),
];
/// The file in which flanneld tells the addresses of the node's pods.
const SUBNET: &str = "/run/flannel/subnet.env";
/// The directory in which containerd looks for the pods' network configuration.
const CNI: &str = "/etc/cni/net.d";
/// The image of every pod's sandbox.
const PAUSE: &str = "local.test/pause:1";
/// The time limit for containerd to start.
const RUNTIME: Duration = Duration::from_secs(60);

/// Gives the node its own directories, at the usual paths.
pub(super) fn mount(place: &Place, node: &str) -> Result<()> {
    let own = place.machine(node);
    // Mounts for pods propagate within the node, and not beyond.
    flag("/", MsFlags::MS_SHARED | MsFlags::MS_REC)?;
    // A new sysfs shows the devices of this network namespace. The machine's control groups are
    // kept.
    let groups = own.join("cgroup");
    fs::create_dir_all(&groups)?;
    bind("/sys/fs/cgroup".as_ref(), &groups)?;
    fresh("sysfs", "/sys")?;
    fresh("tmpfs", "/sys/fs/cgroup")?;
    bind(&groups, "/sys/fs/cgroup".as_ref())?;
    fresh("bpf", "/sys/fs/bpf")?;
    fresh("tracefs", "/sys/kernel/tracing")?;
    for (name, value) in SETTINGS {
        let file = place.configure(node, &name.replace('/', "."), value)?;
        bind(&file, &Path::new("/proc/sys").join(name))?;
    }
    for directory in ["/etc", "/opt", "/var"] {
        overlay(&own, directory)?;
    }
    for directory in OWN {
        let source = own.join(directory.trim_start_matches('/'));
        fs::create_dir_all(&source)?;
        fs::create_dir_all(directory)?;
        bind(&source, directory.as_ref())?;
    }
    fs::create_dir_all("/opt/cni/bin")?;
    bind(&place.programs().join("cni"), "/opt/cni/bin".as_ref())?;
    fs::create_dir_all(CNI)?;
    fresh("tmpfs", "/run")?;
    for directory in ["/run/flannel", "/run/netns", "/run/lock"] {
        fs::create_dir_all(directory)?;
    }
    fs::write("/proc/sys/net/ipv4/ip_forward", "1").context("cannot forward packets")
}

fn fresh(kind: &str, at: &str) -> Result<()> {
    mount_at(Some(kind), at, Some(kind), MsFlags::empty(), None::<&str>)
        .with_context(|| format!("cannot mount {kind} at {at}"))
}

fn bind(source: &Path, at: &Path) -> Result<()> {
    let flags = MsFlags::MS_BIND | MsFlags::MS_REC;
    mount_at(Some(source), at, None::<&str>, flags, None::<&str>)
        .with_context(|| format!("cannot show {} at {}", source.display(), at.display()))
}

fn flag(at: &str, flags: MsFlags) -> Result<()> {
    mount_at(None::<&str>, at, None::<&str>, flags, None::<&str>)
        .with_context(|| format!("cannot change the mount {at}"))
}

/// Puts an overlay on a directory, so that writes below it stay with the node.
fn overlay(own: &Path, directory: &str) -> Result<()> {
    let [upper, work] = ["upper", "work"].map(|part| own.join(part).join(&directory[1..]));
    fs::create_dir_all(&upper)?;
    fs::create_dir_all(&work)?;
    let options = format!(
        "lowerdir={directory},upperdir={},workdir={}",
        upper.display(),
        work.display()
    );
    let (kind, flags) = (Some("overlay"), MsFlags::empty());
    mount_at(kind, directory, kind, flags, Some(options.as_str()))
        .with_context(|| format!("cannot put an overlay on {directory}"))
}

/// The services that must run before images can be imported.
pub(super) fn runtime(place: &Place, node: &str) -> Result<Vec<Service>> {
    // Without CAP_SYS_RESOURCE, containers keep the score that they inherit.
    let config = format!(
        "version = 2\n\
         [plugins.\"io.containerd.grpc.v1.cri\"]\n\
         sandbox_image = \"{PAUSE}\"\n\
         disable_apparmor = true\n\
         restrict_oom_score_adj = true\n"
    );
    let config = place.configure(node, "containerd.toml", config)?;
    let mut containerd = place.program("containerd");
    containerd.arg("-c").arg(config);
    Ok(vec![Service::new("containerd", containerd)])
}

/// Imports the images into containerd, which may have started a moment ago.
pub(super) fn import_images(place: &Place) -> Result<()> {
    let deadline = Instant::now() + RUNTIME;
    while let Err(error) = quiet(place.program("ctr").arg("version")) {
        ensure!(Instant::now() < deadline, "{error:#}");
        thread::sleep(Duration::from_millis(100));
    }
    for file in image::files(place) {
        let mut ctr = place.program("ctr");
        ctr.args(["--namespace", "k8s.io", "images", "import"]);
        quiet(ctr.arg(file))?;
    }
    Ok(())
}

/// All other services of the node.
pub(super) fn services(place: &Place, node: &str, wiring: Wiring) -> Result<Vec<Service>> {
    let kubeconfig = |user: &str| {
        let path = place.kubeconfig(user);
        format!("--kubeconfig={}", path.display())
    };
    let config = place.configure(node, "kubelet.json", kubelet(place, node))?;
    let mut kubelet = place.program("kubelet");
    kubelet.arg(with("--config=", &config));
    kubelet.arg(kubeconfig(node));
    kubelet.arg(format!("--hostname-override={node}"));
    kubelet.arg(format!("--node-ip={}", address(node)));

    let network = json!({"Network": PODS, "Backend": {"Type": word(&wiring.backend)}});
    let network = place.configure(node, "network.json", network.to_string())?;
    let mut flanneld = place.program("flanneld");
    flanneld.arg(with("--kubeconfig-file=", &place.kubeconfig("flannel")));
    flanneld.arg(with("--net-config-path=", &network));
    flanneld.env("NODE_NAME", node);

    let rules = json!({
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "clientConnection": {"kubeconfig": place.kubeconfig("proxy")},
        "mode": word(&wiring.proxy),
        "clusterCIDR": PODS,
        "hostnameOverride": node,
        // These are settings of the whole machine, so kube-proxy must leave them.
        "conntrack": {
            "maxPerCore": 0,
            "min": 0,
            "tcpEstablishedTimeout": "0s",
            "tcpCloseWaitTimeout": "0s",
        },
    });
    let rules = place.configure(node, "proxy.json", rules.to_string())?;
    let mut proxy = place.program("kube-proxy");
    proxy.arg(with("--config=", &rules));
    Ok(vec![
        Service::new("kubelet", kubelet),
        Service::new("flanneld", flanneld),
        Service::new("kube-proxy", proxy),
    ])
}

fn with(option: &str, path: &Path) -> String {
    format!("{option}{}", path.display())
}

fn kubelet(place: &Place, node: &str) -> String {
    let key = |file: &str| place.keys().join(file);
    json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {
            "anonymous": {"enabled": false},
            "webhook": {"enabled": true},
            "x509": {"clientCAFile": key("ca.crt")},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": key(&format!("{node}-serving.crt")),
        "tlsPrivateKeyFile": key(&format!("{node}-serving.key")),
        "containerRuntimeEndpoint": "unix:///run/containerd/containerd.sock",
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": format!("/{CGROUP}/{node}"),
        "failSwapOn": false,
        "clusterDNS": [DNS_SERVICE],
        "clusterDomain": "cluster.local",
        "resolvConf": "",
        // Images are imported once, so kubelet must not remove any.
        "imageGCHighThresholdPercent": 100,
        "evictionHard": {
            "memory.available": "100Mi",
            "nodefs.available": "1%",
            "imagefs.available": "1%",
            "nodefs.inodesFree": "1%",
        },
        "volumePluginDir": "/var/lib/kubelet/volumeplugins",
    })
    .to_string()
}

/// Writes the pods' network configuration for containerd, once flanneld has told their addresses.
pub(super) fn configure_pods() -> Result<()> {
    let configuration = Path::new(CNI).join("10-flannel.conflist");
    if configuration.exists() || !Path::new(SUBNET).exists() {
        return Ok(());
    }
    let text = fs::read_to_string(SUBNET)?;
    let value = |name: &str| {
        let value = text.lines().find_map(|line| line.strip_prefix(name));
        value.with_context(|| format!("{SUBNET} has no {name}"))
    };
    let (network, mtu) = (value("FLANNEL_NETWORK=")?, value("FLANNEL_MTU=")?);
    // flanneld tells the bridge's own address in the network of its pods.
    let subnet = value("FLANNEL_SUBNET=")?.replacen(".1/", ".0/", 1);
    let mtu: u32 = mtu.parse().context("an MTU is a number")?;
    let content = json!({"name": "cbr0", "cniVersion": "1.0.0", "plugins": [
        {
            "type": "bridge",
            "bridge": "cni0",
            "mtu": mtu,
            "isDefaultGateway": true,
            "hairpinMode": true,
            "ipMasq": false,
            "ipam": {
                "type": "host-local",
                "ranges": [[{"subnet": subnet}]],
                "routes": [{"dst": network}],
            },
        },
        {"type": "portmap", "capabilities": {"portMappings": true}},
    ]});
    // containerd watches the directory, so it must not see half of a file.
    let begun = configuration.with_extension("new");
    fs::write(&begun, content.to_string())?;
    fs::rename(begun, configuration)?;
    Ok(())
}
