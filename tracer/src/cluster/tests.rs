//! The errors for kubeconfigs that cannot be used.

use std::{fs, path::PathBuf, process};

use expect_test::{Expect, expect};

use super::Access;

/// A file that the test removes at its end.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str, content: &str) -> Self {
        let path = std::env::temp_dir().join(format!("tracer-{}-{name}", process::id()));
        fs::write(&path, content).expect("there is room");
        Self(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _: Result<(), _> = fs::remove_file(&self.0);
    }
}

const KUBECONFIG: &str = r"
apiVersion: v1
kind: Config
current-context: staging
clusters:
- name: a
  cluster: {server: 'https://10.0.0.1:6443'}
- name: b
  cluster: {server: 'https://10.0.0.2', certificate-authority: gone.crt}
contexts:
- name: staging
  context: {cluster: a, user: me, namespace: shop}
- name: no-authority
  context: {cluster: b, user: me}
- name: no-cluster
  context: {cluster: c, user: me}
- name: no-command
  context: {cluster: a, user: no-command}
- name: failing
  context: {cluster: a, user: failing}
users:
- name: me
  user: {token: abc}
- name: no-command
  user:
    exec: {apiVersion: client.authentication.k8s.io/v1, command: no-such-command, interactiveMode: Never}
- name: failing
  user:
    exec:
      apiVersion: client.authentication.k8s.io/v1
      command: sh
      args: ['-c', 'echo session has expired >&2; exit 3']
      interactiveMode: Never
";

async fn refused(name: &str, content: &str, context: Option<&str>, expected: Expect) {
    let file = Scratch::new(name, content);
    let access = Access {
        kubeconfig: Some(file.0.clone()),
        context: context.map(str::to_owned),
        user: None,
    };
    let error = access.connect().await.err().expect("it leads nowhere");
    let folder = format!(
        "{}/tracer-{}-",
        std::env::temp_dir().display(),
        process::id()
    );
    let temporary = std::env::temp_dir().display().to_string();
    let said = error.to_string().replace(&folder, "");
    expected.assert_eq(&said.replace(&temporary, "/tmp"));
}

#[tokio::test]
async fn a_kubeconfig_that_leads_nowhere_is_named_with_what_is_wrong() {
    let context =
        |context: &'static str, expected| refused(context, KUBECONFIG, Some(context), expected);
    context(
        "stagin",
        expect!["the kubeconfig stagin has no context stagin: did you mean staging?"],
    )
    .await;
    context("production", expect!["the kubeconfig production has no context production: it has staging, no-authority, no-cluster, no-command and failing"]).await;
    context("no-cluster", expect!["the kubeconfig no-cluster cannot be used (failed to load the cluster of context: c): `kubectl config view` shows what kubectl makes of it"]).await;
    context("no-authority", expect![[r#"the kubeconfig no-authority cannot be used (failed to load certificate authority: failed to read file '"/tmp/gone.crt"': No such file or directory (os error 2)): `kubectl config view` shows what kubectl makes of it"#]]).await;
    context("no-command", expect!["context no-command of no-command gives no credentials (no-such-command cannot be started: No such file or directory (os error 2)): `kubectl get pods` should fail alike"]).await;
    context("failing", expect!["context failing of failing gives no credentials (sh failed, exit status: 3: session has expired): `kubectl get pods` should fail alike"]).await;
    let none = KUBECONFIG.replace("current-context: staging", "");
    refused("none-current", &none, None, expect!["the kubeconfig none-current has no current context: choose one with --context: staging, no-authority, no-cluster, no-command or failing"]).await;
    refused("empty", "", None, expect!["the kubeconfig empty has no current context: it has none at all, so name another file with --kubeconfig FILE"]).await;
    refused("no-yaml", "a: [", None, expect!["the kubeconfig no-yaml cannot be used (failed to parse kubeconfig YAML: error: line 1 column 4: unclosed bracket '['): `kubectl config view` shows what kubectl makes of it"]).await;
    refused("no-kubeconfig", "contexts: 3", None, expect!["the kubeconfig no-kubeconfig cannot be used (failed to parse kubeconfig YAML: error: line 1 column 11: expected sequence start): `kubectl config view` shows what kubectl makes of it"]).await;
}

#[tokio::test]
async fn a_kubeconfig_that_is_named_has_to_be_there() {
    let access = Access {
        kubeconfig: Some("/no/such/kubeconfig".into()),
        ..Access::default()
    };
    let error = access.connect().await.err().expect("it is not there");
    expect!["the kubeconfig /no/such/kubeconfig cannot be read (No such file or directory (os error 2)): name another with --kubeconfig FILE"].assert_eq(&error.to_string());
}

#[tokio::test]
async fn a_context_says_where_and_in_which_namespace() {
    let file = Scratch::new("sound", KUBECONFIG);
    let access = Access {
        kubeconfig: Some(file.0.clone()),
        ..Access::default()
    };
    let cluster = access.connect().await.expect("it is sound");
    assert_eq!(cluster.namespace, "shop");
    assert_eq!(cluster.place.server, "https://10.0.0.1:6443");
}
