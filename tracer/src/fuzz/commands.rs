//! What a collector sends to an agent of another process: frames with JSON.

use tokio_util::{bytes::BytesMut, codec::Decoder as _};

use crate::link::wire::{Message, codec};

/// Reads any bytes as an agent does, up to the first frame that is refused. A message that is
/// understood is the same after it was written and read again.
pub fn commands(data: &[u8]) {
    let (mut bytes, mut codec) = (BytesMut::from(data), codec());
    while let Ok(Some(frame)) = codec.decode(&mut bytes) {
        let Ok(message) = Message::of_frame(&frame) else {
            return;
        };
        let written = message.to_frame().expect("it came in a frame");
        // The length is in front.
        let again = Message::of_frame(&written[4..]).expect("it was just written");
        assert_eq!(format!("{again:?}"), format!("{message:?}"));
    }
}
