//! Properties of whole follows, for any packets with any fate, and for any order in which events
//! reach the collector.

mod agents;
mod delivery;
mod joining;
mod recorded;
mod stuck;
mod traffic;
pub(super) mod world;

use std::collections::HashMap;

use delivery::{Choices, Reports, Shown, deliver};
use proptest::{prelude::*, test_runner::TestCaseResult};
use tracer_core::{
    journal::View as _,
    journey::Scene,
    model::Names,
    verdict::{Kind, Parts},
};
use traffic::world;
use world::{Truth, Unit, World, beginning};

use crate::view::Json;

fn choices() -> impl Strategy<Value = Choices> {
    let made = prop::collection::vec(any::<u16>(), 1..60);
    made.prop_map(|made| Choices { made, next: 0 })
}

/// The events that are lost: random ones, or all of a kind.
fn losses() -> impl Strategy<Value = Vec<bool>> {
    (1_u32..100).prop_flat_map(|percent| {
        let lost = prop::bool::weighted(f64::from(percent) / 100.0);
        prop::collection::vec(lost, 0..250)
    })
}

/// Journeys as JSON, in the order of their numbers. Evidence is left out, because it quotes the
/// counters of the agents' latest reports.
fn json(shown: &Shown) -> Vec<String> {
    let scene = Scene {
        nodes: beginning().nodes.into(),
        owners: beginning().owners,
        sources: beginning().sources,
        asked: Vec::new(),
        names: Names::default(),
        since: i64::MIN,
    };
    let mut journeys: Vec<_> = shown.journeys.iter().collect();
    journeys.sort_by_key(|(journey, ..)| journey.id);
    let mut lines = Vec::new();
    for (journey, verdict, parts) in journeys {
        let mut verdict = verdict.clone();
        verdict.evidence.clear();
        let mut line = Vec::new();
        let shown = Json::new(&mut line).journey(&scene, journey, &verdict, parts);
        shown.expect("memory");
        lines.push(String::from_utf8(line).expect("text"));
    }
    lines
}

/// Checks that every claim is true.
///
/// Packets that are exactly alike can be compared by their number only.
fn nothing_is_claimed_that_is_not_so(world: &World, shown: &Shown) -> TestCaseResult {
    let mut claims: HashMap<&Unit, (u32, u32)> = HashMap::new();
    for (journey, verdict, parts) in &shown.journeys {
        let Parts {
            delivered,
            dropped,
            lost,
            ..
        } = *parts;
        let units = Unit::of(&journey.packet);
        let truths: Vec<(&Unit, Truth)> = units
            .iter()
            .map(|unit| world.truth.get_key_value(unit).expect("it was sent"))
            .map(|(unit, truth)| (unit, *truth))
            .collect();
        let stream_data = truths[0].0.is_stream_data();
        let size = if stream_data {
            u64::from(world::SEGMENT)
        } else {
            1
        };
        if stream_data {
            let arrived: u32 = truths.iter().map(|(_, truth)| truth.delivered).sum();
            let arrived = u64::from(arrived) * size;
            prop_assert!(delivered <= arrived, "{journey:#?} {verdict:#?} {parts:?}");
            prop_assert!(
                dropped + lost <= parts.sent - arrived,
                "{journey:#?} {verdict:#?} {parts:?}"
            );
        } else {
            let claim = claims.entry(truths[0].0).or_default();
            claim.0 += u32::from(delivered > 0);
            claim.1 += u32::from(dropped + lost > 0);
            let truth = truths[0].1;
            prop_assert!(claim.0 <= truth.delivered, "{journey:#?} {verdict:#?}");
            let gone = truth.gone + truth.dropped_inside;
            prop_assert!(claim.1 <= gone, "{journey:#?} {verdict:#?}");
        }
        match verdict.kind {
            Kind::Delivered => prop_assert_eq!(delivered, parts.sent),
            Kind::Dropped => prop_assert_eq!(dropped, parts.sent),
            Kind::Lost => prop_assert_eq!(lost, parts.sent),
            Kind::Refused | Kind::Unanswered | Kind::Left | Kind::Partial | Kind::Unknown => {}
        }
    }
    Ok(())
}

proptest! {
    /// Streams' batches come in any order, and so do the events in a batch.
    #[test]
    fn any_order_that_watermarks_allow_gives_the_same_journeys(
        world in world(),
        mut one in choices(),
        mut other in choices(),
    ) {
        let one = deliver(&world, &[], Reports::Final, &mut one);
        let other = deliver(&world, &[], Reports::Final, &mut other);
        prop_assert_eq!(one.journeys.len(), other.journeys.len());
        for (one, other) in json(&one).iter().zip(json(&other)) {
            prop_assert_eq!(one, &other);
        }
        let (one, other) = (one.summary.accounting, other.summary.accounting);
        prop_assert_eq!(&one, &other);
        prop_assert!(one.balances());
    }

    #[test]
    fn what_is_said_is_so(world in world(), mut choices in choices()) {
        let shown = deliver(&world, &[], Reports::Honest, &mut choices);
        nothing_is_claimed_that_is_not_so(&world, &shown)?;
    }

    /// Any subset of events, hops as well as drops, is lost, and the agents' counters say so.
    #[test]
    fn what_is_lost_never_turns_a_verdict_into_another(
        world in world(),
        lost in losses(),
        mut choices in choices(),
    ) {
        let shown = deliver(&world, &lost, Reports::Honest, &mut choices);
        nothing_is_claimed_that_is_not_so(&world, &shown)?;
    }
}
