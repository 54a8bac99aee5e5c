//! IPsec: what a node's kernel encrypts, and how.

use std::fmt::Write as _;

use anyhow::Result;

use super::Node;

/// AES in Galois/Counter Mode, with a key and a salt.
const CIPHER: &str = "aead rfc4106(gcm(aes)) 0x0102030405060708090a0b0c0d0e0f1011121314 128";

/// Makes a node encrypt the packets between its pods and another node's: all packets, or those
/// through the XFRM device with a number.
///
/// # Errors
/// If the kernel has no IPsec.
pub fn encrypt(here: &Node, there: &Node, device: Option<u32>) -> Result<()> {
    let device = device.map_or_else(String::new, |number| format!("if_id {number}"));
    let mut ip = String::new();
    let states = [(here, there), (there, here)];
    for (from, to) in states {
        let (from, to) = (from.underlay, to.underlay);
        // Each direction has its own SPI.
        let spi = u32::from(from);
        writeln!(
            ip,
            "xfrm state add src {from} dst {to} proto esp spi {spi} reqid 1 mode tunnel \
             flag af-unspec {CIPHER} {device}"
        )?;
    }
    for (from, to, direction) in [
        (here, there, "out"),
        (there, here, "in"),
        (there, here, "fwd"),
    ] {
        for (source, destination) in [
            (&from.pod_cidr_v4, &to.pod_cidr_v4),
            (&from.pod_cidr_v6, &to.pod_cidr_v6),
        ] {
            writeln!(
                ip,
                "xfrm policy add src {source} dst {destination} dir {direction} {device} \
                 tmpl src {} dst {} proto esp reqid 1 mode tunnel",
                from.underlay, to.underlay
            )?;
        }
    }
    here.netns.batch("ip -batch -", &ip).map(drop)
}
