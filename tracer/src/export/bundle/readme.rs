//! The README in a bundle.

use std::{
    io::{self, Write},
    path::PathBuf,
};

pub(super) const NAME: &str = "README.txt";

/// A recording in a bundle.
pub(super) struct Part {
    /// Name of the recording in the bundle.
    pub(super) name: String,
    /// Name of the original file; `None` if the bundle must not tell it.
    pub(super) original: Option<String>,
    /// Path of the file that will be packed.
    pub(super) path: PathBuf,
}

/// Writes the list of the bundle's contents.
pub(super) fn write(
    out: &mut impl Write,
    parts: &[Part],
    follow: &str,
    versions: &[String],
    anonymized: bool,
    snaplen: u32,
) -> io::Result<()> {
    let follow = crate::terminal::clean(follow);
    let recorded = versions.join(" and ");
    let names = if anonymized {
        "Addresses, names of pods, Services, nodes and interfaces, and MAC addresses
are replaced, each by the same one everywhere. Free text is left out. Times,
sizes, ports and the kernel's own names of reasons and functions are as they
were."
    } else {
        "Names and addresses are those of the cluster. `tracer bundle --anonymize`
replaces them."
    };
    let payload = match snaplen {
        0 if anonymized => "No payload of packets is inside.".to_owned(),
        0 => "No payload of packets is inside, because tracer copied none.".to_owned(),
        bytes => format!(
            "PAYLOAD IS INSIDE: the first {bytes} bytes of each frame, in the recordings.
`tracer bundle --anonymize` leaves them out."
        ),
    };
    write!(
        out,
        "What became of packets, recorded by tracer.

followed:  {follow}
recorded:  by tracer {recorded}
bundled:   by tracer {}

{names}
{payload}

What is inside

trace.html
    For a browser, without a network: what is wrong, every journey with its
    hops and its verdict, latencies, drops.
summary.txt
    Where packets were watched, how many fared how, latencies, and where every
    event went. Look there whether events were lost.
contents.txt
    What each recording holds: from when to when, of which nodes, how many
    packets, and whether it is complete.
nodes.json
    What the agent on each node said of itself: its observation points and why
    it chose them, devices, routes, addresses, kernel and clock; by recording.
",
        env!("CARGO_PKG_VERSION")
    )?;
    for part in parts {
        write!(out, "recordings/{}", part.name)?;
        match &part.original {
            Some(original) => writeln!(out, " (was {})", crate::terminal::clean(original))?,
            None => writeln!(out)?,
        }
    }
    write!(
        out,
        "    All that was recorded. `tracer replay recordings/*` shows the journeys and
    verdicts again; pyarrow and DuckDB read the files as they are (Arrow IPC).
"
    )
}
