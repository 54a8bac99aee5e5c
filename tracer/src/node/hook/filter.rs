//! Filters of a qdisc, as `RTM_NEWTFILTER` describes them.

use netlink_packet_route::{
    RouteNetlinkMessage,
    tc::{
        TcAttribute, TcBpfFlags, TcFilterBpf, TcFilterBpfOption, TcHandle, TcHeader, TcMessage,
        TcOption,
    },
};
use tracer_core::model::{Direction, Foreign};

use crate::node::{
    netlink::{Question, attribute},
    qdisc::{HEADER, TCA_KIND},
};

/// Attributes of a filter, and of a BPF filter (include/uapi/linux/rtnetlink.h, pkt_cls.h).
const TCA_OPTIONS: u16 = 2;
const TCA_CHAIN: u16 = 11;
const TCA_BPF_NAME: u16 = 7;
const TCA_BPF_ID: u16 = 11;

/// Every protocol (include/uapi/linux/if_ether.h).
const ETH_P_ALL: u16 = 0x0003;

/// A filter at one direction of an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Filter {
    /// What identifies the filter.
    pub(super) place: Place,
    /// Whether the filter is in the first chain.
    pub(super) begins: bool,
    /// Whether the filter is a program for all protocols.
    pub(super) is_plain_program: bool,
    /// The program, or what the filter is instead.
    pub(super) program: Foreign,
}

/// The place of a filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) ifindex: u32,
    pub(super) direction: Direction,
    /// Priority; filters with lower values run earlier.
    pub(super) priority: u16,
    /// Handle among the filters of one priority.
    pub(super) handle: u32,
    /// EtherType, byte order as in the message.
    protocol: u16,
}

impl Filter {
    /// Parses a filter; `None` for other objects, such as the list of the filters of one
    /// priority.
    pub(super) fn parse(message: &[u8]) -> Option<Self> {
        let header = TcHeader::parse(message).ok()?;
        let direction = match header.parent.minor {
            TcHandle::MIN_INGRESS => Direction::Ingress,
            TcHandle::MIN_EGRESS => Direction::Egress,
            _ => return None,
        };
        let handle = header.handle.into();
        if handle == 0 {
            return None;
        }
        let parts = message.get(HEADER..)?;
        let kind = attribute(parts, TCA_KIND)?;
        let is_program = kind == b"bpf\0";
        let options = attribute(parts, TCA_OPTIONS)
            .filter(|_| is_program)
            .unwrap_or_default();
        let name = attribute(options, TCA_BPF_NAME).unwrap_or(kind);
        let number = |bytes: &[u8]| Some(u32::from_ne_bytes(bytes.try_into().ok()?));
        let [priority, protocol] = halves(header.info);
        Some(Self {
            place: Place {
                ifindex: header.index.cast_unsigned(),
                direction,
                priority,
                handle,
                protocol,
            },
            begins: attribute(parts, TCA_CHAIN).and_then(number).unwrap_or(0) == 0,
            is_plain_program: is_program && protocol == ETH_P_ALL.to_be(),
            program: Foreign {
                id: attribute(options, TCA_BPF_ID).and_then(number).unwrap_or(0),
                name: String::from_utf8_lossy(name)
                    .trim_end_matches('\0')
                    .to_owned(),
            },
        })
    }

    /// A filter with this handle and name.
    #[cfg(test)]
    pub(super) fn named(handle: u32, name: String) -> Self {
        Self {
            place: Place {
                ifindex: 1,
                direction: Direction::Ingress,
                priority: 1,
                handle,
                protocol: ETH_P_ALL.to_be(),
            },
            begins: true,
            is_plain_program: true,
            program: Foreign { id: 1, name },
        }
    }

    /// The request for all filters at one direction of an interface.
    pub(super) fn list(ifindex: u32, direction: Direction) -> Question {
        let message = TcMessage::from_parts(header(ifindex, direction), Vec::new());
        Question::of(&RouteNetlinkMessage::GetTrafficFilter(message))
    }

    /// The request to add a program, by its descriptor, in direct-action mode: the program's
    /// return value decides.
    pub(super) fn add(
        ifindex: u32,
        direction: Direction,
        priority: u16,
        program: u32,
        name: String,
    ) -> Question {
        let mut header = header(ifindex, direction);
        header.info = whole([priority, ETH_P_ALL.to_be()]);
        let options = [
            TcFilterBpfOption::ProgFd(program),
            TcFilterBpfOption::ProgName(name),
            TcFilterBpfOption::Flags(TcBpfFlags::DirectAction),
        ];
        let attributes = vec![
            TcAttribute::Kind(TcFilterBpf::KIND.to_owned()),
            TcAttribute::Options(options.map(TcOption::Bpf).into()),
        ];
        let message = TcMessage::from_parts(header, attributes);
        Question::of(&RouteNetlinkMessage::NewTrafficFilter(message))
    }
}

impl Place {
    /// The request to remove the filter at this place.
    pub(super) fn remove(&self) -> Question {
        let mut header = header(self.ifindex, self.direction);
        header.handle = self.handle.into();
        header.info = whole([self.priority, self.protocol]);
        let kind = TcAttribute::Kind(TcFilterBpf::KIND.to_owned());
        let message = TcMessage::from_parts(header, vec![kind]);
        Question::of(&RouteNetlinkMessage::DelTrafficFilter(message))
    }
}

fn header(ifindex: u32, direction: Direction) -> TcHeader {
    let minor = match direction {
        Direction::Ingress => TcHandle::MIN_INGRESS,
        Direction::Egress => TcHandle::MIN_EGRESS,
    };
    TcHeader {
        index: ifindex.cast_signed(),
        parent: TcHandle {
            major: u16::MAX,
            minor,
        },
        ..TcHeader::default()
    }
}

/// Splits `tcm_info` into the priority and the protocol.
fn halves(info: u32) -> [u16; 2] {
    let [a, b, c, d] = info.to_be_bytes();
    [u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])]
}

fn whole([priority, protocol]: [u16; 2]) -> u32 {
    u32::from(priority) << 16 | u32::from(protocol)
}

#[cfg(test)]
mod tests {
    use netlink_packet_core::Emitable as _;

    use super::*;

    /// Describes a filter from the kernel's attributes.
    fn told(kind: &str, handle: u32, parent: u16, options: Vec<TcOption>) -> Vec<u8> {
        let mut header = header(7, Direction::Ingress);
        header.parent.minor = parent;
        header.handle = handle.into();
        header.info = whole([1, ETH_P_ALL.to_be()]);
        let attributes = vec![
            TcAttribute::Kind(kind.to_owned()),
            TcAttribute::Chain(0),
            TcAttribute::Options(options),
        ];
        let message = TcMessage::from_parts(header, attributes);
        let mut bytes = vec![0; message.buffer_len()];
        message.emit(&mut bytes);
        bytes
    }

    #[test]
    fn a_program_is_read_with_its_name() {
        let options = [
            TcFilterBpfOption::ProgName("tracer_ingress/1".to_owned()),
            TcFilterBpfOption::ProgId(42),
        ];
        let told = told(
            "bpf",
            1,
            TcHandle::MIN_EGRESS,
            options.map(TcOption::Bpf).into(),
        );
        let filter = Filter::parse(&told).expect("a filter");
        assert_eq!(filter.place.ifindex, 7);
        assert_eq!(filter.place.direction, Direction::Egress);
        assert_eq!((filter.place.priority, filter.place.handle), (1, 1));
        assert!(filter.begins && filter.is_plain_program);
        assert_eq!(filter.program.id, 42);
        assert!(filter.program.name.starts_with("tracer_"));
    }

    #[test]
    fn others_are_read_for_what_they_are() {
        let flower = told("flower", 1, TcHandle::MIN_INGRESS, Vec::new());
        let filter = Filter::parse(&flower).expect("a filter");
        assert!(!filter.is_plain_program && !filter.program.name.starts_with("tracer_"));
        assert_eq!((filter.program.id, &*filter.program.name), (0, "flower"));
        let list = told("bpf", 0, TcHandle::MIN_INGRESS, Vec::new());
        assert_eq!(Filter::parse(&list), None);
        let other_qdisc = told("bpf", 1, 0, Vec::new());
        assert_eq!(Filter::parse(&other_qdisc), None);
        assert_eq!(Filter::parse(&flower[..24]), None);
    }
}
