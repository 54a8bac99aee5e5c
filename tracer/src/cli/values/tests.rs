use std::path::PathBuf;

use super::*;
use crate::inventory::Workload;

fn end(text: &str) -> Result<EndName, String> {
    text.parse()
}

fn named(namespace: Option<&str>, name: &str) -> EndName {
    EndName::Pod(PodName {
        namespace: namespace.map(str::to_owned),
        name: name.to_owned(),
    })
}

fn network(text: &str) -> EndName {
    EndName::Network(text.parse().expect("a network"))
}

#[test]
fn a_pod_is_named_as_kubectl_names_it() {
    assert_eq!(pod("web"), Ok(named(None, "web")));
    assert_eq!(pod("shop/cart"), Ok(named(Some("shop"), "cart")));
    let sentence = "invalid pod name; give NAME or NAMESPACE/NAME";
    for text in ["", "/", "shop/", "/cart", "a/b/c", "shop:cart", "two words"] {
        assert_eq!(pod(text), Err(sentence.to_owned()), "{text}");
    }
}

#[test]
fn an_end_is_an_object_an_address_or_a_network() {
    assert_eq!(end("pod/web"), Ok(named(None, "web")));
    assert_eq!(end("po/web"), Ok(named(None, "web")));
    assert_eq!(end("shop:pod/cart"), Ok(named(Some("shop"), "cart")));
    assert_eq!(end("10.244.1.5"), Ok(network("10.244.1.5/32")));
    assert_eq!(end("fd00::5"), Ok(network("fd00::5/128")));
    assert_eq!(end("::ffff:10.0.0.1"), Ok(network("10.0.0.1/32")));
    assert_eq!(end("fd00:1::/64"), Ok(network("fd00:1::/64")));
    assert_eq!(end("0.0.0.0/0"), Ok(network("0.0.0.0/0")));
}

#[test]
fn pods_are_named_together_by_what_keeps_them_running_or_by_labels() {
    let group = |namespace: Option<&str>, pods| {
        let namespace = namespace.map(str::to_owned);
        Ok(EndName::Group { namespace, pods })
    };
    let of = |workload, name: &str| Pods::Of(workload, name.to_owned());
    let labelled = |labels: &str| Pods::Labelled(labels.to_owned());
    assert_eq!(
        end("deploy/web"),
        group(None, of(Workload::Deployment, "web"))
    );
    assert_eq!(
        end("shop:sts/db"),
        group(Some("shop"), of(Workload::StatefulSet, "db"))
    );
    assert_eq!(
        end("daemonset/x"),
        group(None, of(Workload::DaemonSet, "x"))
    );
    assert_eq!(end("app=web"), group(None, labelled("app=web")));
    let labels = "app.kubernetes.io/name=web,tier!=cache";
    assert_eq!(end(labels), group(None, labelled(labels)));
    assert_eq!(
        end("shop:app=web"),
        group(Some("shop"), labelled("app=web"))
    );
    assert_eq!(end("node/node-a"), Ok(EndName::Node("node-a".to_owned())));
    let sentence = "invalid statefulset name; give [NAMESPACE:]statefulset/NAME";
    assert_eq!(end("sts/a/b"), Err(sentence.to_owned()));
}

#[test]
fn a_service_is_named_with_a_port_or_without() {
    let of = |namespace: Option<&str>, name: &str, port| {
        Ok(EndName::Service(ServiceName {
            namespace: namespace.map(str::to_owned),
            name: name.to_owned(),
            port,
        }))
    };
    let named = |name: &str| Some(PortName::Name(name.to_owned()));
    assert_eq!(service("cart"), of(None, "cart", None));
    assert_eq!(service("shop/cart"), of(Some("shop"), "cart", None));
    let numbered = of(Some("shop"), "cart", Some(PortName::Number(80)));
    assert_eq!(service("shop/cart:80"), numbered);
    assert_eq!(service("cart:http-2"), of(None, "cart", named("http-2")));
    assert_eq!(end("service/cart"), of(None, "cart", None));
    assert_eq!(end("svc/cart:http"), of(None, "cart", named("http")));
    assert_eq!(end("shop:svc/cart:80"), numbered);
    for text in [
        "",
        "/",
        "shop/",
        "a/b/c",
        "cart:",
        "cart:0",
        "cart:65536",
        "cart:a b",
        "c:80:1",
    ] {
        let sentence = "invalid service name; give [NAMESPACE/]NAME[:PORT]";
        assert_eq!(service(text), Err(sentence.to_owned()), "{text}");
        let sentence = "invalid service name; give [NAMESPACE:]service/NAME[:PORT]";
        let text = format!("svc/{}", text.replace("shop/", "/"));
        assert_eq!(end(&text), Err(sentence.to_owned()), "{text}");
    }
}

#[test]
fn host_bits_of_a_network_are_cut() {
    assert_eq!(end("10.244.1.77/24"), Ok(network("10.244.1.0/24")));
    assert_eq!(end("fd00:1::9/64"), Ok(network("fd00:1::/64")));
}

#[test]
fn a_bad_end_is_refused_with_what_would_do() {
    let refusal = |text| end(text).expect_err("this is no end");
    for text in ["web", "10.244.1.500", "10.244.1", "fd00::zz", ""] {
        assert_eq!(
            refusal(text),
            "neither an address nor an object; give [NAMESPACE:]pod/NAME, service/NAME, labels such as app=web, an \
             address such as 10.244.1.5, or a network such as 10.244.1.0/24",
            "{text}"
        );
    }
    for text in ["10.244.1.0/33", "fd00::/129", "10.0.0.0/", "10.0.0.0/x"] {
        assert_eq!(
            refusal(text),
            "not a network; the prefix length after / goes to 32 for IPv4 and 128 for IPv6",
            "{text}"
        );
    }
    for (text, kind) in [("ingress/cart", "ingress"), ("job/a", "job")] {
        assert_eq!(
            refusal(text),
            format!(
                "the kind {kind} cannot be followed; give [NAMESPACE:]pod/NAME, service/NAME, \
                 deployment/NAME, statefulset/NAME, daemonset/NAME, labels such as app=web, \
                 node/NAME, an address or a network"
            )
        );
    }
    for text in ["pod/", ":pod/web", "shop:pod/a/b", "pod/a b"] {
        let sentence = "invalid pod name; give [NAMESPACE:]pod/NAME";
        assert_eq!(refusal(text), sentence, "{text}");
    }
    for text in ["0.0.0.0", "::", "127.0.0.1", "::1"] {
        assert_eq!(
            refusal(text),
            "no packet between two pods carries this address; give a pod's or a node's",
            "{text}"
        );
    }
}

#[test]
fn an_address_is_no_network() {
    assert_eq!(address("10.1.2.3"), end("10.1.2.3"));
    for text in ["10.244.1.0/24", "web", "10.244.1.256", ""] {
        assert_eq!(
            address(text).expect_err("this is no address"),
            "not an IP address; give one such as 10.244.1.5 or fd00::5 (--src and --dst take networks)",
            "{text}"
        );
    }
}

#[test]
fn ports_and_counts_begin_at_one() {
    assert_eq!(port("1"), Ok(1));
    assert_eq!(port("65535"), Ok(65535));
    for text in ["0", "65536", "-1", "http", ""] {
        let sentence = "not a port; give a number from 1 to 65535";
        assert_eq!(port(text), Err(sentence.to_owned()), "{text}");
    }
    assert_eq!(positive("100"), Ok(100_u32));
    for text in ["0", "-3", "1.5", "5000000000", ""] {
        let sentence = "give a whole number from 1 on, such as 100";
        assert_eq!(positive::<u32>(text), Err(sentence.to_owned()), "{text}");
    }
}

#[test]
fn time_spans_have_units_and_bounds() {
    assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
    assert_eq!(duration("5m"), Ok(Duration::from_secs(300)));
    assert_eq!(duration("1h 30m"), Ok(Duration::from_secs(5400)));
    for text in ["30", "soon", "", "-5s", "99999999999999999999s"] {
        assert_eq!(
            duration(text).expect_err("this is no time span"),
            "not a time span; give a number and its unit, such as 30s, 5m or 500ms",
            "{text}"
        );
    }
    for text in ["0s", "2years"] {
        assert_eq!(
            duration(text).expect_err("this is out of bounds"),
            "give a time between 1ms and one year",
            "{text}"
        );
    }
}

#[test]
fn ring_sizes_are_powers_of_two() {
    assert_eq!(ring_size("4096"), Ok(4096));
    assert_eq!(ring_size("4KiB"), Ok(4096));
    assert_eq!(ring_size("8MiB"), Ok(8 << 20));
    assert_eq!(ring_size("1GiB"), Ok(1 << 30));
    for text in [
        "0",
        "5000",
        "3MiB",
        "2GiB",
        "8GiB",
        "8mb",
        "MiB",
        "",
        "-4096",
        "9999999999",
    ] {
        assert_eq!(
            ring_size(text).expect_err("this is no ring size"),
            "not a size of a ring buffer; give a power of two from the page size to 1GiB, such as \
             65536, 512KiB or 8MiB",
            "{text}"
        );
    }
}

#[test]
fn a_snaplen_is_what_the_programs_have_room_for() {
    assert_eq!(snaplen("1"), Ok(1));
    assert_eq!(snaplen("2048"), Ok(2048));
    for text in ["0", "2049", "-1", "", "1KiB", "all"] {
        assert_eq!(
            snaplen(text).expect_err("this is no length"),
            "give a number of bytes from 1 to 2048, such as 256",
            "{text}"
        );
    }
}

#[test]
fn an_agent_is_local_in_a_namespace_or_behind_a_command() {
    let agent = |text: &str| text.parse::<AgentSpec>();
    let spec = |node: &str, place| AgentSpec {
        node: node.to_owned(),
        place,
    };
    assert_eq!(agent("node-a=local"), Ok(spec("node-a", Place::Local)));
    let path = PathBuf::from("/run/netns/a=b:c");
    assert_eq!(
        agent("node-a=netns:/run/netns/a=b:c"),
        Ok(spec("node-a", Place::Netns(path)))
    );
    let command = "ssh node-b sudo tracer agent --stdio";
    assert_eq!(
        agent(&format!("node-b=exec:{command}")),
        Ok(spec("node-b", Place::Exec(command.to_owned())))
    );
    for text in ["", "node-a", "=local"] {
        assert_eq!(
            agent(text).expect_err("no node is named"),
            "not an agent; give NODE=pod, NODE=local, NODE=netns:PATH, NODE=ssh:HOST or NODE=exec:COMMAND",
            "{text}"
        );
    }
    for given in ["", "here", "netns:", "netns", "exec: ", "local:x"] {
        assert_eq!(
            agent(&format!("node-a={given}")).expect_err("this is no way"),
            format!(
                "unknown agent type `{given}`; give node-a=pod, node-a=local (this machine), \
                 node-a=netns:PATH (a network namespace here), node-a=ssh:HOST or \
                 node-a=exec:COMMAND (it runs `tracer agent --stdio` there)"
            )
        );
    }
}

#[test]
fn a_host_is_not_what_a_shell_would_run() {
    let agent = |host: &str| format!("node-b=ssh:{host}").parse::<AgentSpec>();
    for host in ["node-b", "root@10.0.0.7", "admin@[2001:db8::7]"] {
        let spec = agent(host).map(|spec| spec.place);
        assert_eq!(spec, Ok(Place::Ssh(host.to_owned())));
    }
    for host in ["", "-oProxyCommand=x", "a b", "a;b", "a'b", "$(b)"] {
        let refusal = agent(host).expect_err(host);
        assert!(refusal.contains("is no host"), "{refusal}");
    }
}
