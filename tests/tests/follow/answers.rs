//! Questions that nobody answers: to who asks, it is all the same whether the
//! question got there, whether it was answered, and whether the answer got back.

use std::{
    net::{SocketAddr, TcpListener, TcpStream, UdpSocket},
    time::Duration,
};

use anyhow::{Context as _, Result};
use nix::sys::socket::{Backlog, listen};
use serde_json::Value;
use tracer_tests::{
    Lab, LabSpec, Pod,
    program::{LIMIT, Tracer, is},
    traffic::Flow,
};

/// Shorter than the kernel waits before it asks again.
const PATIENCE: Duration = Duration::from_millis(500);

/// A question for the name `a`, class IN, type A (RFC 1035, 4.1), with an
/// identifier; the answer, that there is no such name, differs in the flags.
const QUESTION: &[u8] =
    b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x01a\x00\x00\x01\x00\x01";
const ANSWER: &[u8] = b"\x12\x34\x81\x83\x00\x01\x00\x00\x00\x00\x00\x00\x01a\x00\x00\x01\x00\x01";

/// What keeps an answer away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cause {
    QuestionDropped,
    NotAnswered,
    AnswerDropped,
}

/// Follows a question of the first pod to the second for each cause.
/// `ask` is told whether the second pod shall answer.
fn check(ask: impl Fn(&Pod, &Pod, bool) -> Result<()>) -> Result<()> {
    for cause in [
        Cause::QuestionDropped,
        Cause::NotAnswered,
        Cause::AnswerDropped,
    ] {
        let lab = Lab::new(&LabSpec::default())?;
        let [a, b] = [&lab.pods[0], &lab.pods[1]];
        match cause {
            Cause::QuestionDropped => drop_between(&lab, a, b)?,
            Cause::NotAnswered => {}
            Cause::AnswerDropped => drop_between(&lab, b, a)?,
        }
        let name = |pod: &Pod| format!("{}/{}", pod.namespace, pod.name);
        let ends = ["--src-pod", &name(a), "--dst-pod", &name(b)];
        let mut tracer = Tracer::follow(&lab, ends.iter().chain(&["--hold", "1s"]))?;
        tracer.wait_started(LIMIT)?;
        ask(a, b, cause != Cause::NotAnswered)?;

        let kind = match cause {
            Cause::NotAnswered => "unanswered",
            Cause::QuestionDropped | Cause::AnswerDropped => "dropped",
        };
        let told =
            |value: &Value| is(value, "tracer.journey/1") && value["verdict"]["kind"] == kind;
        let journey = tracer
            .wait_for(told, LIMIT)
            .with_context(|| format!("{cause:?}"))?;
        let text = journey["verdict"]["text"].as_str().context("a text")?;
        let asked = journey["packet"]["src"] == *a.v4.to_string();
        assert_eq!(asked, cause != Cause::AnswerDropped, "{journey:#}");
        let words = match cause {
            Cause::QuestionDropped => format!("; {} never got it", name(b)),
            Cause::NotAnswered => format!(
                "unanswered: {} got it and did not answer within 1s",
                name(b)
            ),
            Cause::AnswerDropped => {
                let question = &journey["answers"];
                assert!(question.is_u64(), "{journey:#}");
                format!("; {} never got the answer to #{question}", name(a))
            }
        };
        assert!(text.ends_with(&words), "{cause:?}: {text}");
    }
    Ok(())
}

/// Drops on the second node what goes from one pod to the other.
fn drop_between(lab: &Lab, from: &Pod, to: &Pod) -> Result<()> {
    let rules = format!(
        "table ip fault {{ chain fault {{ type filter hook forward priority 0; \
         ip saddr {} ip daddr {} drop; }}; }}",
        from.v4, to.v4
    );
    lab.nodes[1].netns.batch("nft -f -", &rules).map(drop)
}

#[test]
fn echo_requests() -> Result<()> {
    check(|from, to, answer| {
        if !answer {
            to.netns.sysctl(&[("ipv4/icmp_echo_ignore_all", "1")])?;
        }
        Flow::new(from, to).ping(1, PATIENCE).map(drop)
    })
}

#[test]
fn handshakes() -> Result<()> {
    check(|from, to, answer| {
        let listener = to.netns.enter(|| TcpListener::bind((to.v4, 0)))?;
        let address = listener.local_addr()?;
        let connect = || {
            from.netns
                .enter(|| TcpStream::connect_timeout(&address, PATIENCE))
        };
        let mut waiting = None;
        if !answer {
            // One is let in, which nobody accepts, and no more.
            listen(&listener, Backlog::new(0)?)?;
            waiting = Some(connect()?);
        }
        // Whether it succeeds is what the program is asked.
        let _: Result<TcpStream, std::io::Error> = connect();
        drop(waiting);
        Ok(())
    })
}

#[test]
fn names() -> Result<()> {
    check(|from, to, answer| {
        let server = to.netns.enter(|| UdpSocket::bind((to.v4, 53)))?;
        server.set_read_timeout(Some(PATIENCE))?;
        let client = from.netns.enter(|| UdpSocket::bind((from.v4, 0)))?;
        client.send_to(QUESTION, SocketAddr::from((to.v4, 53)))?;
        if answer && let Ok((_, asker)) = server.recv_from(&mut [0; 512]) {
            server.send_to(ANSWER, asker)?;
        }
        Ok(())
    })
}
