//! What goes to a remote agent: frames, each a length and as many bytes of JSON.
//!
//! The first frame says which protocol the collector speaks, the second is the request,
//! all others are commands or questions about its clock. What an agent answers is a recording.

use std::{io, time::Duration};

use serde::{Deserialize, Serialize};
use tokio_util::{
    bytes::Bytes,
    codec::{Encoder as _, LengthDelimitedCodec},
};
use tracer_core::request::{Command, Start};

/// What collectors of this version speak. Within one number, frames and fields are only
/// added, and what is not known is left out.
pub(crate) const PROTOCOL: u32 = 1;

/// Silence that neither side takes for life.
pub(crate) const SILENCE: Duration = Duration::from_secs(10);

/// How often a collector asks for the agent's clock.
pub(crate) const CLOCK_EVERY: Duration = Duration::from_secs(2);

/// More than any request needs: a filter of [`MAX_PAIRS`].
const MAX_FRAME: usize = 64 << 20;

/// How many pairs of addresses a follow may have.
pub(crate) const MAX_PAIRS: usize = 1 << 18;

/// A frame.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Message {
    /// Who speaks.
    Hello {
        /// [`PROTOCOL`].
        protocol: u32,
        /// The version of tracer, for people.
        version: String,
    },
    /// What the agent is to do.
    Start(Box<Start>),
    /// The collector is ready: what the agent sees may come.
    Go,
    /// What it is to do from now on.
    Command(Command),
    /// What time is it there? With the question's number. It shows that the collector
    /// lives, too.
    Clock(u16),
}

/// How frames are cut out of a stream.
pub(crate) fn codec() -> LengthDelimitedCodec {
    LengthDelimitedCodec::builder()
        .max_frame_length(MAX_FRAME)
        .new_codec()
}

impl Message {
    /// The bytes of a frame.
    ///
    /// # Errors
    /// If it is too large.
    pub(crate) fn to_frame(&self) -> io::Result<Vec<u8>> {
        let json = serde_json::to_vec(self)?;
        let mut frame = tokio_util::bytes::BytesMut::new();
        codec().encode(Bytes::from(json), &mut frame)?;
        Ok(frame.to_vec())
    }

    /// What a frame says.
    ///
    /// # Errors
    /// If it is no such message.
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

    /// What an agent reads out of bytes.
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
        // A quarter of the frame is left for all else.
        assert!((json.len() + 1) * MAX_PAIRS < MAX_FRAME * 3 / 4, "{json}");
    }

    #[test]
    fn a_frame_that_is_too_large_is_refused_before_it_has_come() {
        let frame = u32::try_from(MAX_FRAME + 1).expect("it fits").to_be_bytes();
        assert!(messages(&frame).is_err());
    }

    proptest! {
        /// Bytes come from anywhere: they are frames, or refused.
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
