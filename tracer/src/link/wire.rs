//! What goes to a remote agent: frames, each a length and as many bytes of JSON.
//!
//! The first frame says which protocol the collector speaks, the second is the request,
//! all others are commands or signs of life. What an agent answers is a recording.

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

/// How often a collector shows that it lives, if it has nothing else to say.
pub(crate) const ALIVE_EVERY: Duration = Duration::from_secs(2);

/// More than any request needs: a filter of a hundred thousand pairs.
const MAX_FRAME: usize = 64 << 20;

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
    /// What it is to do from now on.
    Command(Command),
    /// Nothing, but the collector lives.
    Alive,
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

/// Goes through frames of bytes that are all there.
///
/// # Errors
/// If they are none.
#[cfg(any(test, feature = "fuzz"))]
pub(crate) fn messages(bytes: &[u8]) -> io::Result<Vec<Message>> {
    use tokio_util::codec::Decoder as _;

    let mut bytes = tokio_util::bytes::BytesMut::from(bytes);
    let mut codec = codec();
    let mut messages = Vec::new();
    while let Some(frame) = codec.decode(&mut bytes)? {
        messages.push(Message::of_frame(&frame)?);
    }
    Ok(messages)
}
