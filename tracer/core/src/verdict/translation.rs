//! What conntrack says about a packet that was not seen after its translation.

use super::{Evidence, Kind, Verdict, judge::Case};
use crate::model::{Cause, OwnerKind};

/// Adds the translated destination, if only conntrack's table shows it. If the table still leads a
/// Service's address to an address that no pod has, that is the cause.
pub(super) fn tell_translation(case: &Case<'_>, verdict: &mut Verdict) {
    if matches!(verdict.kind, Kind::Delivered | Kind::Left) {
        return;
    }
    let (scene, journey) = (case.scene, case.journey);
    if let Some(service) = unserved(case, verdict) {
        verdict.evidence.insert(0, Evidence::NoEndpoints(service));
        verdict.cause = Some(Cause::NoEndpoints);
        return;
    }
    let Some(translated) = journey.translated.as_deref() else {
        return;
    };
    let (from, to) = (translated.first, translated.last);
    let seen = |ends| {
        journey
            .steps
            .iter()
            .any(|step| journey.ends_at(step) == Some(ends))
    };
    // If only the source is translated, the entry says nothing about the destination.
    let is_led = (from.dst, from.dst_port) != (to.dst, to.dst_port);
    if let Some(node) = translated.told
        && is_led
        && !seen(to)
    {
        verdict
            .evidence
            .push(Evidence::Conntrack { node, from, to });
    }
    let start = journey.start();
    let is_stale = from.dst != to.dst
        && scene.service(from.dst, start).is_some()
        && scene.owners.at(to.dst, start).is_none();
    if is_stale {
        verdict.cause = Some(Cause::StaleDnat);
    }
}

/// The Service of an untranslated packet, if no endpoint is ready. Its node refuses or drops such
/// packets.
fn unserved(case: &Case<'_>, verdict: &Verdict) -> Option<String> {
    let journey = case.journey;
    let owner = case.scene.owners.at(journey.packet.dst, journey.start())?;
    let gone = matches!(verdict.kind, Kind::Refused | Kind::Dropped);
    let fits = gone && journey.translated.is_none() && owner.kind == OwnerKind::Unserved;
    fits.then(|| owner.name.clone())
}
