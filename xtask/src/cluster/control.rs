//! The control plane: etcd, the API server, the controllers, the scheduler.

use std::{fs, process::Command};

use anyhow::Result;

use super::{
    machine::Service,
    place::{CONTROL, PODS, Place, SERVICES, address},
};

/// The services of the machine that is no node.
pub(super) fn services(place: &Place) -> Result<Vec<Service>> {
    let store = place.machine(CONTROL).join("etcd");
    fs::create_dir_all(&store)?;
    let program = |name: &'static str, options: &[(&str, String)]| {
        let mut command = place.program(name);
        give(&mut command, options);
        Service::new(name, command)
    };
    let key = |file: &str| place.keys().join(file).display().to_string();
    let config = |user: &str| place.kubeconfig(user).display().to_string();
    let etcd = [
        ("data-dir", store.display().to_string()),
        ("listen-client-urls", CLIENTS.to_owned()),
        ("advertise-client-urls", CLIENTS.to_owned()),
        ("listen-peer-urls", PEERS.to_owned()),
        ("initial-advertise-peer-urls", PEERS.to_owned()),
        ("initial-cluster", format!("default={PEERS}")),
        // The data does not outlive the cluster, so it need not be safe.
        ("unsafe-no-fsync", "true".to_owned()),
    ];
    let api = [
        ("etcd-servers", CLIENTS.to_owned()),
        ("bind-address", address(CONTROL)),
        ("advertise-address", address(CONTROL)),
        ("service-cluster-ip-range", SERVICES.to_owned()),
        ("authorization-mode", "Node,RBAC".to_owned()),
        // PodSecurity is enabled by default.
        ("enable-admission-plugins", "NodeRestriction".to_owned()),
        ("allow-privileged", "true".to_owned()),
        ("client-ca-file", key("ca.crt")),
        ("tls-cert-file", key("apiserver.crt")),
        ("tls-private-key-file", key("apiserver.key")),
        ("kubelet-client-certificate", key("kubelet-client.crt")),
        ("kubelet-client-key", key("kubelet-client.key")),
        ("kubelet-certificate-authority", key("ca.crt")),
        ("kubelet-preferred-address-types", "InternalIP".to_owned()),
        ("service-account-key-file", key("sa.pub")),
        ("service-account-signing-key-file", key("sa.key")),
        ("service-account-issuer", ISSUER.to_owned()),
    ];
    let controllers = config("controllers");
    let manager = [
        ("kubeconfig", controllers.clone()),
        ("authentication-kubeconfig", controllers.clone()),
        ("authorization-kubeconfig", controllers),
        ("allocate-node-cidrs", "true".to_owned()),
        ("cluster-cidr", PODS.to_owned()),
        ("service-cluster-ip-range", SERVICES.to_owned()),
        ("root-ca-file", key("ca.crt")),
        ("service-account-private-key-file", key("sa.key")),
        ("use-service-account-credentials", "true".to_owned()),
        ("leader-elect", "false".to_owned()),
    ];
    let scheduler = config("scheduler");
    let scheduler = [
        ("kubeconfig", scheduler.clone()),
        ("authentication-kubeconfig", scheduler.clone()),
        ("authorization-kubeconfig", scheduler),
        ("leader-elect", "false".to_owned()),
    ];
    Ok(vec![
        program("etcd", &etcd),
        program("kube-apiserver", &api),
        program("kube-controller-manager", &manager),
        program("kube-scheduler", &scheduler),
    ])
}

/// The addresses on which etcd listens.
const CLIENTS: &str = "http://127.0.0.1:2379";
const PEERS: &str = "http://127.0.0.1:2380";
/// The issuer of service accounts' tokens.
const ISSUER: &str = "https://kubernetes.default.svc";

fn give(command: &mut Command, options: &[(&str, String)]) {
    for (name, value) in options {
        command.arg(format!("--{name}={value}"));
    }
}
