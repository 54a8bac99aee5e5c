//! Messages to a remote agent, each in a frame: a length of four bytes, network byte order, and
//! that many bytes of JSON.
//!
//! The first frame has the collector's protocol version, and the second the request. All others
//! are commands, or questions about the agent's clock. The agent answers with a recording.

use std::{io, time::Duration};

use serde::{Deserialize, Serialize};
use tokio_util::{
    bytes::Bytes,
    codec::{Encoder as _, LengthDelimitedCodec},
};
use tracer_core::request::{Command, Start};

/// Protocol version of this collector. Within one version, frames and fields are only added,
/// and unknown ones are ignored.
pub(crate) const PROTOCOL: u32 = 1;

/// How long an agent may take to attach its programs and describe itself: old verifiers are
/// slow.
pub(super) const BEGINNING: Duration = Duration::from_secs(120);

/// After this silence, each side takes the other one for dead.
pub(crate) const SILENCE: Duration = Duration::from_secs(10);

/// How often a collector asks for the agent's clock.
pub(crate) const CLOCK_EVERY: Duration = Duration::from_secs(2);

/// Limit of a frame, bytes: more than a request with a filter of [`MAX_PAIRS`] needs.
const MAX_FRAME: usize = 64 << 20;

/// Limit of a follow's pairs of addresses.
pub(crate) const MAX_PAIRS: usize = 1 << 18;

/// A message in a frame.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Message {
    /// The collector's version, in the first frame.
    Hello {
        /// Protocol version: [`PROTOCOL`].
        protocol: u32,
        /// Version of tracer, for messages.
        version: String,
    },
    /// The request: what the agent has to do.
    Start(Box<Start>),
    /// The collector is ready for hops and drops.
    Go,
    /// A command.
    Command(Command),
    /// A question for the agent's clock, with the question's number. It also shows that the
    /// collector is alive.
    Clock(u16),
}

/// The codec that separates frames in a stream.
pub(crate) fn codec() -> LengthDelimitedCodec {
    LengthDelimitedCodec::builder()
        .max_frame_length(MAX_FRAME)
        .new_codec()
}

impl Message {
    /// Encodes a message as a frame: a length of four bytes, network byte order, then JSON.
    ///
    /// # Errors
    /// If the frame would be too large.
    pub(crate) fn to_frame(&self) -> io::Result<Vec<u8>> {
        let json = serde_json::to_vec(self)?;
        let mut frame = tokio_util::bytes::BytesMut::new();
        codec().encode(Bytes::from(json), &mut frame)?;
        Ok(frame.to_vec())
    }

    /// Decodes the JSON of a frame, without its length.
    ///
    /// # Errors
    /// If the bytes are no message.
    #[cfg(target_os = "linux")]
    pub(crate) fn of_frame(frame: &[u8]) -> io::Result<Self> {
        Ok(serde_json::from_slice(frame)?)
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};
    use tokio_util::{bytes::BytesMut, codec::Decoder as _};
    use tracer_core::{model::Pair, request::Filter};

    use super::*;

    /// The messages that an agent reads from bytes.
    fn messages(bytes: &[u8]) -> io::Result<Vec<Message>> {
        let (mut bytes, mut codec) = (BytesMut::from(bytes), codec());
        let mut messages = Vec::new();
        while let Some(frame) = codec.decode(&mut bytes)? {
            messages.push(Message::of_frame(&frame)?);
        }
        Ok(messages)
    }

    fn frames() -> Vec<u8> {
        let filter = Filter {
            generation: 2,
            next_hops: vec![[10, 0, 0, 1].into()],
            ..Filter::default()
        };
        let messages = [
            Message::Hello {
                protocol: PROTOCOL,
                version: "0.1.0".to_owned(),
            },
            Message::Command(Command::Arm(filter)),
            Message::Command(Command::Sample(7)),
            Message::Clock(9),
        ];
        let frames = messages.map(|message| message.to_frame().expect("small"));
        frames.concat()
    }

    #[test]
    fn what_is_said_is_understood() {
        let heard = messages(&frames()).expect("frames");
        let [hello, arm, sample, clock] = heard.as_slice() else {
            panic!("{heard:?}");
        };
        assert!(matches!(hello, Message::Hello { protocol: 1, .. }));
        let Message::Command(Command::Arm(filter)) = arm else {
            panic!("{arm:?}");
        };
        assert_eq!((filter.generation, filter.next_hops.len()), (2, 1));
        assert!(matches!(sample, Message::Command(Command::Sample(7))));
        assert!(matches!(clock, Message::Clock(9)));
    }

    #[test]
    fn the_largest_filter_fits_into_a_frame() {
        let network = "1000:1000:1000:1000:1000:1000:1000:1000/128";
        let pair = Pair {
            a: network.parse().expect("a network"),
            b: network.parse().expect("a network"),
            proto: Some(u8::MAX),
            a_port: Some(u16::MAX),
            b_port: Some(u16::MAX),
        };
        let json = serde_json::to_string(&pair).expect("text");
        // A quarter of the frame is left for everything else.
        assert!((json.len() + 1) * MAX_PAIRS < MAX_FRAME * 3 / 4, "{json}");
    }

    #[test]
    fn a_frame_that_is_too_large_is_refused_before_it_has_come() {
        let frame = u32::try_from(MAX_FRAME + 1).expect("it fits").to_be_bytes();
        assert!(messages(&frame).is_err());
    }

    proptest! {
        /// Any bytes are frames, or refused.
        #[test]
        fn changed_bytes_are_refused_or_understood(
            changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
            cut in any::<prop::sample::Index>(),
        ) {
            let mut bytes = frames();
            for (index, byte) in changes {
                *index.get_mut(&mut bytes) = byte;
            }
            bytes.truncate(cut.index(bytes.len()));
            if let Ok(heard) = messages(&bytes) {
                prop_assert!(heard.len() <= 4);
            }
        }
    }
}
