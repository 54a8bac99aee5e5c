//! What a user of the shipped roles may do, and what is said when a rule of them is missing.

use std::fmt::Write as _;

use anyhow::{Context as _, Result};
use tracer_tests::{
    cluster::{Agents, Cluster},
    process::{Finished, Process},
    program::LIMIT,
};

/// Who has the role, and no other. The administrator acts as this user.
const USER: &str = "tracer-roles-test";
/// The shipped role of `deploy/user.yaml`.
const ROLE: &str = "tracer-user";
const DEPLOYED: &str = include_str!("../../../../deploy/user.yaml");

/// The role as it is bound to the user; gone when this is.
struct Role<'a>(&'a Cluster);

impl<'a> Role<'a> {
    fn bind(cluster: &'a Cluster) -> Result<Self> {
        let role = Self(cluster);
        let (of, to) = (format!("--clusterrole={ROLE}"), format!("--user={USER}"));
        cluster.kubectl(["create", "clusterrolebinding", USER, &of, &to])?;
        Ok(role)
    }

    /// Gives it these rules alone.
    fn set(&self, rules: &[&str]) -> Result<()> {
        let mut role = format!(
            "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {{name: {ROLE}}}\n"
        );
        match rules {
            [] => role.push_str("rules: []\n"),
            rules => write!(role, "rules:\n{}", rules.concat())?,
        }
        self.0.apply(&role)
    }
}

impl Drop for Role<'_> {
    fn drop(&mut self) {
        // Where the test failed before it made them, there are none.
        for (kind, name) in [("clusterrolebinding", USER), ("clusterrole", ROLE)] {
            let _ = self.0.kubectl(["delete", kind, name, "--ignore-not-found"]);
        }
    }
}

/// The rules of the shipped role, each as it is written there.
fn rules() -> Result<Vec<&'static str>> {
    let (_, rules) = DEPLOYED
        .split_once("rules:\n")
        .context("a role has rules")?;
    let mut starts: Vec<usize> = rules
        .match_indices("- apiGroups")
        .map(|(at, _)| at)
        .collect();
    starts.push(rules.len());
    Ok(starts
        .windows(2)
        .map(|pair| &rules[pair[0]..pair[1]])
        .collect())
}

/// Follows for a moment as the user, from the shop's web to an end. Returns how that ended.
fn follow(cluster: &Cluster, to: [&str; 2]) -> Result<Finished> {
    let mut tracer = cluster.tracer()?;
    tracer.args(["follow", "-o", "json", "--as", USER, "--duration", "1s"]);
    tracer.args(["--src-pod", "shop/web"]);
    tracer.args(to);
    for node in cluster.nodes()? {
        tracer.args(["--agent", &cluster.agent(&node, Agents::Netns)?]);
    }
    Process::start(&mut tracer, "")?.finish(LIMIT)
}

/// A follow as each kind of end, and the rule of each that may be taken away.
#[test]
fn each_rule_of_the_users_role_is_needed_and_named_where_it_is_missing() -> Result<()> {
    let cluster = Cluster::up()?;
    let role = Role::bind(&cluster)?;
    let rules = rules()?;
    // In the order of the file: what fails without the rule, or is said to be unknown.
    let pod = ["--dst-pod", "shop/db-0"];
    let service = ["--dst-service", "shop/cart"];
    let workload = ["--dst", "shop:deployment/cart"];
    let cases = [
        (
            pod,
            r#"{apiGroups: [""], resources: ["pods"], verbs: ["get"]} to a Role in shop"#,
        ),
        (
            pod,
            r#"nodes may not be read, so their addresses have no names here: add {apiGroups: [""], resources: ["nodes"], verbs: ["get"]} to a ClusterRole"#,
        ),
        (
            service,
            r#"{apiGroups: [""], resources: ["services"], verbs: ["get"]} to a Role in shop"#,
        ),
        (
            service,
            r#"{apiGroups: ["discovery.k8s.io"], resources: ["endpointslices"], verbs: ["list"]} to a Role in shop"#,
        ),
        (
            workload,
            r#"{apiGroups: ["apps"], resources: ["deployments"], verbs: ["get"]} to a Role in shop"#,
        ),
    ];
    assert_eq!(rules.len(), cases.len(), "{rules:?}");
    role.set(&rules)?;
    for (to, _) in &cases {
        let whole = follow(&cluster, *to)?;
        // Nothing was sent, which is no error.
        assert_ne!(whole.status.code(), Some(1), "{}", whole.stderr);
        for word in ["refuses", "may not be read", "was read"] {
            assert!(!whole.stderr.contains(word), "{}", whole.stderr);
        }
    }
    for (index, (to, sentence)) in cases.iter().enumerate() {
        let mut rest = rules.clone();
        rest.remove(index);
        role.set(&rest)?;
        let lacking = follow(&cluster, *to)?;
        assert!(
            lacking.stderr.contains(sentence),
            "{sentence}\n{}",
            lacking.stderr
        );
        assert!(
            !lacking.stderr.contains("no ready endpoints"),
            "{}",
            lacking.stderr
        );
    }
    Ok(())
}

/// Where a pod's Services lead may be unknown. The follow goes on without, and says so.
#[test]
fn without_endpoint_slices_a_pod_is_followed_without_its_services() -> Result<()> {
    let cluster = Cluster::up()?;
    let role = Role::bind(&cluster)?;
    let mut rules = rules()?;
    rules.retain(|rule| !rule.contains("endpointslices"));
    role.set(&rules)?;
    let to = cluster.pod("cart-", Some("node-b"))?;
    let lacking = follow(&cluster, ["--dst-pod", &to.path()])?;
    assert_ne!(lacking.status.code(), Some(1), "{}", lacking.stderr);
    let said = "EndpointSlices may not be read, so no Service is known to lead to a pod: add";
    assert!(lacking.stderr.contains(said), "{}", lacking.stderr);
    Ok(())
}
