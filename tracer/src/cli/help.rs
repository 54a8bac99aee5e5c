//! The handwritten parts of the help: mostly the ends of commands' help, with examples and exit
//! codes.

/// The end of the help of `tracer` itself.
pub(super) const TRACER: &str = "\
EXAMPLES
  tracer follow --src-pod default/web --dst-pod shop/cart
  tracer follow --src-pod default/web --dst-service shop/cart:80
  tracer follow --src-ip 10.244.1.5 --dst-ip 10.244.2.7 --proto tcp
  tracer follow --help            all options, with examples
  tracer drops                    what the kernel drops, and why
  tracer record -w a.arrows …     record a follow
  tracer replay a.arrows          show it again, anywhere

EXIT CODES
  0 traced   1 failure   2 bad syntax   3 not as expected   4 nothing matched";

/// The usage of `tracer follow`. clap's own line would be 120 columns wide.
pub(super) const FOLLOW_USAGE: &str = "\
tracer follow [OPTIONS]
           <--src END | --src-pod POD | --src-service SERVICE | --src-ip IP>
           <--dst END | --dst-pod POD | --dst-service SERVICE | --dst-ip IP |
            --dns>";

/// The end of the help of `tracer follow`.
pub(super) const FOLLOW: &str = "\
EXAMPLES
  Two pods of the current cluster:
    tracer follow --src-pod default/web --dst-pod shop/cart

  Two pods, as seen from this machine, which is node-a:
    kubectl get nodes,pods,services,endpointslices -A -o yaml > objects.yaml
    tracer follow --inventory objects.yaml --agent node-a=local \\
      --src-pod default/web --dst-pod shop/cart

  A pod and a Service, before and after kube-proxy's translation:
    tracer follow --src-pod default/web --dst-service shop/cart
    tracer follow --src-pod default/web --dst shop:service/cart:http

  Both nodes, in a lab or kind, whose nodes are network namespaces:
    tracer follow --inventory objects.yaml --src-pod web --dst-pod shop/cart \\
      --agent node-a=netns:/run/netns/node-a \\
      --agent node-b=netns:/run/netns/node-b

  A pod's DNS, to any server, with times and return codes:
    tracer follow --src-pod default/web --dns

  What this machine's pods send to an address in ten seconds, as JSON:
    tracer follow --src 10.244.1.0/24 --dst-ip 203.0.113.9 --proto udp \\
      --dst-port 123 --duration 10s -o json

  Check in a script whether the next ten packets arrive:
    tracer follow --src-ip 10.244.1.5 --dst-ip 10.244.2.7 --count 10 \\
      --expect delivered

  Check flows that must or must not pass (docs/expectations.md):
    tracer follow --src-pod web --dst-pod shop/cart --duration 30s \\
      --expect-file flows.yaml --junit report.xml

  Record all packets, and show those that are dropped, lost or slow:
    tracer follow --src-ip 10.244.1.5 --dst-ip 10.244.2.7 -w trace.arrows \\
      --where 'verdict:dropped,lost or >10ms'

  Lines on a terminal, with the hops of every journey:
    tracer follow --src-ip 10.244.1.5 --dst-ip 10.244.2.7 --hops

  Every hop in Wireshark, live (`tracer extcap install` offers it there):
    tracer follow --src-pod web --dst-pod shop/cart -o pcapng \\
      | wireshark -k -i -

  Record as well, and show it again (overwrites an existing trace.arrows):
    tracer follow --src-ip 10.244.1.5 --dst-ip 10.244.2.7 -w trace.arrows
    tracer replay trace.arrows

  See packets as the nodes' drivers receive them, before GRO and tc:
    tracer follow --src-pod web --dst-pod shop/cart --xdp

  Only show what would be observed:
    tracer follow --src-ip 10.244.1.5 --dst-ip 10.244.2.7 --dry-run

EXIT CODES
  0 success: at least one packet matched, or --dry-run showed everything
  1 failure: an unknown name, an unreadable file, a missing capability
  2 bad syntax: arguments that are wrong or contradict each other
  3 not as expected: with --expect delivered, a packet was not delivered, or
    no packet was; with --expect-file, a flow differs. Packets that were on
    their way at the start or the end do not count
  4 nothing matched
  When the reader of stdout goes away (| head), tracer ends quietly with 0.";

/// The help of `--where`. It begins with what the command does with the journeys.
macro_rules! expression {
    ($first:literal) => {
        concat!(
            $first,
            " All terms must match; `or` joins alternatives, ( ) groups, - negates.\n
  verdict:dropped,lost   or cause: confidence: direction: and problem
  pod:cart node:node-b   names or parts; pod:=shop/cart is a whole one
  ip:10.244.0.0/16       of either end; or src: dst:
  port:80,8000..8999     of either end; or sport: dport:
  proto:tcp flags:syn    and len:>1400 retransmission
  at:node-a/eth0         an interface; drop:NETFILTER a drop
  >1ms leg:flannel.1>1ms the whole way, and a leg of it
  time:12:34..12:35      and id:7 conversation:5eed000000000007

docs/where.md describes them all."
        )
    };
}

/// The help of `tracer follow --where`.
pub(super) const FOLLOW_WHERE: &str = expression!(
    "Show only journeys that match. Sums, the exit code and --expect count all journeys, and all are \
     recorded; --count counts those that match."
);

/// The help of `tracer replay --where`.
pub(super) const REPLAY_WHERE: &str =
    expression!("Show only journeys that match. Sums and the exit code count all journeys.");

/// The help of `tracer stats --where`.
pub(super) const STATS_WHERE: &str = expression!("Summarize only journeys that match.");

/// The help of `tracer export --where`.
pub(super) const EXPORT_WHERE: &str =
    expression!("Export only journeys that match. Sums and the exit code count all journeys.");

/// The usage of `tracer agent`. It leaves out the options that only tracer itself uses.
pub(super) const AGENT_USAGE: &str = "tracer agent [OPTIONS] --stdio";

/// The end of the help of `tracer agent`.
pub(super) const AGENT: &str = "\
EXAMPLES
  On the machine where the follow runs, with tracer installed on node-b:
    tracer follow --inventory objects.yaml --src-pod web --dst-pod shop/cart \\
      --agent node-a=local --agent node-b=ssh:node-b

  With a command of your own:
    tracer follow --inventory objects.yaml --src-pod web --dst-pod shop/cart \\
      --agent node-a=local \\
      --agent 'node-b=exec:docker exec -i node-b tracer agent --stdio'

  Without a connection: record on the node, and join the recordings later:
    ssh node-b sudo tracer record --src-ip 10.244.1.5 --dst-ip 10.244.2.7 \\
      --duration 1m -w - > node-b.arrows";

/// The end of the help of `tracer drops`.
pub(super) const DROPS: &str = "\
EXAMPLES
  What this machine's kernel drops, now:
    tracer drops

  What the kernels of all nodes of a cluster drop, or those around one pod or a namespace's pods:
    tracer drops --all-nodes
    tracer drops --pod shop/cart
    tracer drops -n shop

  By pod, on this machine, which is node-a of the cluster:
    kubectl get nodes,pods,services,endpointslices -A -o yaml > objects.yaml
    tracer drops --inventory objects.yaml --agent node-a=local

  One pod, in a lab or kind, whose nodes are network namespaces:
    tracer drops --inventory objects.yaml --pod shop/cart \\
      --agent node-a=netns:/run/netns/node-a \\
      --agent node-b=netns:/run/netns/node-b

  With the cluster's current objects:
    kubectl get nodes,pods,services,endpointslices -A -o yaml \\
      | tracer drops --inventory - --agent node-a=local

  Count the reasons of a minute:
    tracer drops --duration 1m -o json | jq -r 'select(.reason) | .reason' \\
      | sort | uniq -c

EXIT CODES
  0 shown: at least one packet was dropped, or may have been
  1 failure: an unknown name, an unreadable file, a missing capability
  2 bad syntax: arguments that are wrong or contradict each other
  4 nothing was dropped
  When the reader of stdout goes away (| head), tracer ends quietly with 0.";

/// The usage of `tracer record`.
pub(super) const RECORD_USAGE: &str = "\
tracer record [OPTIONS] --write FILE
           <--src END | --src-pod POD | --src-service SERVICE | --src-ip IP>
           <--dst END | --dst-pod POD | --dst-service SERVICE | --dst-ip IP |
            --dns>";

/// The end of the help of `tracer record`.
pub(super) const RECORD: &str = "\
EXAMPLES
  For ten minutes, on this machine, which is node-a:
    tracer record -w trace.arrows --duration 10m \\
      --inventory objects.yaml --agent node-a=local \\
      --src-pod default/web --dst-pod shop/cart
    tracer replay trace.arrows

  On each of two nodes, to be joined later:
    node-a# tracer record -w a.arrows --key-file secret …
    node-b# tracer record -w b.arrows --key-file secret …
    tracer replay a.arrows b.arrows

  For days: 24 files of an hour, the oldest are removed:
    tracer record -w trace.arrows --rotate-time 1h --rotate-keep 24 …

  Record the first bytes of each frame, payload included, for Wireshark:
    tracer record -w trace.arrows --snaplen 256 …
    tracer export trace.arrows --format pcapng -o trace.pcapng

  To give to somebody else:
    tracer record -w trace.arrows --anonymize …

  Record here, and show it on another machine at the same time:
    tracer record -w - … | ssh laptop tracer replay -

EXIT CODES
  0 recorded   1 failure, such as a full disk   2 bad syntax
  4 nothing matched";

/// The end of the help of `tracer replay`.
pub(super) const REPLAY: &str = "\
EXAMPLES
  tracer replay trace.arrows
  tracer replay trace.arrows trace.1.arrows trace.2.arrows | less
  tracer replay trace.arrows --hops
  tracer replay node-a.arrows node-b.arrows
  ssh node-a cat trace.arrows | tracer replay -

  Packets that did not arrive, and slow SYNs:
    tracer replay trace.arrows --where '-verdict:delivered'
    tracer replay trace.arrows --where 'flags:syn port:8080 >1ms'

  Why packets did not arrive, one line each:
    tracer replay trace.arrows -o json --where '-verdict:delivered' \\
      | jq -r 'select(.verdict) | .verdict.text'

  Check flows that must or must not pass (docs/expectations.md):
    tracer replay trace.arrows --expect-file flows.yaml --junit report.xml

  In Python:
    import pyarrow as pa
    table = pa.ipc.open_stream(\"trace.arrows\").read_all()

EXIT CODES
  0 shown   1 failure: not a recording, or a damaged one, which is shown up to
  the damage   2 bad syntax   3 with --expect-file: a flow differs   4 no
  packets in it";

/// The end of the help of `tracer export`.
pub(super) const EXPORT: &str = "\
EXAMPLES
  tracer export trace.arrows --format pcapng -o trace.pcapng --profile
  WIRESHARK_CONFIG_DIR=trace.pcapng.profile wireshark trace.pcapng

  Dropped packets, each with its reason:
    tracer export trace.arrows --format pcapng --where verdict:dropped \\
      | tshark -r - -T fields -e frame.interface_name -e frame.comment

  A capture for each interface and direction, as tcpdump would write it:
    tracer export trace.arrows --format pcapng --split point -o captures

  Tables for SQL: hops, journeys, drops, points and owners, by hour:
    tracer export trace.arrows --format parquet -o trace
    duckdb -c \"select verdict, count(*)
      from 'trace/journeys/**/*.parquet' group by all\"

  docs/exports.md describes each format.

EXIT CODES
  0 written   1 failure: not a recording, a damaged one, a full disk:
  an existing OUT stays   2 bad syntax   4 no packets in it";

/// The usage of `tracer extcap`, for users and for Wireshark.
pub(super) const EXTCAP_USAGE: &str = "\
tracer extcap install [--dir DIR]
       tracer extcap --extcap-interfaces
       tracer extcap --extcap-interface tracer <--extcap-dlts | --extcap-config>
       tracer extcap --extcap-interface tracer --capture --fifo FIFO [FOLLOW]...";

/// The end of the help of `tracer extcap`.
pub(super) const EXTCAP: &str = "\
EXAMPLES
  Once, for Wireshark and tshark:
    tracer extcap install

  Then, in Wireshark, choose the interface `tracer: packet path`; or:
    tshark -i tracer -o extcap.tracer.src:shop:pod/web \\
      -o extcap.tracer.dst:shop:service/cart -T fields -e frame.comment

  What Wireshark runs:
    tracer extcap --extcap-interface tracer --capture --fifo /tmp/fifo \\
      --src shop:pod/web --dst shop:service/cart

  Without installing anything:
    tracer follow --src-pod web --dst-pod cart -o pcapng | wireshark -k -i -

  docs/exports.md describes the capture.

EXIT CODES
  Those of tracer follow";

/// The end of the help of `tracer extcap install`.
pub(super) const EXTCAP_INSTALL: &str = "\
EXAMPLES
  tracer extcap install
  sudo tracer extcap install --dir /usr/lib/x86_64-linux-gnu/wireshark/extcap

  The link leads to this tracer, and replaces only a link to another tracer.

EXIT CODES
  0 in place   1 failure: another file has its name   2 bad syntax";

/// The end of the help of `tracer import`.
pub(super) const IMPORT: &str = "\
EXAMPLES
  tcpdump on both nodes' uplinks, one direction each:
    node-a# tcpdump -i eth0 -Q out -w a.pcap
    node-b# tcpdump -i eth0 -Q in -w b.pcap
    tracer import a.pcap b.pcap -o both.arrows \\
      --at node-a/eth0/out --at node-b/eth0/in
    tracer replay both.arrows

  Both directions in one file, which the interface's MAC address tells apart:
    tracer import a.pcap -o a.arrows --at node-a/eth0/02:00:00:00:00:01

  All interfaces of a node (tcpdump -i any): 3 is eth0, 7 leads to a pod:
    tracer import any.pcap -o node-a.arrows --inventory objects.yaml \\
      --at 3=node-a/eth0 --at 7=node-a/veth3f2a,pod=shop/cart

  An export, back to the recording that it was made of:
    tracer import trace.pcapng -o trace.arrows

  docs/importing.md says what can be concluded from captures.

EXIT CODES
  0 written   1 failure: no capture, a link type that is not read, a full disk:
  OUT stays what it was   2 bad syntax: a file without a place, too   4 there
  are no packets in it";

/// The end of the help of `tracer bundle`.
pub(super) const BUNDLE: &str = "\
EXAMPLES
  tracer bundle trace.arrows -o ticket.tar.zst
  tracer bundle trace.arrows --anonymize -o ticket.tar.zst

  All files of a rotated recording:
    tracer bundle trace.arrows trace.*.arrows -o ticket.tar.zst

  Unpack it, and replay its recording:
    tar --zstd -xf ticket.tar.zst && cat ticket/README.txt
    tracer replay ticket/recordings/*

EXIT CODES
  0 written   1 failure: not a recording, a damaged one, a full disk:
  an existing OUT stays   2 bad syntax   4 no packets in it";

/// The end of the help of `tracer show`.
pub(super) const SHOW: &str = "\
EXAMPLES
  tracer show trace.arrows
  tracer show trace.arrows -o json | jq .nodes

EXIT CODES
  0 shown   1 failure: not a recording, or a damaged one   2 bad syntax";

/// The end of the help of `tracer stats`.
pub(super) const STATS: &str = "\
EXAMPLES
  tracer stats trace.arrows
  tracer stats trace.arrows --group-by pod,reason
  tracer stats trace.arrows --where 'proto:tcp leg:flannel.1'
  tracer stats node-a.arrows node-b.arrows -o json | jq .latency

EXIT CODES
  0 shown   1 failure: not a recording, or a damaged one, which is summarized
  up to the damage   2 bad syntax   4 no packets in it";

/// The end of the help of `tracer schema`.
pub(super) const SCHEMA: &str = "\
EXAMPLES
  tracer schema tracer.journey/2 > journey.schema.json
  tracer schema tracer.stats/1 > stats.schema.json
  tracer schema | jq '.\"$defs\" | keys'

  docs/json.md says what each field means.";

/// The end of the help of `tracer version`.
pub(super) const VERSION: &str = "\
EXAMPLES
  tracer version";

/// The end of the help of `tracer man`.
pub(super) const MAN: &str = "\
EXAMPLES
  tracer man ~/.local/share/man/man1
  man tracer-follow";

/// The end of the help of `tracer completions`.
pub(super) const COMPLETIONS: &str = "\
EXAMPLES
  In ~/.bashrc:
    source <(tracer completions bash)

  In ~/.zshrc:
    source <(tracer completions zsh)

  In ~/.config/fish/config.fish:
    tracer completions fish | source

  For kubectl packet-path, in a folder of PATH:
    ln -s $(which tracer) /usr/local/bin/kubectl-packet_path
    ln -s $(which tracer) /usr/local/bin/kubectl_complete-packet_path";
