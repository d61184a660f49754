//! The first rows of a text file, decompressed: enough to learn its columns.

use crate::decompress::decompressed;
use crate::format::Compression;
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt};
use std::sync::Arc;

/// The most that is read of one file to learn its columns.
const HEAD_BYTES_MAX: usize = 64 * 1024 * 1024;

/// The beginning of a file.
#[derive(Debug)]
pub(crate) struct Head {
    pub(crate) bytes: Vec<u8>,
    /// Whether this is all of it.
    pub(crate) whole: bool,
}

/// The decompressed content of a file.
pub(crate) async fn content(
    store: &Arc<dyn ObjectStore>,
    file: &ObjectMeta,
    compression: Compression,
) -> object_store::Result<BoxStream<'static, object_store::Result<Bytes>>> {
    let found = store.get(&file.location).await?;
    Ok(decompressed(found.into_stream().boxed(), compression))
}

/// Reads until `lines` line ends have come by.
pub(crate) async fn read_head(
    store: &Arc<dyn ObjectStore>,
    file: &ObjectMeta,
    compression: Compression,
    lines: usize,
) -> object_store::Result<Head> {
    let mut stream = content(store, file, compression).await?;
    let mut bytes = Vec::new();
    let mut seen = 0;
    while let Some(chunk) = stream.try_next().await? {
        seen += chunk.iter().filter(|byte| **byte == b'\n').count();
        bytes.extend_from_slice(&chunk);
        if seen > lines || bytes.len() >= HEAD_BYTES_MAX {
            return Ok(Head { bytes, whole: false });
        }
    }
    Ok(Head { bytes, whole: true })
}

impl Head {
    /// The rows that are there whole. `quote` and `escape` are CSV's: a line end inside quotes ends no row.
    pub(crate) fn whole_rows(&self, quote: Option<u8>, escape: Option<u8>) -> &[u8] {
        if self.whole {
            return &self.bytes;
        }
        let (mut end, mut is_quoted, mut is_escaped) = (0, false, false);
        for (at, byte) in self.bytes.iter().enumerate() {
            if is_escaped {
                is_escaped = false;
            } else if Some(*byte) == escape {
                is_escaped = true;
            } else if Some(*byte) == quote {
                is_quoted = !is_quoted;
            } else if *byte == b'\n' && !is_quoted {
                end = at + 1;
            }
        }
        &self.bytes[..end]
    }
}
