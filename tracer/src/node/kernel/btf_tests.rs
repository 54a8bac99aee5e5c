//! Tests on BTF written by hand, and on any bytes.

use proptest::prelude::*;

use super::*;

/// Writes BTF.
#[derive(Default)]
struct Writer {
    types: Vec<u8>,
    strings: Vec<u8>,
    count: u32,
}

impl Writer {
    fn new() -> Self {
        Self {
            strings: vec![0],
            ..Self::default()
        }
    }

    fn name(&mut self, name: &str) -> u32 {
        if name.is_empty() {
            return 0;
        }
        let at = u32::try_from(self.strings.len()).expect("short");
        self.strings.extend_from_slice(name.as_bytes());
        self.strings.push(0);
        at
    }

    fn push(&mut self, name: &str, kind: u32, flag: bool, inner: u32, rest: &[[u32; 3]]) -> u32 {
        let words = if matches!(kind, kind::ENUM | kind::FUNC_PROTO) {
            2
        } else {
            3
        };
        let name = self.name(name);
        let count = u32::try_from(rest.len()).expect("few");
        let info = kind << 24 | u32::from(flag) << 31 | count;
        let fixed = [name, info, inner];
        for word in fixed
            .iter()
            .chain(rest.iter().flat_map(|entry| &entry[..words]))
        {
            self.types.extend_from_slice(&word.to_ne_bytes());
        }
        self.count += 1;
        self.count
    }

    fn finish(self) -> Vec<u8> {
        let len = |part: &[u8]| u32::try_from(part.len()).expect("short");
        let mut bytes = MAGIC.to_ne_bytes().to_vec();
        bytes.extend_from_slice(&[1, 0]);
        let (types, strings) = (len(&self.types), len(&self.strings));
        for word in [24, 0, types, types, strings] {
            bytes.extend_from_slice(&word.to_ne_bytes());
        }
        bytes.extend_from_slice(&self.types);
        bytes.extend_from_slice(&self.strings);
        bytes
    }
}

/// `struct sk_buff { u64 a; union { struct { u64 next; u64 dev; }; u64 node; };
/// flag:1; struct sock_common c; }`, and a tracepoint of three arguments.
fn sample() -> Btf {
    let mut writer = Writer::new();
    let names = ["a", "next", "dev", "node", "flag", "common", "net"].map(|name| writer.name(name));
    let [a, next, dev, node, flag, common, net] = names;
    let long = writer.push("u64", kind::TYPEDEF, false, 0, &[]);
    let list = writer.push(
        "",
        kind::STRUCT,
        false,
        16,
        &[[next, long, 0], [dev, long, 64]],
    );
    let either = writer.push("", kind::UNION, false, 16, &[[0, list, 0], [node, long, 0]]);
    let inner = writer.push("sock_common", kind::STRUCT, false, 64, &[[net, long, 384]]);
    let constant = writer.push("", kind::CONST, false, inner, &[]);
    writer.push(
        "sk_buff",
        kind::STRUCT,
        true,
        200,
        &[
            [a, long, 0],
            [0, either, 64],
            [flag, long, 1 << 24 | 193],
            [common, constant, 256],
        ],
    );
    let first = writer.name("SKB_DROP_REASON_NO_SOCKET");
    writer.push("skb_drop_reason", kind::ENUM, false, 4, &[[first, 3, 0]]);
    let arguments = [[0, long, 0]; 4];
    let prototype = writer.push("", kind::FUNC_PROTO, false, 0, &arguments);
    let pointer = writer.push("", kind::PTR, false, prototype, &[]);
    writer.push("btf_trace_kfree_skb", kind::TYPEDEF, false, pointer, &[]);
    Btf::parse(writer.finish()).expect("well formed")
}

#[test]
fn fields_are_found_in_anonymous_members_too() {
    let btf = sample();
    let offset = |path| btf.offset("sk_buff", path).ok();
    assert_eq!(offset("a"), Some(0));
    assert_eq!(offset("next"), Some(8));
    assert_eq!(offset("dev"), Some(16));
    assert_eq!(offset("node"), Some(8));
    assert_eq!(offset("common.net"), Some(32 + 48));
}

#[test]
fn what_is_not_there_is_missing_and_not_zero() {
    let btf = sample();
    let error = btf.offset("sk_buff", "reason").expect_err("not there");
    assert!(error.to_string().contains("sk_buff has no reason"));
    btf.offset("net", "ns").expect_err("no such structure");
    btf.offset("sk_buff", "flag").expect_err("not at a byte");
    btf.offset("sk_buff", "a.b").expect_err("not a structure");
    assert!(btf.enumerators("nothing").is_empty());
    assert_eq!(btf.tracepoint_arguments("consume_skb"), None);
}

#[test]
fn reasons_and_arguments_are_told() {
    let btf = sample();
    let reasons = btf.enumerators("skb_drop_reason");
    assert_eq!(reasons, [("SKB_DROP_REASON_NO_SOCKET".to_owned(), 3)]);
    assert_eq!(btf.tracepoint_arguments("kfree_skb"), Some(3));
}

#[test]
fn a_tracepoint_alone_has_the_number_that_it_has_among_all() {
    let btf = sample();
    let only = btf.only_tracepoint("kfree_skb").expect("it is there");
    let only = Btf::parse(only).expect("well formed");
    let number = |btf: &Btf| btf.named(kind::TYPEDEF, "btf_trace_kfree_skb");
    assert_eq!(number(&only), number(&btf));
    assert_eq!(only.named(kind::STRUCT, "sk_buff"), None);
    assert_eq!(btf.only_tracepoint("consume_skb"), None);
}

/// A module's strings come after the kernel's, which it uses as well.
#[test]
fn a_modules_own_types_have_names_of_both() {
    let kernel = sample();
    let mut module = Writer::new();
    let base = u32::try_from(kernel.strings.len()).expect("short");
    let strings = &kernel.bytes[kernel.strings.clone()];
    let shared = strings.windows(6).position(|text| text == b"\0node\0");
    let shared = u32::try_from(shared.expect("it is there") + 1).expect("short");
    let own = base + module.name("OVS_DROP_METER");
    let list = base + module.name("ovs_drop_reason");
    let at = module.types.len();
    module.push("", kind::ENUM, false, 4, &[[own, 7, 0], [shared, 8, 0]]);
    module.types[at..at + 4].copy_from_slice(&list.to_ne_bytes());
    let module = kernel.split(module.finish()).expect("well formed");
    let reasons = [("OVS_DROP_METER".to_owned(), 7), ("node".to_owned(), 8)];
    assert_eq!(module.enumerators("ovs_drop_reason"), reasons);
    assert!(kernel.enumerators("ovs_drop_reason").is_empty());
    assert!(kernel.split(vec![1, 2, 3]).is_none());
}

proptest! {
    #[test]
    fn any_bytes_are_understood_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let mut with_header = MAGIC.to_ne_bytes().to_vec();
        with_header.extend_from_slice(&[1, 0, 24, 0, 0, 0]);
        with_header.extend_from_slice(&bytes);
        for bytes in [bytes, with_header] {
            if let Ok(btf) = Btf::parse(bytes) {
                let _ = btf.offset("sk_buff", "dev");
                let _ = btf.enumerators("skb_drop_reason");
            }
        }
    }

    #[test]
    fn a_changed_byte_is_survived(at in 24_usize..400, value: u8) {
        let mut bytes = sample().bytes;
        let at = at % bytes.len();
        bytes[at] = value;
        if let Ok(btf) = Btf::parse(bytes) {
            for path in ["a", "dev", "node", "common.net", "flag"] {
                let _ = btf.offset("sk_buff", path);
            }
            let _ = btf.enumerators("skb_drop_reason");
            let _ = btf.tracepoint_arguments("kfree_skb");
        }
    }
}
