//! A qdisc, as `RTM_NEWQDISC` describes it.

use super::netlink::{Question, attribute};

/// Length of `struct tcmsg`, before the attributes, bytes.
pub(super) const HEADER: usize = 20;

/// Attributes of a qdisc and of its statistics (include/uapi/linux/rtnetlink.h, gen_stats.h).
pub(super) const TCA_KIND: u16 = 1;
const TCA_STATS2: u16 = 7;
const TCA_STATS_QUEUE: u16 = 3;

/// Parents of a qdisc at the device itself: `TC_H_ROOT`, and `TC_H_INGRESS`, which clsact uses,
/// too.
const ROOT: u32 = 0xffff_ffff;
const INGRESS: u32 = 0xffff_fff1;

/// A qdisc at a device itself. Its counters include those of the qdiscs below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Qdisc {
    /// Index of the device.
    pub(super) device: u32,
    /// Kind of the qdisc: `fq_codel`, `tbf`, ….
    pub(super) kind: String,
    /// Whether this is the root qdisc, which queues outgoing packets.
    pub(super) is_root: bool,
    /// Packets in the queue now.
    pub(super) queued: u32,
    /// Packets that the qdisc dropped so far.
    pub(super) drops: u32,
}

impl Qdisc {
    /// The request for the qdiscs of all devices.
    pub(super) fn list() -> Question {
        Question::new(libc::RTM_GETQDISC, &[0; HEADER])
    }

    /// Parses a qdisc; `None` for a qdisc below another one.
    pub(super) fn parse(message: &[u8]) -> Option<Self> {
        let (device, parent) = (number(message, 4)?, number(message, 12)?);
        if ![ROOT, INGRESS].contains(&parent) {
            return None;
        }
        let parts = message.get(HEADER..)?;
        let kind = attribute(parts, TCA_KIND)?;
        // `struct gnet_stats_queue` has qlen, backlog, drops, ….
        let queue = attribute(attribute(parts, TCA_STATS2)?, TCA_STATS_QUEUE)?;
        Some(Self {
            device,
            kind: String::from_utf8_lossy(kind)
                .trim_end_matches('\0')
                .to_owned(),
            is_root: parent == ROOT,
            queued: number(queue, 0)?,
            drops: number(queue, 8)?,
        })
    }
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..at + 4)?;
    Some(u32::from_ne_bytes(bytes.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(kind: u16, value: &[u8]) -> Vec<u8> {
        let length = u16::try_from(4 + value.len()).expect("a short value");
        let mut bytes = [length.to_ne_bytes(), kind.to_ne_bytes()].concat();
        bytes.extend(value);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    fn message(parent: u32) -> Vec<u8> {
        let mut header = vec![0; HEADER];
        header[4..8].copy_from_slice(&3u32.to_ne_bytes());
        header[12..16].copy_from_slice(&parent.to_ne_bytes());
        let queue = [2u32, 0, 9, 0, 0].map(u32::to_ne_bytes).concat();
        let queue = with(TCA_STATS_QUEUE, &queue);
        let parts = [with(TCA_KIND, b"tbf\0"), with(TCA_STATS2, &queue)];
        [header, parts.concat()].concat()
    }

    #[test]
    fn only_those_at_the_device_itself_count() {
        let root = Qdisc::parse(&message(ROOT)).expect("at the device");
        let expected = Qdisc {
            device: 3,
            kind: "tbf".to_owned(),
            is_root: true,
            queued: 2,
            drops: 9,
        };
        assert_eq!(root, expected);
        let ingress = Qdisc::parse(&message(INGRESS)).expect("at the device");
        assert!(!ingress.is_root);
        assert_eq!(Qdisc::parse(&message(0x0001_0000)), None);
        assert_eq!(Qdisc::parse(&message(ROOT)[..30]), None);
    }
}
