//! Completion with names from a cluster or a file: it neither waits for long, nor asks for a
//! password.

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    net::{TcpListener, TcpStream},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use serde_json::json;
use tracer_tests::program::binary;

use crate::{
    help::bash_offers,
    live::terminal::{Terminal, until},
};

/// Less than the tests below would wait for, and much more than a user waits.
const SOON: Duration = Duration::from_secs(60);

/// An API server that has one object of each kind and namespace, called `KINDS` in the default
/// namespace and without a namespace, otherwise `NAMESPACE-KINDS`.
fn server() -> Result<String> {
    fn answer(stream: TcpStream) -> Result<()> {
        let mut input = BufReader::new(stream);
        let mut line = String::new();
        input.read_line(&mut line)?;
        // GET /apis/apps/v1/namespaces/shop/deployments?limit=500 HTTP/1.1
        let path = line.split(['?', ' ']).nth(1).context("a path")?;
        let mut parts = path.rsplit('/');
        let kinds = parts.next().context("a kind")?;
        let name = match (parts.next(), parts.next()) {
            (Some(namespace), Some("namespaces")) if namespace != "default" => {
                format!("{namespace}-{kinds}")
            }
            _ => kinds.to_owned(),
        };
        while input.read_line(&mut line)? > 0 && line != "\r\n" {
            line.clear();
        }
        let object = json!({
            "apiVersion": "meta.k8s.io/v1",
            "kind": "PartialObjectMetadata",
            "metadata": {"name": name},
        });
        let list = json!({
            "apiVersion": "meta.k8s.io/v1",
            "kind": "PartialObjectMetadataList",
            "metadata": {},
            "items": [object],
        })
        .to_string();
        let length = list.len();
        let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close";
        let answer = format!("{head}\r\nContent-Length: {length}\r\n\r\n{list}");
        Ok(input.into_inner().write_all(answer.as_bytes())?)
    }

    let listener = TcpListener::bind("127.0.0.1:0")?;
    let url = format!("http://{}", listener.local_addr()?);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // A client that has gone needs no answer.
            let _: Result<()> = answer(stream);
        }
    });
    Ok(url)
}

/// A kubeconfig whose credentials come from a script. `mode` is the command's interactive mode.
fn kubeconfig(directory: &Path, server: &str, mode: &str, script: &str) -> Result<String> {
    let command = directory.join("credentials.sh");
    fs::write(&command, format!("#!/bin/sh\n{script}\n"))?;
    fs::set_permissions(&command, fs::Permissions::from_mode(0o755))?;
    let kubeconfig = directory.join("kubeconfig");
    let mut exec = json!({
        "apiVersion": "client.authentication.k8s.io/v1",
        "command": command,
    });
    if !mode.is_empty() {
        exec["interactiveMode"] = mode.into();
    }
    // JSON is YAML.
    let content = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "here",
        "contexts": [{"name": "here", "context": {"cluster": "here", "user": "me"}}],
        "clusters": [{"name": "here", "cluster": {"server": server}}],
        "users": [{"name": "me", "user": {"exec": exec}}],
    });
    fs::write(&kubeconfig, content.to_string())?;
    Ok(kubeconfig.to_str().context("a path of text")?.to_owned())
}

/// The pods that completion offers for a kubeconfig.
fn offers(kubeconfig: &str) -> Result<String> {
    completes(&["--kubeconfig", kubeconfig, "--src-pod", ""])
}

/// What completion offers for the last word of a follow. Checks that completion is quick.
fn completes(words: &[&str]) -> Result<String> {
    let words = [&["tracer", "follow"], words].concat();
    let begun = Instant::now();
    let offered = bash_offers(&words)?.join(" ");
    assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
    Ok(offered.trim().to_owned())
}

#[test]
fn a_server_that_never_answers_is_not_waited_for() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let silent = format!("http://{}", listener.local_addr()?);
    let token = r#"echo '{"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential",
        "status": {"token": "t"}}'"#;
    let ask = |server: &str| offers(&kubeconfig(directory.path(), server, "Never", token)?);
    assert_eq!(ask(&silent)?, "");
    assert_eq!(ask(&server()?)?, "pods namespaces/");
    Ok(())
}

#[test]
fn ends_are_completed_from_the_cluster() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let token = r#"echo '{"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential",
        "status": {"token": "t"}}'"#;
    let kubeconfig = kubeconfig(directory.path(), &server()?, "Never", token)?;
    for (word, offered) in [
        ("p", "pod/"),
        ("n", "node/ namespaces:"),
        ("pod/", "pod/pods"),
        ("deployment/", "deployment/deployments"),
        ("shop:deploy/", "shop:deploy/shop-deployments"),
        ("statefulset/", "statefulset/statefulsets"),
        ("shop:ds/sh", "shop:ds/shop-daemonsets"),
        ("replicaset/", "replicaset/replicasets"),
        ("svc/", "svc/services"),
        ("node/", "node/nodes"),
        ("shop:node/", ""),
        ("secret/", ""),
        ("10.244.1.0/", ""),
    ] {
        let words = ["--kubeconfig", &kubeconfig, "--dst", word];
        assert_eq!(completes(&words)?, offered, "{word}");
    }
    let words = ["--kubeconfig", &kubeconfig, "-n", "shop", "--src", "sts/"];
    assert_eq!(completes(&words)?, "sts/shop-statefulsets");
    // Kinds need no cluster.
    let words = ["--kubeconfig", "/nowhere", "--src", "d"];
    assert_eq!(completes(&words)?, "deployment/ daemonset/");
    Ok(())
}

#[test]
fn names_are_completed_from_an_objects_file() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let objects = directory.path().join("objects.json");
    let object = |kind: &str, namespace: &str, name: &str| {
        json!({
            "apiVersion": "v1",
            "kind": kind,
            "metadata": {"name": name, "namespace": namespace},
            "spec": {},
            "status": {},
        })
    };
    let mut node = object("Node", "", "node-a");
    node["metadata"] = json!({"name": "node-a"});
    let items = [
        node,
        object("Pod", "default", "web"),
        object("Pod", "shop", "cart"),
        object("Pod", "shop", "db"),
        object("Service", "shop", "cart"),
    ];
    let list = json!({"apiVersion": "v1", "kind": "List", "items": items});
    fs::write(&objects, list.to_string())?;
    let objects = objects.to_str().context("a path of text")?;
    for (words, offered) in [
        (&["--src-pod", ""][..], "web default/ shop/"),
        (&["--src-pod", "shop/c"], "shop/cart"),
        (&["-n", "shop", "--src-pod", "d"], "db default/"),
        (&["--dst-service", "shop/"], "shop/cart"),
        (&["-n", "sh"], "shop"),
        (&["--dst", ""], "pod/ service/ node/ default: shop:"),
        (&["--dst", "shop:pod/"], "shop:pod/cart shop:pod/db"),
        (&["--dst", "node/"], "node/node-a"),
        // A follow with an objects file has no workloads.
        (&["--dst", "deployment/"], ""),
    ] {
        let words = [&["--inventory", objects], words].concat();
        assert_eq!(completes(&words)?, offered, "{words:?}");
    }
    for missing in ["/nowhere/objects.yaml", "-", "/dev/stdin"] {
        let words = ["--inventory", missing, "--src-pod", ""];
        assert_eq!(completes(&words)?, "", "{missing}");
    }
    Ok(())
}

/// The command does not continue to run either.
#[test]
fn a_command_for_credentials_is_not_waited_for() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let pid = directory.path().join("pid");
    let script = format!("echo $$ > {}; exec sleep 300", pid.display());
    let kubeconfig = kubeconfig(directory.path(), &server()?, "Never", &script)?;
    assert_eq!(offers(&kubeconfig)?, "");
    let pid = fs::read_to_string(pid).context("the command has run")?;
    let process = PathBuf::from(format!("/proc/{}", pid.trim()));
    until("the end of the command", || {
        Ok((!process.exists(), format!("{} is there", process.display())))
    })
}

/// A command that may ask gets no terminal, and a command that has to ask does not run.
#[test]
fn nobody_is_asked_for_a_password() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let place = directory.path();
    let [ran, asked] = ["ran", "asked"].map(|name| place.join(name));
    let script = format!(
        r#"echo > {}
if [ -t 0 ] || (exec < /dev/tty) 2> /dev/null; then
    echo > {}
    printf 'Password: ' > /dev/tty
    read password < /dev/tty
fi
echo '{{"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential",
    "status": {{"token": "t"}}}}'"#,
        ran.display(),
        asked.display()
    );
    let server = server()?;
    let terminal = Terminal::open(place, (150, 30))?;
    let tracer = binary()?;
    terminal.type_text(&format!("source <({} completions bash)", tracer.display()))?;
    terminal.press(&["Enter"])?;
    for (mode, is_run, last) in [
        ("", true, "X"),
        ("IfAvailable", true, "Y"),
        ("Always", false, "Z"),
    ] {
        let kubeconfig = kubeconfig(place, &server, mode, &script)?;
        terminal.type_text(&format!(
            "tracer follow --kubeconfig {kubeconfig} --src-pod po"
        ))?;
        terminal.press(&["Tab"])?;
        // The shell reads on after the completion.
        terminal.type_text(last)?;
        // A space follows the only candidate.
        let offered = if is_run { "pods " } else { "po" };
        terminal.wait_for(&format!("--src-pod {offered}{last}"))?;
        assert_eq!(ran.exists(), is_run, "{mode}");
        assert!(!asked.exists(), "{mode}");
        if is_run {
            fs::remove_file(&ran)?;
        }
        terminal.press(&["C-u", "C-l"])?;
    }
    Ok(())
}
