use std::sync::{Arc, Mutex};

use super::*;

/// Two nodes, a dual-stack pod, and one pod of every kind that cannot be followed.
pub(crate) const OBJECTS: &str = r#"
apiVersion: v1
items:
- apiVersion: v1
  kind: Node
  metadata: {name: node-a}
  spec: {podCIDR: 10.244.1.0/24, podCIDRs: [10.244.1.0/24, "fd00:1::/64"]}
  status:
    addresses:
    - {address: 192.168.7.1, type: InternalIP}
    - {address: 203.0.113.1, type: ExternalIP}
    - {address: node-a.example, type: Hostname}
- apiVersion: v1
  kind: Node
  metadata: {name: node-b}
  spec: {podCIDR: 10.244.2.0/24}
  status:
    addresses: [{address: 192.168.7.2, type: InternalIP}]
- apiVersion: v1
  kind: Pod
  metadata: {name: web, namespace: default, labels: {app: web}}
  spec: {nodeName: node-a, containers: [{name: main, image: web}]}
  status: {phase: Running, podIP: 10.244.1.5, podIPs: [{ip: 10.244.1.5}, {ip: "fd00:1::5"}]}
- apiVersion: v1
  kind: Pod
  metadata: {name: cart, namespace: shop}
  spec: {nodeName: node-b}
  status: {phase: Running, podIP: 10.244.2.7, podIPs: [{ip: 10.244.2.7}]}
- apiVersion: v1
  kind: Pod
  metadata: {name: next, namespace: shop}
  spec: {}
  status: {phase: Pending}
- apiVersion: v1
  kind: Pod
  metadata: {name: job, namespace: shop}
  spec: {nodeName: node-b}
  status: {phase: Succeeded, podIP: 10.244.2.9, podIPs: [{ip: 10.244.2.9}]}
- apiVersion: v1
  kind: Pod
  metadata: {name: proxy, namespace: kube-system}
  spec: {nodeName: node-b, hostNetwork: true}
  status: {phase: Running, podIP: 192.168.7.2, podIPs: [{ip: 192.168.7.2}]}
- apiVersion: v1
  kind: Service
  metadata: {name: cart, namespace: shop}
  spec: {clusterIP: 10.96.0.10, clusterIPs: [10.96.0.10], ports: [{port: 80}]}
- apiVersion: v1
  kind: Service
  metadata: {name: headless, namespace: shop}
  spec: {clusterIP: None, clusterIPs: [None]}
- apiVersion: example.org/v1
  kind: Widget
  metadata: {name: 7}
  spec: [pods, 3]
  status: fine
kind: List
"#;

/// Services and their endpoints, as they may be beside [`OBJECTS`]: one of two ports whose pods
/// are cart and web, dual-stack and reached from outside; one with an endpoint outside; one
/// without endpoints; one that is a name.
pub(crate) const SERVICES: &str = r#"
apiVersion: v1
kind: List
items:
- apiVersion: v1
  kind: Service
  metadata: {name: pair, namespace: shop}
  spec:
    type: LoadBalancer
    clusterIP: 10.96.0.20
    clusterIPs: [10.96.0.20, "fd00:96::20"]
    externalIPs: [203.0.113.80]
    ports:
    - {name: http, port: 80, protocol: TCP, targetPort: web, nodePort: 30080}
    - {name: dns, port: 53, protocol: UDP, targetPort: 5353}
  status: {loadBalancer: {ingress: [{ip: 198.51.100.7}, {hostname: lb.example}]}}
- apiVersion: discovery.k8s.io/v1
  kind: EndpointSlice
  metadata: {name: pair-a, namespace: shop, labels: {kubernetes.io/service-name: pair}}
  addressType: IPv4
  ports:
  - {name: http, port: 8080, protocol: TCP}
  - {name: dns, port: 5353, protocol: UDP}
  endpoints:
  - addresses: [10.244.2.7]
    conditions: {ready: true, serving: true, terminating: false}
    nodeName: node-b
    targetRef: {kind: Pod, name: cart, namespace: shop}
  - addresses: [10.244.1.5]
    nodeName: node-a
    targetRef: {kind: Pod, name: web, namespace: default}
- apiVersion: discovery.k8s.io/v1
  kind: EndpointSlice
  metadata: {name: pair-b, namespace: shop, labels: {kubernetes.io/service-name: pair}}
  addressType: IPv6
  ports: [{name: http, port: 8081, protocol: TCP}]
  endpoints:
  - addresses: ["fd00:1::5"]
    conditions: {ready: false}
    nodeName: node-a
    targetRef: {kind: Pod, name: web, namespace: default}
- apiVersion: v1
  kind: Service
  metadata: {name: outside, namespace: shop}
  spec: {clusterIP: 10.96.0.21, clusterIPs: [10.96.0.21], ports: [{port: 5432, targetPort: 5432}]}
- apiVersion: discovery.k8s.io/v1
  kind: EndpointSlice
  metadata: {name: outside-1, namespace: shop, labels: {kubernetes.io/service-name: outside}}
  addressType: IPv4
  ports: [{port: 15432}]
  endpoints: [{addresses: [192.0.2.9]}]
- apiVersion: v1
  kind: Service
  metadata: {name: empty, namespace: shop}
  spec: {clusterIP: 10.96.0.22, clusterIPs: [10.96.0.22], ports: [{port: 80}]}
- apiVersion: discovery.k8s.io/v1
  kind: EndpointSlice
  metadata: {name: empty-1, namespace: shop, labels: {kubernetes.io/service-name: empty}}
  addressType: IPv4
  ports: null
  endpoints: null
- apiVersion: v1
  kind: Service
  metadata: {name: alias, namespace: shop}
  spec: {type: ExternalName, externalName: db.example.com}
"#;

pub(crate) fn parse(text: &str) -> Result<Inventory, InventoryError> {
    Inventory::parse(Path::new("objects.yaml"), text.as_bytes())
}

fn objects() -> Inventory {
    parse(OBJECTS).expect("the objects are fine")
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn refusal(text: &str) -> String {
    parse(text).expect_err("there is no inventory").to_string()
}

fn pod_refusal(namespace: &str, name: &str) -> String {
    let objects = objects();
    let error = objects.pod(namespace, name).expect_err("no such pod");
    error.to_string()
}

#[test]
fn a_pod_has_its_addresses_once_and_its_node() {
    let objects = objects();
    let web = objects.pod("default", "web").expect("it is there");
    assert_eq!(web.addresses, [ip("10.244.1.5"), ip("fd00:1::5")]);
    assert_eq!(web.node, "node-a");
}

#[test]
fn only_running_pods_off_the_host_network_own_addresses() {
    let objects = objects();
    let owner = |address| {
        let owner = objects.owner(ip(address))?;
        Some((owner.name.as_str(), owner.kind, owner.node.as_str()))
    };
    let web = Some(("default/web", OwnerKind::Pod, "node-a"));
    assert_eq!(owner("10.244.1.5"), web);
    assert_eq!(owner("fd00:1::5"), web);
    let node_b = Some(("node-b", OwnerKind::Node, "node-b"));
    assert_eq!(owner("192.168.7.2"), node_b);
    assert_eq!(owner("203.0.113.1").map(|(name, ..)| name), Some("node-a"));
    assert_eq!(owner("10.244.2.9"), None);
    assert_eq!(owner("10.96.0.10"), None);
    // web twice, cart, the nodes' three, and the Service's.
    let owners = objects.owners();
    assert_eq!(owners.len(), 7);
    let service = owners.at(ip("10.96.0.10"), Owners::LATEST);
    let service = service.map(|owner| (owner.name.as_str(), owner.kind, owner.node.as_str()));
    assert_eq!(service, Some(("shop/cart", OwnerKind::Service, "")));
}

#[test]
fn an_address_lives_with_its_owner_or_in_a_pod_network() {
    let objects = objects();
    assert_eq!(objects.home(ip("10.244.2.7")), Some("node-b"));
    assert_eq!(objects.home(ip("192.168.7.1")), Some("node-a"));
    assert_eq!(objects.home(ip("10.244.2.200")), Some("node-b"));
    assert_eq!(objects.home(ip("fd00:1::77")), Some("node-a"));
    assert_eq!(objects.home(ip("8.8.8.8")), None);
    let network = |text: &str| text.parse::<IpNet>().expect("a network");
    let home = |text| objects.home_of_network(network(text));
    assert_eq!(home("10.244.1.0/25"), Some("node-a"));
    assert_eq!(home("10.244.0.0/16"), None);
}

#[test]
fn nodes_and_services_are_known_by_name_and_address() {
    let objects = objects();
    let addresses = objects.node_addresses();
    assert_eq!(addresses["node-a"], [ip("192.168.7.1"), ip("203.0.113.1")]);
    assert_eq!(addresses["node-b"], [ip("192.168.7.2")]);
    assert_eq!(objects.service_at(ip("10.96.0.10")), Some(("shop", "cart")));
    assert_eq!(objects.service_at(ip("10.244.1.5")), None);
    assert!(objects.node("node-b").is_ok());
    let error = objects.node("node-c").expect_err("no such node");
    assert_eq!(
        error.to_string(),
        "objects.yaml holds no node node-c: it has node-a and node-b"
    );
}

#[test]
fn json_and_several_documents_are_read_alike() {
    let node = r#"{"kind": "Node", "metadata": {"name": "n"}, "status": {"addresses": []}}"#;
    let pod = r#"{"metadata": {"name": "p"}, "status": {"podIP": "10.0.0.1"}, "kind": "Pod"}"#;
    let list = format!(r#"{{"kind": "List", "items": [{node}, {pod}]}}"#);
    let documents = format!("---\n{node}\n---\n{pod}\n---\n");
    for text in [list, documents] {
        let objects = parse(&text).expect("these are objects");
        let pod = objects.pod("default", "p").expect("the pod is there");
        assert_eq!(pod.addresses, [ip("10.0.0.1")]);
    }
}

/// As the API server answers `GET /api/v1/pods`, and YAML of it with sorted keys.
#[test]
fn items_of_a_list_that_says_their_kind_need_not() {
    let node = "---\nkind: Node\nmetadata: {name: n}\n";
    let items = "items:\n- metadata:\n    name: p\n  status:\n    podIP: 10.0.0.1\n";
    let sorted = format!("apiVersion: v1\n{items}kind: PodList\nmetadata: {{}}\n{node}");
    let unsorted = format!("kind: PodList\n{items}{node}");
    let inline = "{metadata: {name: p}, status: {podIP: 10.0.0.1}}";
    let inline = format!("kind: PodList\nitems: [{inline}]\n{node}");
    let nodes = r#"{"kind": "NodeList", "items": [{"metadata": {"name": "n"}}]}"#;
    let item = r#"{"metadata": {"name": "p"}, "status": {"podIP": "10.0.0.1"}}"#;
    let json = format!(r#"{{"kind": "PodList", "items": [{item}]}}{nodes}"#);
    let json_sorted = format!(r#"{{"items": [{item}], "kind": "PodList"}}{nodes}"#);
    for text in [sorted, unsorted, inline, json, json_sorted] {
        let objects = parse(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
        let pod = objects.pod("default", "p").expect("the pod is there");
        assert_eq!(pod.addresses, [ip("10.0.0.1")]);
    }
    let untold = format!("{items}kind: List\n{node}");
    assert!(refusal(&untold).contains("(missing field `kind`)"));
    let others = format!("{items}kind: WidgetList\n---\n{OBJECTS}");
    let objects = parse(&others).expect("these are objects");
    assert!(objects.pod("default", "p").is_err(), "a widget is no pod");
}

/// What kubectl prints has much that looks like what is looked for.
const PRINTED: &str = r#"apiVersion: v1
items:
- apiVersion: v1
  kind: Pod
  metadata:
    annotations:
      example.org/manifest: |
        kind: Node
        metadata:
          name: decoy

        status: {podIP: 10.9.9.9}
      example.org/note: 'long

        kind: Node'
    labels:
      name: decoy
    managedFields:
    - apiVersion: v1
      fieldsV1:
        f:status:
          f:podIP: {}
      manager: kubelet
    name: web-0
    namespace: shop
    ownerReferences:
    - kind: StatefulSet
      name: web
  spec:
    containers:
    - name: main
      args:
      - |
        nodeName: decoy
    hostNetwork: false
    # a comment
    nodeName: node-a
    volumes: []
  status:
    conditions:
    - status: "True"
      type: Ready
    containerStatuses:
    - name: main
      phase: decoy
    hostIPs:
    - ip: 192.168.7.1
    phase: Running
    podIP: 10.244.1.5
    podIPs:
    - ip: 10.244.1.5
    - ip: fd00:1::5
- apiVersion: discovery.k8s.io/v1
  endpoints:
  - addresses:
    - 10.244.1.5
  kind: EndpointSlice
  metadata:
    name: decoy
- apiVersion: v1
  kind: Node
  metadata:
    name: node-a
  spec:
    podCIDR: 10.244.1.0/24
    podCIDRs:
    - 10.244.1.0/24
  status:
    addresses:
    - address: 192.168.7.1
      type: InternalIP
    images:
    - names: [decoy]
kind: List
metadata:
  resourceVersion: ""
"#;

#[test]
fn of_what_kubectl_prints_only_the_objects_own_fields_count() {
    // Sequences may be indented, and lines may end as on Windows.
    let indented = PRINTED
        .lines()
        .map(
            |line| match line.starts_with(' ') || line.starts_with('-') {
                true => format!("    {line}\n"),
                false => format!("{line}\n"),
            },
        )
        .collect();
    let windows = PRINTED.replace('\n', "\r\n");
    let marked = format!("\u{feff}%YAML 1.2\n--- # all\n{PRINTED}...\n");
    for text in [PRINTED.to_owned(), indented, windows, marked] {
        let objects = parse(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
        let pod = objects.pod("shop", "web-0").expect("it is there");
        assert_eq!(pod.addresses, [ip("10.244.1.5"), ip("fd00:1::5")]);
        assert_eq!((&*pod.node, &*pod.phase), ("node-a", "Running"));
        assert_eq!(objects.pods.len(), 1);
        assert_eq!(objects.node_addresses()["node-a"], [ip("192.168.7.1")]);
        assert_eq!(objects.home(ip("10.244.1.9")), Some("node-a"));
        assert_eq!(objects.nodes.len(), 1);
    }
}

#[test]
fn errors_name_the_files_own_lines() {
    let broken = PRINTED.replace("podIP: 10.244.1.5\n", "podIP: [10.244.1.5\n");
    let line = broken.lines().position(|line| line.contains("podIP: ["));
    let line = line.expect("it is there") + 1;
    let said = refusal(&broken);
    let lines = said
        .split(" at line ")
        .nth(1)
        .and_then(|rest| rest.split(',').next());
    let told: usize = lines.expect("a line").parse().expect("a number");
    // The bracket's, or where it became clear that it is not closed.
    assert!((line..line + 4).contains(&told), "{said}");
}

#[test]
fn broken_json_is_told_as_such() {
    assert_eq!(
        refusal("{\"kind\": \"List\",\n \"items\": [}"),
        "objects.yaml is not JSON (expected value at line 2 column 12): \
         write it with `kubectl get nodes,pods,services,endpointslices -A -o yaml > objects.yaml`"
    );
    assert!(refusal("{\"metadata\": {}}").contains("(missing field `kind`)"));
    let pod = r#"{"kind": "Pod", "metadata": {"name": "p"}, "status": {"podIP": "x"}}"#;
    let list = format!(r#"{{"kind": "List", "items": [{pod}]}}"#);
    assert!(refusal(&list).starts_with("objects.yaml gives pod default/p the address `x`,"));
}

#[test]
fn standard_input_cannot_be_written_again_by_its_name() {
    let refused = Inventory::parse(
        Path::new("standard input"),
        &b"kind: Pod\nmetadata: {name: p}\n"[..],
    );
    assert_eq!(
        refused.expect_err("no nodes").to_string(),
        "standard input holds no nodes: \
         pipe `kubectl get nodes,pods,services,endpointslices -A -o yaml` into it"
    );
}

/// Lines of a log, for a test to read.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("no panic").write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn reading_tells_how_far_it_is_and_what_it_found() {
    let name = format!("tracer-objects-{:016x}.yaml", crate::random());
    let path = std::env::temp_dir().join(name);
    std::fs::write(&path, OBJECTS).expect("room");
    let (log, mut heard) = (Log::default(), Vec::new());
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().with_writer(move || writer.clone());
    let loaded = tracing::subscriber::with_default(subscriber.finish(), || {
        Inventory::load(&path, |progress| heard.push(progress))
    });
    std::fs::remove_file(&path).expect("it is there");
    assert!(loaded.is_ok());
    let all = OBJECTS.len() as u64;
    let whole = Progress {
        bytes: all,
        of: Some(all),
    };
    assert_eq!(heard.last(), Some(&whole));
    let log = String::from_utf8(log.0.lock().expect("no panic").clone()).expect("text");
    assert!(
        log.contains("read 2 nodes, 5 pods and 2 services from "),
        "{log}"
    );
}

#[test]
fn a_large_cluster_fits() {
    // More values than the parser's own limit, as some thousand pods have.
    let values = "0, ".repeat(300_000);
    let many = format!("{OBJECTS}other: [{values}]\n");
    assert!(parse(&many).is_ok());
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let error =
        Inventory::load(Path::new("/nonexistent/objects.yaml"), |_| {}).expect_err("no such file");
    assert_eq!(
        error.to_string(),
        "the objects file /nonexistent/objects.yaml cannot be read (No such file or directory (os error 2)): \
         write it with `kubectl get nodes,pods,services,endpointslices -A -o yaml > /nonexistent/objects.yaml`"
    );
}

#[test]
fn what_is_not_yaml_is_refused_with_its_line() {
    assert_eq!(
        refusal("kind: List\nitems:\n- kind: Pod\n  metadata: [1\n"),
        "objects.yaml is not YAML (unclosed bracket '[' at line 4, column 13): \
         write it with `kubectl get nodes,pods,services,endpointslices -A -o yaml > objects.yaml`"
    );
    let binary = Inventory::parse(Path::new("objects.yaml"), &b"\x7fELF\xff\xfe"[..]);
    assert!(
        binary
            .expect_err("a program is no text")
            .to_string()
            .starts_with("objects.yaml is not YAML (it is not UTF-8 text): write it with")
    );
}

#[test]
fn yaml_of_something_else_is_refused() {
    assert_eq!(
        refusal("name: Deploy\non: [push]\n"),
        "objects.yaml is YAML, but not of Kubernetes objects (missing field `kind`): \
         write it with `kubectl get nodes,pods,services,endpointslices -A -o yaml > objects.yaml`"
    );
    assert!(
        refusal("No resources found\n")
            .starts_with("objects.yaml is YAML, but not of Kubernetes objects (")
    );
}

#[test]
fn a_file_without_nodes_or_pods_is_refused() {
    let node = "kind: Node\nmetadata: {name: n}\n";
    let pod = "kind: Pod\nmetadata: {name: p}\n";
    assert_eq!(
        refusal(node),
        "objects.yaml holds no pods: \
         write it with `kubectl get nodes,pods,services,endpointslices -A -o yaml > objects.yaml`"
    );
    assert!(refusal(pod).starts_with("objects.yaml holds no nodes: write it with"));
    assert!(refusal("").starts_with("objects.yaml holds no pods: "));
}

#[test]
fn a_nonsense_address_is_refused_with_its_owner() {
    let pod = "kind: Pod\nmetadata: {name: p, namespace: x}\nstatus: {podIP: 10.0.0.256}\n";
    assert_eq!(
        refusal(pod),
        "objects.yaml gives pod x/p the address `10.0.0.256`, which is none: write the file again \
         with `kubectl get nodes,pods,services,endpointslices -A -o yaml > objects.yaml`"
    );
    let node = "kind: Node\nmetadata: {name: n}\nspec: {podCIDR: 10.0.0.0/33}\n";
    assert!(refusal(node).starts_with("objects.yaml gives node n the address `10.0.0.0/33`,"));
}

#[test]
fn an_unknown_pod_brings_up_what_may_be_meant() {
    assert_eq!(
        pod_refusal("default", "wep"),
        "objects.yaml holds no pod default/wep: did you mean default/web?"
    );
    assert_eq!(
        pod_refusal("shop", "ca"),
        "objects.yaml holds no pod shop/ca: did you mean shop/cart?"
    );
    assert_eq!(
        pod_refusal("default", "cart"),
        "objects.yaml holds no pod default/cart, but shop/cart: name the pod with its namespace"
    );
    assert_eq!(
        pod_refusal("payments", "ledger"),
        "objects.yaml holds no pod payments/ledger: `kubectl get pods -A` lists those in the \
         cluster; write the file again to include new ones"
    );
}

#[test]
fn pods_without_an_address_of_their_own_are_refused() {
    assert_eq!(
        pod_refusal("shop", "next"),
        "pod shop/next has no IP address (it is Pending): wait until `kubectl get pod -o wide` shows \
         one, and write the objects file again"
    );
    assert_eq!(
        pod_refusal("shop", "job"),
        "pod shop/job has ended (Succeeded) and its address may be another pod's by now: follow a \
         running pod"
    );
    assert_eq!(
        pod_refusal("kube-system", "proxy"),
        "pod kube-system/proxy is on the host network, so its packets cannot be told from its node's: \
         follow the node's address with --src-ip or --dst-ip 192.168.7.2"
    );
}

#[test]
fn lists_of_names_stay_sentences() {
    let names: Vec<_> = ('a'..='h').map(String::from).collect();
    assert_eq!(list(&names[..1], "and"), "a");
    assert_eq!(list(&names[..3], "or"), "a, b or c");
    assert_eq!(list(&names, "and"), "a, b, c, d, e and 3 more");
}
