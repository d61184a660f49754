//! A store that reads each file only as the statement listed it.
//!
//! A statement plans with the footers and sizes it found; a file that is replaced before it is read would give rows
//! of neither version. Each read therefore asks for the version that was listed, and a changed file is an error.

use crate::decompress::decompressed;
use crate::format::Compression;
use async_trait::async_trait;
use bytes::Bytes;
use datafusion_physical_plan::metrics::Count;
use futures::stream::BoxStream;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload, OBJECT_STORE_COALESCE_DEFAULT,
    ObjectMeta, ObjectStore, ObjectStoreExt, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
    coalesce_ranges,
};
use std::collections::HashMap;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

/// The store of one scan.
#[derive(Debug)]
pub(crate) struct PinnedStore {
    inner: Arc<dyn ObjectStore>,
    versions: HashMap<Path, String>,
    is_local: bool,
    /// How files are decompressed here. Local ones are not: DataFusion's own readers of local files do it right.
    compression: Compression,
    received: Count,
}

impl PinnedStore {
    /// Pins these files to the versions in their listing. A store that tells no versions pins nothing.
    pub(crate) fn new<'a>(
        inner: Arc<dyn ObjectStore>,
        files: impl IntoIterator<Item = &'a ObjectMeta>,
        is_local: bool,
        compression: Compression,
        received: Count,
    ) -> Self {
        let version = |file: &ObjectMeta| Some((file.location.clone(), file.e_tag.clone()?));
        let compression = if is_local { Compression::None } else { compression };
        Self { inner, versions: files.into_iter().filter_map(version).collect(), is_local, compression, received }
    }
}

impl fmt::Display for PinnedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pinned {}", self.inner)
    }
}

#[async_trait]
impl ObjectStore for PinnedStore {
    async fn get_opts(&self, location: &Path, mut options: GetOptions) -> Result<GetResult> {
        if options.if_match.is_none() {
            options.if_match = self.versions.get(location).cloned();
        }
        let mut found = self.inner.get_opts(location, options).await?;
        self.received.add(usize::try_from(found.range.end - found.range.start).unwrap_or(usize::MAX));
        if let (true, GetResultPayload::Stream(_)) = (self.compression != Compression::None, &found.payload) {
            let GetResult { payload, meta, range, attributes } = found;
            let GetResultPayload::Stream(stream) = payload else { unreachable!("matched above") };
            let payload = GetResultPayload::Stream(decompressed(stream, self.compression));
            found = GetResult { payload, meta, range, attributes };
        }
        Ok(found)
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        if !self.is_local {
            let read = |range| self.get_range(location, range);
            return coalesce_ranges(ranges, read, OBJECT_STORE_COALESCE_DEFAULT).await;
        }
        // One open file serves all ranges, without preconditions: a look at the file's version stands in for them.
        if let Some(version) = self.versions.get(location) {
            let found = self.inner.head(location).await?.e_tag;
            if found.as_ref() != Some(version) {
                let source = "the file is not the one that was listed".into();
                return Err(object_store::Error::Precondition { path: location.to_string(), source });
            }
        }
        self.received
            .add(ranges.iter().map(|range| usize::try_from(range.end - range.start).unwrap_or(usize::MAX)).sum());
        self.inner.get_ranges(location, ranges).await
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn put_opts(&self, _: &Path, _: PutPayload, _: PutOptions) -> Result<PutResult> {
        Err(read_only("put"))
    }

    async fn put_multipart_opts(&self, _: &Path, _: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        Err(read_only("put_multipart"))
    }

    fn delete_stream(&self, _: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        Box::pin(futures::stream::once(async { Err(read_only("delete")) }))
    }

    async fn copy_opts(&self, _: &Path, _: &Path, _: CopyOptions) -> Result<()> {
        Err(read_only("copy"))
    }
}

fn read_only(operation: &str) -> object_store::Error {
    object_store::Error::NotImplemented { operation: operation.to_string(), implementer: "PinnedStore".to_string() }
}
