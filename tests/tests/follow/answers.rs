//! Questions without an answer. The client cannot tell whether the question arrived, whether it was
//! answered, and whether the answer was lost.

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

/// A time shorter than the kernel waits before it sends the question again.
const PATIENCE: Duration = Duration::from_millis(500);

/// A query for the name `a`, class IN, type A (RFC 1035, 4.1), with an identifier. The answer, that
/// the name does not exist, differs in the flags.
const QUESTION: &[u8] =
    b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x01a\x00\x00\x01\x00\x01";
const ANSWER: &[u8] = b"\x12\x34\x81\x83\x00\x01\x00\x00\x00\x00\x00\x00\x01a\x00\x00\x01\x00\x01";

/// The reason why no answer comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cause {
    QuestionDropped,
    NotAnswered,
    AnswerDropped,
}

/// A question of the first pod to the second.
struct Question<'a> {
    from: &'a Pod,
    to: &'a Pod,
    v6: bool,
    /// Whether the second pod answers.
    answer: bool,
}

impl Question<'_> {
    fn address(&self, pod: &Pod, port: u16) -> SocketAddr {
        if self.v6 {
            (pod.v6, port).into()
        } else {
            (pod.v4, port).into()
        }
    }
}

/// Follows a question for each cause and family.
fn check(ask: impl Fn(&Question<'_>) -> Result<()>) -> Result<()> {
    let causes = [
        Cause::QuestionDropped,
        Cause::NotAnswered,
        Cause::AnswerDropped,
    ];
    let families = |cause| [(cause, false), (cause, true)];
    for (cause, v6) in causes.into_iter().flat_map(families) {
        let lab = Lab::new(&LabSpec::default())?;
        let [a, b] = [&lab.pods[0], &lab.pods[1]];
        match cause {
            Cause::QuestionDropped => drop_between(&lab, a, b, v6)?,
            Cause::NotAnswered => {}
            Cause::AnswerDropped => drop_between(&lab, b, a, v6)?,
        }
        let name = |pod: &Pod| format!("{}/{}", pod.namespace, pod.name);
        let ends = ["--src-pod", &name(a), "--dst-pod", &name(b)];
        let mut tracer = Tracer::follow(&lab, ends.iter().chain(&["--hold", "1s"]))?;
        tracer.wait_started(LIMIT)?;
        let question = Question {
            from: a,
            to: b,
            v6,
            answer: cause != Cause::NotAnswered,
        };
        ask(&question)?;

        let kind = match cause {
            Cause::NotAnswered => "unanswered",
            Cause::QuestionDropped | Cause::AnswerDropped => "dropped",
        };
        let told =
            |value: &Value| is(value, "tracer.journey/2") && value["verdict"]["kind"] == kind;
        let journey = tracer
            .wait_for(told, LIMIT)
            .with_context(|| format!("{cause:?}"))?;
        let text = journey["verdict"]["text"].as_str().context("a text")?;
        let asked = journey["packet"]["src"] == *question.address(a, 0).ip().to_string();
        assert_eq!(asked, cause != Cause::AnswerDropped, "{journey:#}");
        let words = match cause {
            Cause::QuestionDropped => format!("; {} never got it", name(b)),
            Cause::NotAnswered => format!(
                "unanswered: {} got the packet and did not answer within 1s",
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

/// Makes the second node drop packets from one pod to the other.
fn drop_between(lab: &Lab, from: &Pod, to: &Pod, v6: bool) -> Result<()> {
    let (family, src, dst) = if v6 {
        ("ip6", from.v6.to_string(), to.v6.to_string())
    } else {
        ("ip", from.v4.to_string(), to.v4.to_string())
    };
    let rules = format!(
        "table inet fault {{ chain fault {{ type filter hook forward priority 0; \
         {family} saddr {src} {family} daddr {dst} drop; }}; }}"
    );
    lab.nodes[1].netns.batch("nft -f -", &rules).map(drop)
}

#[test]
fn echo_requests() -> Result<()> {
    check(|question| {
        if !question.answer {
            let path = if question.v6 {
                "ipv6/icmp/echo_ignore_all"
            } else {
                "ipv4/icmp_echo_ignore_all"
            };
            question.to.netns.sysctl(&[(path, "1")])?;
        }
        let flow = Flow::new(question.from, question.to).v6(question.v6);
        flow.ping(1, PATIENCE).map(drop)
    })
}

#[test]
fn handshakes() -> Result<()> {
    check(|question| {
        let Question { from, to, .. } = question;
        let any = question.address(to, 0);
        let listener = to.netns.enter(|| TcpListener::bind(any))?;
        let address = listener.local_addr()?;
        let connect = || {
            from.netns
                .enter(|| TcpStream::connect_timeout(&address, PATIENCE))
        };
        let mut waiting = None;
        if !question.answer {
            // The queue takes one connection, which the server does not accept, and no more.
            listen(&listener, Backlog::new(0)?)?;
            waiting = Some(connect()?);
        }
        // The verdict must say whether this succeeds.
        let _: Result<TcpStream, std::io::Error> = connect();
        drop(waiting);
        Ok(())
    })
}

#[test]
fn names() -> Result<()> {
    check(|question| {
        let Question { from, to, .. } = question;
        let (asked, asker) = (question.address(to, 53), question.address(from, 0));
        let server = to.netns.enter(|| UdpSocket::bind(asked))?;
        server.set_read_timeout(Some(PATIENCE))?;
        let client = from.netns.enter(|| UdpSocket::bind(asker))?;
        client.send_to(QUESTION, asked)?;
        if question.answer
            && let Ok((_, asker)) = server.recv_from(&mut [0; 512])
        {
            server.send_to(ANSWER, asker)?;
        }
        Ok(())
    })
}
