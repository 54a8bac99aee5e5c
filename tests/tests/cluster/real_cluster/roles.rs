//! The rights of a user with the shipped roles, and the messages if a rule is missing.

use std::fmt::Write as _;

use anyhow::{Context as _, Result};
use tracer_tests::{
    cluster::{Agents, Cluster},
    process::{Finished, Process},
    program::LIMIT,
};

/// A user with this role only. The administrator impersonates the user.
const USER: &str = "tracer-roles-test";
/// The shipped role of `deploy/user.yaml`.
const ROLE: &str = "tracer-user";
const DEPLOYED: &str = include_str!("../../../../deploy/user.yaml");

/// The role and its binding to the user, which are removed with this value.
struct Role<'a>(&'a Cluster);

impl<'a> Role<'a> {
    fn bind(cluster: &'a Cluster) -> Result<Self> {
        let role = Self(cluster);
        let (of, to) = (format!("--clusterrole={ROLE}"), format!("--user={USER}"));
        cluster.kubectl(["create", "clusterrolebinding", USER, &of, &to])?;
        Ok(role)
    }

    /// Sets the rules of the role.
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
        // They do not exist if the test failed before it made them.
        for (kind, name) in [("clusterrolebinding", USER), ("clusterrole", ROLE)] {
            let _ = self.0.kubectl(["delete", kind, name, "--ignore-not-found"]);
        }
    }
}

/// The rules of the shipped role, with their original text.
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

/// Runs a short follow as the user, from the shop's web to an end. Returns its result.
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

/// Each kind of end, and the rule that its follow needs.
#[test]
fn each_rule_of_the_users_role_is_needed_and_named_where_it_is_missing() -> Result<()> {
    let cluster = Cluster::up()?;
    let role = Role::bind(&cluster)?;
    let rules = rules()?;
    // In the order of the file: the follow that fails without the rule, or the facts that stay
    // unknown.
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
        // Without traffic, the follow ends without an error.
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

/// The Services that lead to a pod may be unknown. The follow continues, and says so.
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
