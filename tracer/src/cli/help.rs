//! What is written by hand in the help: mostly its end, with examples and the exit codes.

/// The end of the help of `tracer` itself.
pub(super) const TRACER: &str = "\
EXAMPLES
  tracer follow --src-pod default/web --dst-pod shop/cart
  tracer follow --src-pod default/web --dst-service shop/cart:80
  tracer follow --src-ip 10.244.1.5 --dst-ip 10.244.2.7 --proto tcp
  tracer follow --help            all that can be followed, and how
  tracer drops                    what the kernel drops, and why
  tracer record -w a.arrows …     record a follow
  tracer replay a.arrows          show it again, anywhere

EXIT CODES
  0 traced   1 failure   2 bad syntax   3 not as expected   4 nothing matched";

/// How `tracer follow` is called; clap's own line would be 120 columns wide.
pub(super) const FOLLOW_USAGE: &str = "\
tracer follow [OPTIONS]
           <--src END | --src-pod POD | --src-service SERVICE | --src-ip IP>
           <--dst END | --dst-pod POD | --dst-service SERVICE | --dst-ip IP |
            --dns>";

/// The end of the help of `tracer follow`.
pub(super) const FOLLOW: &str = "\
EXAMPLES
  Two pods, as far as the machine that this runs on, node-a, can see them:
    kubectl get nodes,pods,services,endpointslices -A -o yaml > objects.yaml
    tracer follow --inventory objects.yaml --agent node-a=local \\
      --src-pod default/web --dst-pod shop/cart

  A pod and a Service: before its address is translated, and after it:
    tracer follow --src-pod default/web --dst-service shop/cart
    tracer follow --src-pod default/web --dst shop:service/cart:http

  Both nodes, in a lab or kind, whose nodes are network namespaces:
    tracer follow --inventory objects.yaml --src-pod web --dst-pod shop/cart \\
      --agent node-a=netns:/run/netns/node-a \\
      --agent node-b=netns:/run/netns/node-b

  What a pod asks DNS, whoever that is, with times and return codes:
    tracer follow --src-pod default/web --dns

  What this machine's pods send to an address in ten seconds, as JSON:
    tracer follow --src 10.244.1.0/24 --dst-ip 203.0.113.9 --proto udp \\
      --dst-port 123 --duration 10s -o json

  Whether the next ten packets arrive, for a script:
    tracer follow --src-ip 10.244.1.5 --dst-ip 10.244.2.7 --count 10 \\
      --expect delivered

  Whether flows pass that must, and no others (docs/expectations.md):
    tracer follow --src-pod web --dst-pod shop/cart --duration 30s \\
      --expect-file flows.yaml --junit report.xml

  Only what dies or is slow, of everything that is recorded:
    tracer follow --src-ip 10.244.1.5 --dst-ip 10.244.2.7 -w trace.arrows \\
      --where 'verdict:dropped,lost or >10ms'

  As lines on a terminal, with the hops of every journey, however many:
    tracer follow --src-ip 10.244.1.5 --dst-ip 10.244.2.7 --hops

  Recorded as well, to be shown again (an earlier trace.arrows is replaced):
    tracer follow --src-ip 10.244.1.5 --dst-ip 10.244.2.7 -w trace.arrows
    tracer replay trace.arrows

  Where it would look:
    tracer follow --src-ip 10.244.1.5 --dst-ip 10.244.2.7 --dry-run

EXIT CODES
  0 traced: at least one packet matched, or all of --dry-run was shown
  1 failure: an unknown name, an unreadable file, a missing capability
  2 bad syntax: arguments that are wrong or contradict each other
  3 with --expect delivered: a packet was not, or none was seen to be; with
    --expect-file: a flow fared otherwise; packets that were on their way at
    the start or at the end do not count
  4 nothing matched
  When the reader of stdout goes away (| head), tracer ends quietly with 0.";

/// The help of `--where`. What the command does with the journeys comes first.
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
    expression!("Show only journeys that match. The sums and the exit code count all.");

/// The help of `tracer stats --where`.
pub(super) const STATS_WHERE: &str = expression!("Sum up only journeys that match.");

/// The help of `tracer export --where`.
pub(super) const EXPORT_WHERE: &str = expression!(
    "Export only journeys that match. The sums, where a format has them, and the exit code count all."
);

/// The end of the help of `tracer agent`.
pub(super) const AGENT: &str = "\
EXAMPLES
  On the machine where the follow runs, with tracer installed on node-b:
    tracer follow --inventory objects.yaml --src-pod web --dst-pod shop/cart \\
      --agent node-a=local --agent node-b=ssh:node-b

  The same by a command of one's own:
    tracer follow --inventory objects.yaml --src-pod web --dst-pod shop/cart \\
      --agent node-a=local \\
      --agent 'node-b=exec:docker exec -i node-b tracer agent --stdio'

  A node that needs no collector records by itself, to be joined later:
    ssh node-b sudo tracer record --src-ip 10.244.1.5 --dst-ip 10.244.2.7 \\
      --duration 1m -w - > node-b.arrows";

/// The end of the help of `tracer drops`.
pub(super) const DROPS: &str = "\
EXAMPLES
  What this machine's kernel drops, now:
    tracer drops

  What the kernels of all nodes of a cluster drop, or those around one pod:
    tracer drops --all-nodes
    tracer drops --pod shop/cart

  By pod, on this machine, which is node-a of the cluster:
    kubectl get nodes,pods,services,endpointslices -A -o yaml > objects.yaml
    tracer drops --inventory objects.yaml --agent node-a=local

  Of one pod, in a lab or kind, whose nodes are network namespaces:
    tracer drops --inventory objects.yaml --pod shop/cart \\
      --agent node-a=netns:/run/netns/node-a \\
      --agent node-b=netns:/run/netns/node-b

  With objects that are read as they are now:
    kubectl get nodes,pods,services,endpointslices -A -o yaml \
      | tracer drops --inventory - --agent node-a=local

  Which reasons there were in a minute:
    tracer drops --duration 1m -o json | jq -r 'select(.reason) | .reason' \\
      | sort | uniq -c

EXIT CODES
  0 shown: at least one packet was dropped, or may have been
  1 failure: an unknown name, an unreadable file, a missing capability
  2 bad syntax: arguments that are wrong or contradict each other
  4 nothing was dropped
  When the reader of stdout goes away (| head), tracer ends quietly with 0.";

/// How `tracer record` is called.
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

  With the first bytes of each frame, payload included, for Wireshark:
    tracer record -w trace.arrows --snaplen 256 …
    tracer export trace.arrows --format pcapng -o trace.pcapng

  For somebody else's eyes:
    tracer record -w trace.arrows --anonymize …

  Shown on another machine while it is recorded here:
    tracer record -w - … | ssh laptop tracer replay -

EXIT CODES
  0 recorded   1 failure: a full disk, too   2 bad syntax   4 nothing matched";

/// The end of the help of `tracer replay`.
pub(super) const REPLAY: &str = "\
EXAMPLES
  tracer replay trace.arrows
  tracer replay trace.arrows trace.1.arrows trace.2.arrows | less
  tracer replay trace.arrows --hops
  tracer replay node-a.arrows node-b.arrows
  ssh node-a cat trace.arrows | tracer replay -

  What did not arrive, and connections that took long to open:
    tracer replay trace.arrows --where '-verdict:delivered'
    tracer replay trace.arrows --where 'flags:syn port:8080 >1ms'

  Why it did not, as lines:
    tracer replay trace.arrows -o json --where '-verdict:delivered' \\
      | jq -r 'select(.verdict) | .verdict.text'

  Whether flows fared as a file says (docs/expectations.md):
    tracer replay trace.arrows --expect-file flows.yaml --junit report.xml

  In Python:
    import pyarrow as pa
    table = pa.ipc.open_stream(\"trace.arrows\").read_all()

EXIT CODES
  0 shown   1 failure: no trace, or a damaged one, which is shown up to there
  2 bad syntax   3 with --expect-file: a flow fared otherwise   4 there are no
  packets in it";

/// The end of the help of `tracer export`.
pub(super) const EXPORT: &str = "\
EXAMPLES
  tracer export trace.arrows --format pcapng -o trace.pcapng
  wireshark trace.pcapng

  What was dropped, with the reason beside each packet:
    tracer export trace.arrows --format pcapng --where verdict:dropped \\
      | tshark -r - -T fields -e frame.interface_name -e frame.comment

  A capture for each interface, as tcpdump would have made it:
    tracer export trace.arrows --format pcapng --split point -o captures

  Tables for SQL: hops, journeys, drops, points and owners, by hour:
    tracer export trace.arrows --format parquet -o trace
    duckdb -c \"select verdict, count(*)
      from 'trace/journeys/**/*.parquet' group by all\"

  docs/exports.md describes each format.

EXIT CODES
  0 written   1 failure: no trace, a damaged one, a full disk: OUT stays what it
  was   2 bad syntax   4 there are no packets in it";

/// The end of the help of `tracer bundle`.
pub(super) const BUNDLE: &str = "\
EXAMPLES
  tracer bundle trace.arrows -o ticket.tar.zst
  tracer bundle trace.arrows --anonymize -o ticket.tar.zst

  All pieces of a rotated recording:
    tracer bundle trace.arrows trace.*.arrows -o ticket.tar.zst

  What is inside, and the same journeys and verdicts from it:
    tar --zstd -xf ticket.tar.zst && cat ticket/README.txt
    tracer replay ticket/recordings/*

EXIT CODES
  0 written   1 failure: no trace, a damaged one, a full disk: OUT stays what it
  was   2 bad syntax   4 there are no packets in it";

/// The end of the help of `tracer show`.
pub(super) const SHOW: &str = "\
EXAMPLES
  tracer show trace.arrows
  tracer show trace.arrows -o json | jq .nodes

EXIT CODES
  0 shown   1 failure: no trace, or a damaged one   2 bad syntax";

/// The end of the help of `tracer stats`.
pub(super) const STATS: &str = "\
EXAMPLES
  tracer stats trace.arrows
  tracer stats trace.arrows --group-by pod,reason
  tracer stats trace.arrows --where 'proto:tcp leg:flannel.1'
  tracer stats node-a.arrows node-b.arrows -o json | jq .latency

EXIT CODES
  0 shown   1 failure: no trace, or a damaged one; what comes before the damage
  is summed up   2 bad syntax   4 there are no packets in it";

/// The end of the help of `tracer schema`.
pub(super) const SCHEMA: &str = "\
EXAMPLES
  tracer schema tracer.journey/2 > journey.schema.json
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
  source <(tracer completions bash)
  tracer completions zsh > ~/.zfunc/_tracer
  tracer completions fish > ~/.config/fish/completions/tracer.fish";
