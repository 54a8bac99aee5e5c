//! Makes certificates for all clients of the API server, and their kubeconfigs.

use std::{fs, process::Command};

use anyhow::{Context as _, Result};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::json;

use super::place::{API_SERVICE, CONTROL, NODES, Place, address};
use crate::command::quiet;

/// The clients: the name of each file, and the identity for the API server.
const CLIENTS: &[(&str, &str)] = &[
    ("admin", "/O=system:masters/CN=admin"),
    ("controllers", "/CN=system:kube-controller-manager"),
    ("scheduler", "/CN=system:kube-scheduler"),
    ("proxy", "/CN=system:kube-proxy"),
    ("flannel", "/CN=flannel"),
    // A user who may do nothing, unless a role is bound to the name.
    ("someone", "/CN=someone"),
];

/// The lifetime of certificates in days, which is longer than any cluster's.
const DAYS: &str = "30";

/// Makes all certificates and kubeconfigs.
pub(super) fn make(place: &Place) -> Result<()> {
    fs::create_dir_all(place.keys())?;
    let keys = Keys { place };
    keys.openssl(
        "req -x509 -nodes -keyout ca.key -out ca.crt -subj /CN=tracer-cluster",
        true,
    )?;
    keys.openssl("ecparam -name prime256v1 -genkey -noout -out sa.key", false)?;
    keys.openssl("ec -in sa.key -pubout -out sa.pub", false)?;
    let names = ["kubernetes", "kubernetes.default", "kubernetes.default.svc"];
    let names = names.map(|name| format!("DNS:{name}")).join(",");
    let own = address(CONTROL);
    let names = format!("IP:{own},IP:127.0.0.1,IP:{API_SERVICE},{names}");
    keys.certificate("apiserver", "/CN=kube-apiserver", Some(&names))?;
    let kubelets = "/O=system:masters/CN=kube-apiserver-kubelet-client";
    keys.certificate("kubelet-client", kubelets, None)?;
    for (name, subject) in CLIENTS {
        keys.client(name, subject)?;
    }
    for node in NODES {
        let subject = format!("/O=system:nodes/CN=system:node:{node}");
        keys.client(node, &subject)?;
        let names = format!("IP:{},DNS:{node}", address(node));
        keys.certificate(&format!("{node}-serving"), &subject, Some(&names))?;
    }
    Ok(())
}

struct Keys<'a> {
    place: &'a Place,
}

impl Keys<'_> {
    /// Makes a certificate with its key, and a kubeconfig with both.
    fn client(&self, name: &str, subject: &str) -> Result<()> {
        self.certificate(name, subject, None)?;
        let config = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "test", "cluster": {
                "server": format!("https://{}:6443", address(CONTROL)),
                "certificate-authority-data": self.encoded("ca.crt")?,
            }}],
            "users": [{"name": name, "user": {
                "client-certificate-data": self.encoded(&format!("{name}.crt"))?,
                "client-key-data": self.encoded(&format!("{name}.key"))?,
            }}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": name}}],
            "current-context": "test",
        });
        let config = serde_json::to_vec_pretty(&config)?;
        fs::write(self.place.kubeconfig(name), config).context("cannot write a kubeconfig")
    }

    /// Makes a certificate. `names` are further names besides its subject.
    fn certificate(&self, name: &str, subject: &str, names: Option<&str>) -> Result<()> {
        let names = names.map(|names| format!(" -addext subjectAltName={names}"));
        let names = names.unwrap_or_default();
        let line = format!(
            "req -x509 -nodes -CA ca.crt -CAkey ca.key -keyout {name}.key -out {name}.crt \
             -subj {subject} -addext basicConstraints=critical,CA:FALSE \
             -addext extendedKeyUsage=clientAuth,serverAuth{names}"
        );
        self.openssl(&line, true)
    }

    /// Runs openssl. With `new`, openssl also makes a key.
    fn openssl(&self, line: &str, new: bool) -> Result<()> {
        let mut openssl = Command::new("openssl");
        openssl.args(line.split_whitespace());
        if new {
            openssl.args(["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]);
            openssl.args(["-days", DAYS]);
        }
        quiet(openssl.current_dir(self.place.keys()))
    }

    fn encoded(&self, file: &str) -> Result<String> {
        Ok(BASE64_STANDARD.encode(fs::read(self.place.keys().join(file))?))
    }
}
