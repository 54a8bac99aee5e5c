use std::fs;

use anyhow::Result;
use tracer_tests::program::tracer;
use tracer_tests::{Lab, LabSpec};

use crate::{assert_refused, attached, full_name, refusal};

const COMMAND: &str = "kubectl get nodes,pods,services,endpointslices -A -o yaml";

/// A `tracer follow` from the lab's first pod to its second, with other arguments.
struct Follow {
    lab: Lab,
    objects: String,
    agents: Vec<String>,
    pods: [String; 2],
}

impl Follow {
    fn new() -> Result<Self> {
        let lab = Lab::new(&LabSpec::default())?;
        let mut agents = lab.agent_args()?;
        let objects = agents.remove(1);
        agents.remove(0);
        Ok(Self {
            pods: [0, 1].map(|pod| full_name(&lab.pods[pod])),
            lab,
            objects,
            agents,
        })
    }

    fn refused(
        &self,
        objects: &str,
        agents: &[impl AsRef<str>],
        [source, destination]: [&str; 2],
        sentence: &str,
    ) -> Result<()> {
        let mut command = tracer(["follow", "--inventory", objects])?;
        command.args(agents.iter().map(AsRef::as_ref));
        command.args(["--src-pod", source, "--dst-pod", destination]);
        assert_refused(&mut command, 1, sentence)
    }

    /// Other names than those of the lab's pods are refused.
    fn pods_refused(&self, pods: [&str; 2], sentence: &str) -> Result<()> {
        self.refused(&self.objects, &self.agents, pods, sentence)
    }

    /// Other agents than the lab's are refused.
    fn agents_refused(&self, agents: &[&str], sentence: &str) -> Result<()> {
        let agents: Vec<&str> = agents.iter().flat_map(|spec| ["--agent", spec]).collect();
        let [source, destination] = &self.pods;
        self.refused(&self.objects, &agents, [source, destination], sentence)
    }

    /// Another objects file is refused.
    fn objects_refused(&self, objects: &str, sentence: &str) -> Result<()> {
        let [source, destination] = &self.pods;
        self.refused(objects, &self.agents, [source, destination], sentence)
    }

    /// Writes a file that is removed with the lab.
    fn file(&self, name: &str, content: &[u8]) -> Result<String> {
        let path = self.lab.directory()?.join(name);
        fs::write(&path, content)?;
        Ok(path.display().to_string())
    }

    fn finish(self) -> Result<()> {
        assert_eq!(attached(&self.lab)?, [""; 0]);
        Ok(())
    }
}

#[test]
fn pods_that_are_not_there() -> Result<()> {
    let follow = Follow::new()?;
    let [source, destination] = &follow.pods;
    let objects = &follow.objects;
    let misspelt = format!("{source}x");
    follow.pods_refused(
        [&misspelt, destination],
        &format!("{objects} holds no pod {misspelt}: did you mean {source}?"),
    )?;
    let unlike = "team-a/no-pod-is-called-so";
    follow.pods_refused(
        [source, unlike],
        &format!(
            "{objects} holds no pod {unlike}: `kubectl get pods -A` lists those in the \
             cluster; write the file again to include new ones"
        ),
    )?;
    let name = &follow.lab.pods[0].name;
    follow.pods_refused(
        [&format!("elsewhere/{name}"), destination],
        &format!(
            "{objects} holds no pod elsewhere/{name}, but {source}: name the pod with its namespace"
        ),
    )?;
    follow.finish()
}

#[test]
fn pods_that_cannot_be_followed() -> Result<()> {
    let follow = Follow::new()?;
    let [source, _] = &follow.pods;
    let pod = &follow.lab.pods[0];
    let addresses = format!(
        "    podIP: {}\n    podIPs:\n    - ip: {}\n    - ip: {}\n",
        pod.v4, pod.v4, pod.v6
    );
    let yaml = follow.lab.objects_yaml();
    assert!(yaml.contains(&addresses));

    let pending = yaml
        .replace(&addresses, "")
        .replacen("phase: Running", "phase: Pending", 1);
    follow.objects_refused(
        &follow.file("pending.yaml", pending.as_bytes())?,
        &format!(
            "pod {source} has no IP address (it is Pending): wait until `kubectl get pod -o wide` \
             shows one, and write the objects file again"
        ),
    )?;
    let ended = yaml.replacen("phase: Running", "phase: Succeeded", 1);
    follow.objects_refused(
        &follow.file("ended.yaml", ended.as_bytes())?,
        &format!(
            "pod {source} has ended (Succeeded) and its address may be another pod's by now: \
             follow a running pod"
        ),
    )?;
    let v4 = pod.v4.to_string();
    let odd = follow.file("odd.yaml", yaml.replace(&v4, "10.244.1.500").as_bytes())?;
    follow.objects_refused(
        &odd,
        &format!(
            "{odd} gives pod {source} the address `10.244.1.500`, which is none: write the file \
             again with `{COMMAND} > {odd}`"
        ),
    )?;
    follow.finish()
}

#[test]
fn nodes_and_namespaces_that_are_not_there() -> Result<()> {
    let follow = Follow::new()?;
    let [first, second] = [0, 1].map(|node| &*follow.lab.nodes[node].name);
    let here = follow.lab.nodes[0].netns.path.display();
    follow.agents_refused(
        &[],
        &format!(
            "no agent for {first} and {second}: add --agent {first}=local if this machine is \
             {first}, or --agent {first}=exec:COMMAND"
        ),
    )?;
    follow.agents_refused(
        &["elsewhere=local"],
        &format!(
            "{} holds no node elsewhere: it has {first} and {second}",
            follow.objects
        ),
    )?;
    let good = format!("{first}=netns:{here}");
    follow.agents_refused(
        &[
            &good,
            &format!("{second}=netns:/run/netns/no-such-namespace"),
        ],
        &format!(
            "the network namespace /run/netns/no-such-namespace of node {second} cannot be opened \
             (No such file or directory (os error 2)): `ip netns list` shows those with names, and \
             opening others takes root"
        ),
    )?;
    let objects = &follow.objects;
    follow.agents_refused(
        &[&good, &format!("{second}=netns:{objects}")],
        &format!(
            "{objects}, given for node {second}, is no network namespace: give a file such as \
             /run/netns/NAME or /proc/PID/ns/net"
        ),
    )?;
    follow.agents_refused(
        &[&good, &format!("{second}=netns:{here}")],
        &format!(
            "the agents of {first} and {second} are in the same network namespace: give each node \
             its own"
        ),
    )?;
    follow.finish()
}

/// The other node's agent is right, and its programs are detached.
#[test]
fn a_namespace_that_is_not_the_nodes() -> Result<()> {
    let follow = Follow::new()?;
    let [good, other] = [0, 1].map(|node| &follow.lab.nodes[node]);
    let mut command = tracer(["follow", "--inventory", &follow.objects])?;
    command.args(["--src-pod", &follow.pods[0], "--dst-pod", &follow.pods[1]]);
    for (node, netns) in [(good, &good.netns), (other, &follow.lab.middle)] {
        let spec = format!("{}=netns:{}", node.name, netns.path.display());
        command.args(["--agent", &spec]);
    }
    let sentence = refusal(&mut command, 1)?;
    let beginning = format!(
        "{}: node-side interface of pod {} was not found: there is no route to it",
        other.name, follow.lab.pods[1].v4
    );
    assert!(sentence.starts_with(&beginning), "{sentence}");
    let end = "is the pod running on this node?";
    assert!(sentence.ends_with(end), "{sentence}");
    follow.finish()
}

#[test]
fn objects_files_that_are_none() -> Result<()> {
    let follow = Follow::new()?;
    let say = |objects: &str, sentence: &str| follow.objects_refused(objects, sentence);
    let missing = follow.lab.directory()?.join("missing.yaml");
    let missing = missing.display();
    say(
        &missing.to_string(),
        &format!(
            "the objects file {missing} cannot be read (No such file or directory (os error 2)): \
             write it with `{COMMAND} > {missing}`"
        ),
    )?;
    let binary = follow.file("binary.yaml", &[0x7f, b'E', b'L', b'F', 0xff])?;
    say(
        &binary,
        &format!(
            "{binary} is not YAML (it is not UTF-8 text): write it with `{COMMAND} > objects.yaml`"
        ),
    )?;
    let cut = follow.file("cut.yaml", b"apiVersion: v1\nitems: [1,\n")?;
    say(
        &cut,
        &format!(
            "{cut} is not YAML (unclosed bracket '[' at line 2, column 8): write it with \
             `{COMMAND} > objects.yaml`"
        ),
    )?;
    let without = |kind: &str, what: &str| -> Result<()> {
        let yaml = follow.lab.objects_yaml();
        let other = yaml.replace(&format!("  kind: {kind}\n"), "  kind: Secret\n");
        let file = follow.file("without.yaml", other.as_bytes())?;
        let sentence = format!("{file} holds no {what}: write it with `{COMMAND} > {file}`");
        follow.objects_refused(&file, &sentence)
    };
    without("Pod", "pods")?;
    without("Node", "nodes")?;
    let empty = follow.file("empty.yaml", b"")?;
    say(
        &empty,
        &format!("{empty} holds no pods: write it with `{COMMAND} > {empty}`"),
    )?;
    follow.finish()
}

/// A wrong file may be secret. The message shows little of it, and suggests nobody to overwrite it.
#[test]
fn a_file_of_something_else_is_not_recited() -> Result<()> {
    let follow = Follow::new()?;
    let line = "all work and no play makes jack a dull boy\n";
    let file = follow.file("something-else", line.repeat(100).as_bytes())?;
    let mut command = tracer(["follow", "--inventory", &file])?;
    command.args(["--src-pod", &follow.pods[0], "--dst-pod", &follow.pods[1]]);
    let sentence = refusal(&mut command, 1)?;
    let beginning = format!("{file} is YAML, but not of Kubernetes objects (invalid type: ");
    assert!(sentence.starts_with(&beginning), "{sentence}");
    let end = format!("…): write it with `{COMMAND} > objects.yaml`");
    assert!(sentence.ends_with(&end), "{sentence}");
    assert!(sentence.len() < 400, "{sentence}");
    follow.finish()
}
