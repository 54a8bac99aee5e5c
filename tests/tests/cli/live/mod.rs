//! The live view on a terminal: compares the screen with a recording of the same packets, and
//! checks the terminal afterwards.

mod robust;
pub(crate) mod terminal;
mod text;

use std::{collections::BTreeMap, fs, path::Path, time::Duration};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use terminal::{Terminal, until};
use tracer_core::verdict::Kind;
use tracer_tests::{
    Lab, LabSpec,
    program::{is, run},
    traffic::Flow,
};

use crate::rights::follow_args;

/// A size with room for whole names.
const SIZE: (u16, u16) = (120, 40);

/// The modes of a terminal without a full-screen program.
const AS_BEFORE: &str = "0 1 0";

/// The modes while the view has the terminal.
const TAKEN: &str = "1 0 1";

/// Drops the requests of pings at the second node.
const DROP: &str = "table ip t { chain c { type filter hook forward priority 0;
    icmp type echo-request drop; }; }";

/// `tracer follow` between the lab's first two pods, with more arguments.
fn follow(lab: &Lab, more: &str) -> Result<String> {
    let words = follow_args(lab)?.into_iter();
    let words: Vec<String> = words
        .map(|word| format!("'{}'", word.replace('\'', r"'\''")))
        .collect();
    Ok(format!("tracer {} {more}", words.join(" ")))
}

fn ping(lab: &Lab, count: u64) -> Result<u64> {
    let flow = Flow::new(&lab.pods[0], &lab.pods[1]);
    let tally = flow.ping(count, Duration::from_millis(2))?;
    Ok(tally.received)
}

/// The lines of a recording, replayed as JSON.
fn recorded(file: &Path) -> Result<Vec<Value>> {
    let file = file.display().to_string();
    let ended = run(["replay", "-o", "json", &file])?;
    ensure!(ended.status.success(), "{}", ended.stderr);
    let lines = ended.stdout.lines();
    lines.map(|line| Ok(serde_json::from_str(line)?)).collect()
}

/// Whether a journey is a problem.
fn is_problem(journey: &Value) -> bool {
    let verdict = &journey["verdict"];
    match verdict["kind"].as_str() {
        Some("delivered") => false,
        Some("left") => !verdict["cause"].is_null(),
        // The beginning or the end of the follow has cut these off.
        _ => verdict["cause"] != "before-start" && verdict["cause"] != "still-open",
    }
}

/// The number after a word that is alone before it on its line.
fn number(screen: &str, word: &str) -> Option<u64> {
    let mut lines = screen.lines().map(|line| line.split_whitespace());
    lines.find_map(|mut words| {
        // This word is the sign of the verdict.
        words.next()?;
        (words.next()? == word).then(|| words.next()?.parse().ok())?
    })
}

#[test]
fn what_the_screen_counts_is_what_is_recorded() -> Result<()> {
    let lab = Lab::new(&LabSpec::default())?;
    let terminal = Terminal::open(&lab.directory()?, SIZE)?;
    let file = lab.directory()?.join("live.arrows");
    let write = format!("-o live --hold 300ms --count 60 -w {}", file.display());
    terminal.run(&follow(&lab, &write)?)?;
    terminal.wait_for("● LIVE")?;
    assert_eq!(terminal.modes()?, TAKEN);

    // Five pings are answered, and three are dropped.
    assert_eq!(ping(&lab, 5)?, 5);
    let flow = Flow::new(&lab.pods[0], &lab.pods[1]);
    assert!(flow.tcp_connects(3)?.is_complete());
    let far = &lab.nodes[1].netns;
    far.batch("nft -f -", DROP)?;
    assert_eq!(ping(&lab, 3)?, 0);
    terminal.press(&["4"])?;
    let has_dropped = |screen: &str| number(screen, "dropped") == Some(3);
    terminal.wait_until("three are dropped", has_dropped)?;
    far.batch("nft -f -", "delete table ip t")?;
    // These pings complete the count of the follow.
    assert_eq!(ping(&lab, 30)?, 30);
    let sums = terminal.wait_for("■ ENDED")?;

    let recorded = recorded(&file)?;
    let journeys: Vec<&Value> = recorded
        .iter()
        .filter(|value| is(value, "tracer.journey/2"))
        .collect();
    let mut kinds = BTreeMap::new();
    for journey in &journeys {
        let kind = journey["verdict"]["kind"].as_str();
        *kinds.entry(kind.context("a verdict")?).or_insert(0) += 1;
    }
    // Journeys of ARP and neighbour discovery are not among the 60.
    let all = journeys.len();
    assert!(all >= 60, "{all}");
    assert_eq!(kinds["dropped"], 3);
    for kind in Kind::ALL.map(Kind::name) {
        let counted = number(&sums, kind);
        assert_eq!(counted, kinds.get(kind).copied(), "{kind}: {sums}");
    }
    let problems = journeys
        .iter()
        .filter(|journey| is_problem(journey))
        .count();
    let both = format!("{all} journeys, ✘ {problems} problems");
    assert!(sums.contains(&both), "{both}: {sums}");

    // The first point of the way has the same count, without neighbour discovery.
    terminal.press(&["1"])?;
    let path = terminal.wait_for("▼ requests")?;
    let veth = &lab.pods[0].veth;
    let passes = |journey: &&&Value| {
        let is_theirs = ["icmp", "tcp"]
            .map(Value::from)
            .contains(&journey["packet"]["proto"]);
        let hops = journey["hops"].as_array().into_iter().flatten();
        let mut interfaces = hops.map(|hop| &hop["interface"]);
        is_theirs && journey["direction"] == "request" && interfaces.any(|name| name == &**veth)
    };
    let requests = journeys.iter().filter(passes).count();
    let mut lines = path.lines();
    let line = lines.find(|line| line.contains(&**veth));
    let mut words = line.context("it is there")?.split_whitespace();
    let packets = words.find_map(|word| word.parse().ok());
    assert_eq!(packets, Some(requests), "{path}");

    // The view counts selected journeys, too.
    terminal.press(&["2"])?;
    terminal.type_text("/proto:tcp")?;
    terminal.press(&["Enter"])?;
    let tcp = journeys
        .iter()
        .filter(|journey| journey["packet"]["proto"] == "tcp");
    let tcp = tcp.count();
    assert!(tcp > 0, "{:?}", journeys[0]["packet"]);
    terminal.wait_for(&format!("{tcp} of {all} kept"))?;
    terminal.press(&["Escape"])?;
    terminal.wait_until("all again", |screen| !screen.contains("kept; Esc"))?;
    terminal.press(&["p"])?;
    let listed = terminal.wait_for(&format!("{problems} of {all} kept"))?;
    assert_eq!(listed.matches("✘ dropped").count(), 3, "{listed}");

    // The screen shows the same journey as the recording.
    terminal.press(&["Enter"])?;
    let shown = terminal.wait_for("NETFILTER_DROP")?;
    let dropped = journeys
        .iter()
        .rfind(|journey| journey["verdict"]["kind"] == "dropped")
        .context("one is dropped")?;
    assert!(shown.contains(&format!("#{} ", dropped["id"])), "{shown}");
    terminal.press(&["q"])?;
    terminal.wait_for("exit code 0")?;
    assert_eq!(terminal.modes()?, AS_BEFORE);
    Ok(())
}

/// `q` ends the view on each screen. Then the summary is where the shell was.
#[test]
fn keys_lead_through_the_screens_and_the_terminal_is_as_before() -> Result<()> {
    let lab = Lab::new(&LabSpec::default())?;
    let directory = lab.directory()?;
    let terminal = Terminal::open(&directory, SIZE)?;
    assert_eq!(terminal.modes()?, AS_BEFORE);
    let [before, after] = ["before", "after"].map(|name| directory.join(name));
    let stty = |file: &Path| format!("stty -g > {}", file.display());
    let live = follow(&lab, "-o live --proto icmp")?;
    let line = format!("{}; {live} || exit; {}", stty(&before), stty(&after));
    terminal.run(&line)?;
    terminal.wait_for("● LIVE")?;
    assert_eq!(ping(&lab, 5)?, 5);
    terminal.wait_for("10 journeys, no problem")?;

    // Words that are on one screen only.
    let path = lab.nodes[0].overlay.as_str();
    let screens = [
        ("Tab", "began"),
        ("Tab", "interface"),
        ("Tab", "Journeys by verdict"),
        ("Tab", "▲ replies"),
        ("2", "began"),
        ("4", "Latency from point to point"),
        ("1", path),
        ("3", "interface"),
        ("?", "a command line that shows the same"),
    ];
    for (key, shown) in screens {
        terminal.press(&[key])?;
        terminal
            .wait_for(shown)
            .with_context(|| format!("after {key}"))?;
    }
    terminal.press(&["Escape"])?;
    terminal.wait_until("the help is gone", |screen| !screen.contains("Ctrl-Z"))?;
    assert_eq!(terminal.modes()?, TAKEN);

    terminal.press(&["q"])?;
    let ended = terminal.wait_for("exit code 0")?;
    assert!(ended.contains("10 delivered"), "{ended}");
    assert_eq!(terminal.modes()?, AS_BEFORE);
    assert_eq!(fs::read_to_string(before)?, fs::read_to_string(after)?);
    terminal.run("echo $((6 * 7)) answers")?;
    terminal.wait_for("42 answers")?;
    Ok(())
}

/// The view takes neither a pipe nor a terminal that can only print.
#[test]
fn what_is_no_screen_gets_text() -> Result<()> {
    let lab = Lab::new(&LabSpec::default())?;
    let terminal = Terminal::open(&lab.directory()?, SIZE)?;
    let sent = terminal.keep()?;
    let printed = lab.directory()?.join("printed");
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/clean.arrows");
    let fixture = fixture.display().to_string();
    let text = run(["replay", "-o", "text", &fixture])?.stdout;
    assert!(text.contains("delivered"), "{text}");

    let to = format!("| cat > {}", printed.display());
    terminal.run(&format!("tracer replay {fixture} {to}; echo replayed"))?;
    terminal.wait_for("\nreplayed")?;
    assert_eq!(fs::read_to_string(&printed)?, text);
    let line = format!("TERM=dumb tracer replay {fixture}; echo printed");
    terminal.run(&line)?;
    let shown = terminal.wait_for("\nprinted")?;
    let (_, summary) = text.rsplit_once("\n\n").context("it ends with a summary")?;
    assert!(shown.contains(summary.trim_end()), "{summary}: {shown}");

    let to = format!("| tee {}", printed.display());
    let line = follow(&lab, "--proto icmp --count 2")?;
    for (line, ends) in [
        (format!("{line} {to}; echo piped"), "\npiped"),
        (format!("TERM=dumb {line}; echo dumb"), "\ndumb"),
    ] {
        terminal.run(&line)?;
        let pinging = Flow::new(&lab.pods[0], &lab.pods[1]).keep_pinging();
        let shown = terminal.wait_for(ends)?;
        pinging.stop()?;
        // The output of this command alone. A long output leaves no room for the command.
        let said = shown
            .rsplit_once("line.sh")
            .map_or(&*shown, |(_, said)| said);
        assert!(said.contains("\n2 journeys: "), "{shown}");
    }
    let piped = fs::read_to_string(&printed)?;
    assert!(!piped.contains('\x1b'), "{piped}");

    terminal.run("TERM=dumb tracer replay -o live nothing; echo refused")?;
    let refused = terminal.wait_for("\nrefused")?;
    assert!(refused.contains("use -o text here"), "{refused}");
    // The whole output has come.
    until("all that was sent", || {
        let all = fs::read_to_string(&sent)?;
        Ok((all.contains("\nrefused"), all))
    })?;
    let all = fs::read_to_string(&sent)?;
    assert!(!all.contains("\x1b[?1049h"), "{all}");
    // Such a terminal does not know bold text either.
    assert!(!all.contains("\x1b[1m"), "{all}");
    Ok(())
}
