//! `COPY ... FROM STDIN`: rows that a client sends.

use super::connection::{Connection, Failed};
use super::message::{Message, violation};
use crate::session::CopyIn;
use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use pgwire::messages::PgWireBackendMessage as Reply;
use pgwire::messages::copy::CopyInResponse;
use polder_catalog::Error;
use tokio_util::sync::CancellationToken;

impl Connection {
    /// `COPY ... FROM STDIN`: the client's rows, up to its end.
    pub(super) async fn copy_in(&mut self, mut copy: CopyIn, cancel: &CancellationToken) -> Result<(), Failed> {
        self.send(Reply::CopyInResponse(CopyInResponse::new(0, 0, Vec::new()))).await?;
        self.flush().await?;
        let mut input = Input::default();
        loop {
            let message = match self.next.take() {
                Some(message) => Some(message),
                None => {
                    let shutdown = self.server.shutdown.clone();
                    tokio::select! {
                        biased;
                        () = cancel.cancelled() => return Err(Failed::Statement(self.session.failed(Error::cancelled()))),
                        error = shutdown.stopped() => return Err(Failed::Fatal(error)),
                        message = self.wire.next() => message.transpose()?,
                    }
                }
            };
            match message {
                Some(Message::CopyData(piece)) => self.hearing(copy.write(input.pass(&piece)), cancel).await??,
                Some(Message::CopyDone) => {
                    self.hearing(copy.write(input.finish()), cancel).await??;
                    let tag = self.hearing(copy.finish(), cancel).await??;
                    return self.complete(tag).await;
                }
                Some(Message::CopyFail(reason)) => return Err(Failed::Statement(copy.fail(&reason).await)),
                // Sent ahead by clients that do not wait for the answer to their Execute.
                Some(Message::Flush | Message::Sync) => {}
                Some(other) => return Err(Failed::Fatal(violation(format!("{other:?} in the middle of a COPY")))),
                None => return Err(Failed::Gone),
            }
        }
    }
}

/// The client's bytes without the line `\\.` at their end: psql sends it along up to version 17, and servers of its time take it
/// for the end of the data.
#[derive(Default)]
struct Input {
    /// The last bytes so far: they may be that line.
    held: BytesMut,
}

/// How many bytes the line takes, with the end of the line before it.
const HELD: usize = b"\n\\.\r\n".len();

impl Input {
    /// What may be passed on.
    fn pass(&mut self, piece: &[u8]) -> Bytes {
        self.held.extend_from_slice(piece);
        self.held.split_to(self.held.len().saturating_sub(HELD)).freeze()
    }

    /// The rest.
    fn finish(self) -> Bytes {
        for end in [&b"\\.\r\n"[..], b"\\.\n", b"\\."] {
            if let Some(before) = self.held.strip_suffix(end)
                && (before.is_empty() || before.ends_with(b"\n"))
            {
                return Bytes::copy_from_slice(before);
            }
        }
        self.held.freeze()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_at_the_end_is_left_out_however_it_is_cut() {
        let cases = [
            ("1,a\n\\.\n", "1,a\n"),
            ("1,a\r\n\\.\r\n", "1,a\r\n"),
            ("\\.", ""),
            ("", ""),
            ("1,a", "1,a"),
            ("1,\\.\n", "1,\\.\n"),
            ("1,a\n\\.\n2,b\n", "1,a\n\\.\n2,b\n"),
        ];
        for (sent, want) in cases {
            for size in 1..=sent.len().max(1) {
                let mut input = Input::default();
                let mut got: Vec<u8> = sent.as_bytes().chunks(size).flat_map(|piece| input.pass(piece)).collect();
                got.extend(input.finish());
                assert_eq!(String::from_utf8(got).unwrap(), want, "{sent:?} by {size}");
            }
        }
    }
}
