//! What a file is, told by its name: format and compression.

use datafusion_datasource::file_compression_type::FileCompressionType;
use std::fmt;

/// A format that is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Format {
    Parquet,
    Csv,
    Tsv,
    Ndjson,
    Arrow,
}

/// How a whole file is compressed. (Parquet and Arrow compress inside.)
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Compression {
    None,
    Gzip,
    Bzip2,
    Xz,
    Zstd,
}

/// What a file's name says of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FileName<'a> {
    /// The name without the extensions below.
    pub(crate) stem: &'a str,
    pub(crate) format: Option<Format>,
    pub(crate) compression: Compression,
}

impl Format {
    /// The format of an option's value; `None` for `auto`.
    pub(crate) fn named(word: &str) -> Option<Self> {
        match word {
            "parquet" => Some(Self::Parquet),
            "csv" => Some(Self::Csv),
            "tsv" => Some(Self::Tsv),
            "ndjson" => Some(Self::Ndjson),
            "arrow" => Some(Self::Arrow),
            _ => None,
        }
    }

    fn of_extension(extension: &str) -> Option<Self> {
        match extension.to_ascii_lowercase().as_str() {
            "parquet" | "pq" | "parq" => Some(Self::Parquet),
            "csv" => Some(Self::Csv),
            "tsv" => Some(Self::Tsv),
            "ndjson" | "jsonl" | "json" => Some(Self::Ndjson),
            "arrow" | "feather" | "ipc" | "arrows" => Some(Self::Arrow),
            _ => None,
        }
    }

    /// Whether a file of this format may be compressed as a whole.
    pub(crate) fn is_text(self) -> bool {
        matches!(self, Self::Csv | Self::Tsv | Self::Ndjson)
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Parquet => "Parquet",
            Self::Csv => "CSV",
            Self::Tsv => "TSV",
            Self::Ndjson => "NDJSON",
            Self::Arrow => "Arrow IPC",
        })
    }
}

impl Compression {
    fn of_extension(extension: &str) -> Option<Self> {
        match extension.to_ascii_lowercase().as_str() {
            "gz" | "gzip" => Some(Self::Gzip),
            "bz2" => Some(Self::Bzip2),
            "xz" => Some(Self::Xz),
            "zst" | "zstd" => Some(Self::Zstd),
            _ => None,
        }
    }

    /// DataFusion's word for it.
    pub(crate) fn to_datafusion(self) -> FileCompressionType {
        match self {
            Self::None => FileCompressionType::UNCOMPRESSED,
            Self::Gzip => FileCompressionType::GZIP,
            Self::Bzip2 => FileCompressionType::BZIP2,
            Self::Xz => FileCompressionType::XZ,
            Self::Zstd => FileCompressionType::ZSTD,
        }
    }
}

impl<'a> FileName<'a> {
    /// Splits a file name: `orders.csv.gz` is stem `orders`, CSV, gzip.
    pub(crate) fn parse(name: &'a str) -> Self {
        let (rest, compression) = match name.rsplit_once('.') {
            Some((rest, extension)) if !rest.is_empty() => match Compression::of_extension(extension) {
                Some(compression) => (rest, compression),
                None => (name, Compression::None),
            },
            _ => (name, Compression::None),
        };
        match rest.rsplit_once('.').and_then(|(stem, extension)| Some((stem, Format::of_extension(extension)?))) {
            Some((stem, format)) if !stem.is_empty() => Self { stem, format: Some(format), compression },
            _ => Self { stem: rest, format: None, compression },
        }
    }
}
