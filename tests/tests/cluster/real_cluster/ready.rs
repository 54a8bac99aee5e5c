//! Checks the state of the cluster that the other tests assume.

use anyhow::Result;
use tracer_tests::cluster::Cluster;

#[test]
fn three_nodes_are_ready_and_the_shop_is_open() -> Result<()> {
    let cluster = Cluster::up()?;
    assert_eq!(cluster.nodes()?, ["node-a", "node-b", "node-c"]);
    let nodes = cluster.kubectl(["get", "nodes", "--no-headers"])?;
    let ready = nodes.lines().filter(|line| line.contains(" Ready "));
    assert_eq!(ready.count(), 3, "{nodes}");

    let web = cluster.pod("web", Some("node-a"))?;
    // Each node has a pod of the Deployment, names are resolved, and Services lead to pods.
    for node in cluster.nodes()? {
        let cart = cluster.pod("cart-", Some(&node))?;
        let page = cluster.in_pod(&web, &format!("curl -sS -m 5 {}:8080", cart.address))?;
        assert_eq!(page.trim(), cart.name);
    }
    let page = cluster.in_pod(&web, "curl -sS -m 5 cart.shop.svc.cluster.local")?;
    assert!(page.starts_with("cart-"), "{page}");
    // CoreDNS caches the address of a pod that another test has moved.
    cluster.until("the StatefulSet's pod answers by its name", || {
        let page = cluster.in_pod(&web, "curl -sS -m 2 db-0.db.shop.svc.cluster.local:8080");
        Ok(page.is_ok_and(|page| page.trim() == "db-0"))
    })
}

#[test]
fn who_has_no_role_may_read_nothing() -> Result<()> {
    let cluster = Cluster::up()?;
    let someone = cluster.kubeconfig("someone");
    let someone = format!("--kubeconfig={}", someone.display());
    let refused = cluster.kubectl([&someone, "get", "pods", "-n", "shop"]);
    let error = format!("{:#}", refused.expect_err("RBAC is on"));
    assert!(error.contains("forbidden"), "{error}");
    Ok(())
}
