//! Links of tcx.

use aya::programs::{LinkOrder, ProgramInfo, SchedClassifier, TcAttachType, tc::TcAttachOptions};

use super::Device;
use crate::{
    link::{Direction, Foreign},
    node::NodeError,
};

pub(super) fn attach(
    program: &mut SchedClassifier,
    device: Device<'_>,
    direction: Direction,
) -> Result<(), NodeError> {
    let first = TcAttachOptions::TcxOrder(LinkOrder::first());
    program
        .attach_with_options(device.name, hook(direction), first)
        .map(drop)
        .map_err(|source| NodeError::attach(device.name, direction, &source))
}

pub(super) fn attached(device: Device<'_>, direction: Direction) -> Vec<Foreign> {
    // An interface that has just gone has none.
    let (_revision, programs) =
        SchedClassifier::query_tcx(device.name, hook(direction)).unwrap_or_default();
    let attached = |info: &ProgramInfo| Foreign {
        id: info.id(),
        name: String::from_utf8_lossy(info.name()).into_owned(),
    };
    programs.iter().map(attached).collect()
}

const fn hook(direction: Direction) -> TcAttachType {
    match direction {
        Direction::Ingress => TcAttachType::Ingress,
        Direction::Egress => TcAttachType::Egress,
    }
}
