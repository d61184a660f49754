//! Decompresses a stream whole: every member, frame and stream of it, and a torn end is an error.
//!
//! DataFusion's own decoders of streams stop after the first member of a `.bz2`, `.xz` or `.zst` file, which parallel
//! compressors write many of. Its decoders of local files do not, so the bytes of a stream go through those.

use crate::format::Compression;
use bytes::{Buf, Bytes};
use datafusion_common::DataFusionError;
use futures::StreamExt;
use futures::stream::BoxStream;
use std::io::Read;
use tokio::sync::mpsc::{Receiver, Sender, channel};

/// Chunks that wait on either side of the decoder.
const CHUNKS: usize = 4;

/// Size of a decompressed chunk.
const CHUNK_BYTES: usize = 256 * 1024;

/// The decompressed stream. The decoder runs on a blocking thread and ends when the stream is dropped.
pub(crate) fn decompressed(
    mut stream: BoxStream<'static, object_store::Result<Bytes>>,
    compression: Compression,
) -> BoxStream<'static, object_store::Result<Bytes>> {
    if compression == Compression::None {
        return stream;
    }
    let (input, compressed) = channel::<std::io::Result<Bytes>>(CHUNKS);
    let (output, mut plain) = channel::<object_store::Result<Bytes>>(CHUNKS);
    tokio::task::spawn_blocking(move || pump(compressed, compression, &output));
    let feed = async move {
        while let Some(chunk) = stream.next().await {
            if input.send(chunk.map_err(std::io::Error::other)).await.is_err() {
                break;
            }
        }
    };
    let feed = futures::stream::once(feed).filter_map(|()| async { None });
    let plain = futures::stream::poll_fn(move |cx| plain.poll_recv(cx));
    futures::stream::select(plain, feed).boxed()
}

fn pump(
    compressed: Receiver<std::io::Result<Bytes>>,
    compression: Compression,
    output: &Sender<object_store::Result<Bytes>>,
) {
    let chunks = Chunks { compressed, current: Bytes::new() };
    let mut reader = match compression.to_datafusion().convert_read(chunks) {
        Ok(reader) => reader,
        Err(error) => {
            let _ = output.blocking_send(Err(damaged(error)));
            return;
        }
    };
    loop {
        let mut chunk = Vec::with_capacity(CHUNK_BYTES);
        match reader.by_ref().take(CHUNK_BYTES as u64).read_to_end(&mut chunk) {
            Ok(0) => return,
            Ok(_) => {
                if output.blocking_send(Ok(chunk.into())).is_err() {
                    return;
                }
            }
            Err(error) => {
                let _ = output.blocking_send(Err(read_error(error)));
                return;
            }
        }
    }
}

/// An error of the store below comes back as it was; any other is the decoder's.
fn read_error(error: std::io::Error) -> object_store::Error {
    match error.downcast::<object_store::Error>() {
        Ok(store) => store,
        Err(error) => damaged(DataFusionError::IoError(error)),
    }
}

fn damaged(error: DataFusionError) -> object_store::Error {
    object_store::Error::Generic { store: DAMAGED, source: Box::new(error) }
}

/// Marks an error of the decoder among those of the store.
pub(crate) const DAMAGED: &str = "decompression";

/// Compressed chunks as a reader.
struct Chunks {
    compressed: Receiver<std::io::Result<Bytes>>,
    current: Bytes,
}

impl Read for Chunks {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        while self.current.is_empty() {
            match self.compressed.blocking_recv() {
                Some(chunk) => self.current = chunk?,
                None => return Ok(0),
            }
        }
        let length = self.current.len().min(buffer.len());
        buffer[..length].copy_from_slice(&self.current[..length]);
        self.current.advance(length);
        Ok(length)
    }
}
