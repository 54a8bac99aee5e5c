//! `unanswered`: questions that arrived, and to which no answer was seen.

use super::{
    Circumstances, Confidence, Evidence, Kind, Outcome, Verdict, Where,
    case::Case,
    fates::{Fates, namespace, watches_receiver},
    rest::seen_at,
};
use crate::{
    journey::Closed,
    model::{Cause, Transport},
};

/// `unanswered`: delivered, but the answer that every receiver gives did not come.
pub(super) fn unanswered(
    case: &Case<'_>,
    fates: &Fates<'_>,
    circumstances: &impl Circumstances,
) -> Option<Verdict> {
    let (scene, journey) = (case.scene, case.journey);
    let waited = journey.closed == Closed::Silence && journey.start() >= scene.since;
    if !journey.asks
        || journey.answered_by.is_some()
        || !waited
        || circumstances.sampled(journey.start())
    {
        return None;
    }
    let (_, step) = fates.nearest?;
    let hello = &scene.nodes[step.node];
    // The answer would have passed the point where the question was handed over.
    let out = scene.opposite(step.node, step.point, step.time)?;
    seen_at(case, step.node, (out, &hello.points[out]), circumstances)?;
    if case.hops_lost(Where::Point(step.node, out)) {
        return None;
    }

    let mut evidence = vec![Evidence::Seen(case.index(step)), Evidence::NoAnswerCame];
    let pod = journey
        .destination()
        .map(|address| namespace(scene, address, journey.start()));
    let mut cause = Cause::NoAnswer;
    let rises = circumstances.rises(step.node, journey.start());
    if let (Some(pod), Some(rises)) = (pod, &rises)
        && let Some(rise) = rises.namespace(&pod)
    {
        let is_tcp = matches!(journey.packet.transport, Transport::Tcp(_));
        if is_tcp && rise.by("TcpExtListenOverflows") > 0 {
            cause = Cause::ListenOverflow;
        }
        evidence.push(Evidence::SocketCounters {
            node: step.node,
            rise: rise.clone(),
        });
    }
    // Otherwise the receiver may have dropped the question, or its answer, unseen.
    let all_seen = !case.drop_unseen(step) && watches_receiver(scene, step.node, journey);
    if !all_seen {
        evidence.push(Evidence::ReceiverUnobserved);
    }
    Some(Verdict {
        kind: Kind::Unanswered,
        confidence: if all_seen {
            Confidence::High
        } else {
            Confidence::Low
        },
        cause: Some(cause),
        drop: None,
        outcome: Outcome::Unanswered {
            taken: all_seen,
            hold: circumstances.hold(),
        },
        waits: None,
        evidence,
    })
}
