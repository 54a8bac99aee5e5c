//! Names in a captured DNS answer (RFC 1035, 4.1).
//!
//! The bytes come from the network, so they may be anything. A record that is cut off or makes no
//! sense ends the answer.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use tracer_common::{event::split, packet::Packet as _};

/// Bytes of UDP's header, and of the header of DNS.
const UDP: usize = 8;
const HEADER: usize = 12;

/// Types of records, and the class of the Internet.
const A: u16 = 1;
const CNAME: u16 = 5;
const AAAA: u16 = 28;
const INTERNET: u16 = 1;

/// Limits of the records of an answer, of a name's compression pointers, and of a name's length.
const RECORDS: usize = 64;
const JUMPS: usize = 16;
const LONGEST: usize = 253;

/// The requested name of a captured DNS answer over UDP, and the addresses that the answer has for
/// it. `None` if the record captured no such answer.
pub(crate) fn named(record: &[u8]) -> Option<(String, Vec<IpAddr>)> {
    let (event, frame) = split(record)?;
    let message = frame.get(usize::from(event.l4) + UDP..)?;
    answered(message)
}

/// A record of the answer.
enum Record {
    Alias(String),
    Address(IpAddr),
}

fn answered(message: &[u8]) -> Option<(String, Vec<IpAddr>)> {
    /// The bits that say whether it is an answer, the kind of the question, and the error.
    const MASK: u16 = 0xf80f;
    /// An answer to a plain question, without an error.
    const ANSWER: u16 = 0x8000;
    if message.be16(2)? & MASK != ANSWER || message.be16(4)? != 1 {
        return None;
    }
    let mut at = HEADER;
    let question = name(message, &mut at)?;
    // Type and class.
    at += 4;
    let count = usize::from(message.be16(6)?).min(RECORDS);
    let mut records = Vec::new();
    for _ in 0..count {
        let Some(record) = record(message, &mut at) else {
            break;
        };
        records.extend(record);
    }
    // The answer has the records of the requested name, and of the names that it is an alias of.
    let mut names = BTreeSet::from([&*question]);
    let aliases = || {
        records.iter().filter_map(|(name, record)| match record {
            Record::Alias(alias) => Some((&**name, &**alias)),
            Record::Address(_) => None,
        })
    };
    while let Some((_, alias)) =
        aliases().find(|(name, alias)| names.contains(name) && !names.contains(alias))
    {
        names.insert(alias);
    }
    let addresses = records.iter().filter_map(|(name, record)| match record {
        Record::Address(address) if names.contains(&**name) => Some(*address),
        _ => None,
    });
    let addresses: Vec<IpAddr> = addresses.collect();
    Some((question, addresses))
}

/// The record at an offset, which moves behind the record. `Some(None)` for a record without
/// meaning for names.
fn record(message: &[u8], at: &mut usize) -> Option<Option<(String, Record)>> {
    let owner = name(message, at)?;
    let (kind, class) = (message.be16(*at)?, message.be16(*at + 2)?);
    let length = usize::from(message.be16(*at + 8)?);
    let data = *at + 10;
    let bytes = message.get(data..data + length)?;
    *at = data + length;
    let record = match (kind, class) {
        (A, INTERNET) => <[u8; 4]>::try_from(bytes)
            .ok()
            .map(|bytes| Ipv4Addr::from(bytes).into()),
        (AAAA, INTERNET) => <[u8; 16]>::try_from(bytes)
            .ok()
            .map(|bytes| Ipv6Addr::from(bytes).into()),
        (CNAME, INTERNET) => {
            let alias = name(message, &mut { data })?;
            return Some(Some((owner, Record::Alias(alias))));
        }
        _ => None,
    };
    Some(record.map(|address| (owner, Record::Address(address))))
}

/// The name at an offset, in lower case, without the last dot. The offset moves behind the name.
/// `None` for a name that is no host's, because it might control a terminal.
fn name(message: &[u8], at: &mut usize) -> Option<String> {
    let (mut from, mut jumps) = (*at, 0);
    let mut name = String::new();
    loop {
        let length = message.get(from).copied()?;
        let next = from + 1;
        match length {
            0 => {
                if jumps == 0 {
                    *at = next;
                }
                return (!name.is_empty()).then_some(name);
            }
            1..=63 => {
                let label = message.get(next..next + usize::from(length))?;
                let is_usual = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_".contains(byte);
                if !label.iter().all(is_usual) {
                    return None;
                }
                if !name.is_empty() {
                    name.push('.');
                }
                name.extend(
                    label
                        .iter()
                        .map(|byte| char::from(byte.to_ascii_lowercase())),
                );
                if name.len() > LONGEST {
                    return None;
                }
                from = next + usize::from(length);
            }
            // A pointer to an earlier name.
            192.. => {
                if jumps == 0 {
                    *at = next + 1;
                }
                jumps += 1;
                let to = usize::from(message.be16(from)? & 0x3fff);
                if jumps > JUMPS || to >= from {
                    return None;
                }
                from = to;
            }
            64..192 => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn labels(name: &str) -> Vec<u8> {
        let labels = name.split('.').flat_map(|label| {
            let length = u8::try_from(label.len()).expect("a short label");
            [vec![length], label.as_bytes().to_vec()].concat()
        });
        labels.chain([0]).collect()
    }

    /// A message with one question and these records: owner, type and data.
    fn message(flags: u16, question: &str, records: &[(Vec<u8>, u16, Vec<u8>)]) -> Vec<u8> {
        let count = u16::try_from(records.len()).expect("few");
        let mut message = Vec::new();
        for field in [7, flags, 1, count, 0, 0] {
            message.extend(field.to_be_bytes());
        }
        message.extend(labels(question));
        message.extend([0, 1, 0, 1]);
        for (owner, kind, data) in records {
            message.extend(owner);
            message.extend(kind.to_be_bytes());
            message.extend([0, 1, 0, 0, 0, 60]);
            message.extend(u16::try_from(data.len()).expect("short").to_be_bytes());
            message.extend(data);
        }
        message
    }

    /// A pointer to the question's name.
    fn question() -> Vec<u8> {
        vec![0xc0, 12]
    }

    const NOERROR: u16 = 0x8180;

    #[test]
    fn the_requested_name_has_the_addresses_at_the_end_of_its_aliases() {
        let records = [
            (labels("edge.example.net"), A, vec![192, 0, 2, 1]),
            (question(), CNAME, labels("cdn.example.net")),
            (labels("CDN.example.net"), CNAME, labels("edge.example.net")),
            (labels("edge.example.net"), AAAA, vec![0x20; 16]),
            // Nobody has asked for this one.
            (labels("other.example.net"), A, vec![192, 0, 2, 9]),
        ];
        let (name, addresses) =
            answered(&message(NOERROR, "API.example.com", &records)).expect("it is an answer");
        assert_eq!(name, "api.example.com");
        let v6 = IpAddr::from([0x20; 16]);
        assert_eq!(addresses, [IpAddr::from([192, 0, 2, 1]), v6]);
    }

    #[test]
    fn questions_errors_and_odd_names_name_nothing() {
        let records = [(question(), A, vec![192, 0, 2, 1])];
        let sound = message(NOERROR, "a.example.com", &records);
        assert_eq!(
            answered(&sound).map(|(_, addresses)| addresses.len()),
            Some(1)
        );
        for flags in [0x0100, 0x8183, 0x8182, 0xa180] {
            assert_eq!(answered(&message(flags, "a.example.com", &records)), None);
        }
        for name in ["a\u{1b}[2J.example.com", "a b.com"] {
            assert_eq!(answered(&message(NOERROR, name, &records)), None);
        }
        // What was captured ends within the second record.
        let records = [
            (question(), A, vec![192, 0, 2, 1]),
            (question(), A, vec![192, 0, 2, 2]),
        ];
        let mut cut = message(NOERROR, "a.example.com", &records);
        cut.truncate(cut.len() - 1);
        let (_, addresses) = answered(&cut).expect("it is an answer");
        assert_eq!(addresses, [IpAddr::from([192, 0, 2, 1])]);
        // A pointer to itself.
        let mut circle = sound;
        circle[HEADER..HEADER + 2].copy_from_slice(&[0xc0, 12]);
        assert_eq!(answered(&circle), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_an_answer_or_none(
            rest in prop::collection::vec(any::<u8>(), 0..200),
            count in any::<u16>(),
        ) {
            let mut message = message(NOERROR, "a", &[]);
            message[6..8].copy_from_slice(&count.to_be_bytes());
            message.extend(rest);
            let _: Option<(String, Vec<IpAddr>)> = answered(&message);
        }
    }
}
