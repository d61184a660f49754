//! How far: offsets in the log, positions in a source, and the cut through all of them that a client can keep.

use crate::{CatalogName, Error, Result, SqlState};
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

#[cfg(test)]
mod tests;

/// A position in one source's own history: opaque bytes, compared as bytes.
///
/// # Promises of the source
/// 1. A later change has a position that is greater or equal, byte by byte.
/// 2. A position stays valid across restarts of either side, until the source reports it lost.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SourcePosition(Arc<[u8]>);

impl SourcePosition {
    /// A position made of bytes that sort as the source's history does (so: big-endian numbers).
    pub fn new(bytes: impl Into<Arc<[u8]>>) -> Self {
        Self(bytes.into())
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for SourcePosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for SourcePosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SourcePosition({self})")
    }
}

/// The number of a record in a shard of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Offset(pub u64);

/// The name of a shard of the log.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShardName(pub Arc<str>);

/// A cut: shard → end offset, and source → its own position. As text it is a token that a client can keep and send.
///
/// ```
/// use polder_catalog::{CatalogName, Offset, Position, ShardName, SourcePosition};
///
/// let mut position = Position::default();
/// position.shards.insert(ShardName("main".into()), Offset(12));
/// position.sources.insert(CatalogName::new("shop"), SourcePosition::new([0x16, 0xb3]));
/// let token = position.to_string();
/// assert_eq!(token, "main:12,shop@16b3");
/// assert_eq!(token.parse::<Position>().unwrap(), position);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Position {
    /// How far each shard was read.
    pub shards: BTreeMap<ShardName, Offset>,
    /// How far each source was read, where it was read live or written to.
    pub sources: BTreeMap<CatalogName, SourcePosition>,
}

impl Position {
    /// Whether everything in `other` is reflected here too.
    pub fn includes(&self, other: &Self) -> bool {
        other.shards.iter().all(|(shard, offset)| self.shards.get(shard).is_some_and(|mine| mine >= offset))
            && other.sources.iter().all(|(source, at)| self.sources.get(source).is_some_and(|mine| mine >= at))
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shards = self.shards.iter().map(|(shard, offset)| format!("{}:{}", escape(&shard.0), offset.0));
        let sources = self.sources.iter().map(|(source, at)| format!("{}@{at}", escape(source.as_str())));
        f.write_str(&shards.chain(sources).collect::<Vec<_>>().join(","))
    }
}

impl FromStr for Position {
    type Err = Error;

    fn from_str(token: &str) -> Result<Self> {
        let mut position = Self::default();
        if token.is_empty() {
            return Ok(position);
        }
        for part in token.split(',') {
            read_part(part, &mut position).ok_or_else(|| {
                Error::fix(SqlState::PARAMETER, format!("'{part}' is not part of a position token"))
                    .with_hint("send a token as SHOW POSITION printed it")
            })?;
        }
        Ok(position)
    }
}

/// Adds one part of a token; `None` if it is none, or says again what another part said.
fn read_part(part: &str, position: &mut Position) -> Option<()> {
    let is_new = if let Some((source, at)) = part.split_once('@') {
        let (source, at) = (CatalogName::new(unescape(source)?), SourcePosition::new(read_hex(at)?));
        position.sources.insert(source, at).is_none()
    } else {
        let (shard, offset) = part.split_once(':')?;
        let digits = Some(offset).filter(|offset| offset.bytes().all(|byte| byte.is_ascii_digit()))?;
        position.shards.insert(ShardName(unescape(shard)?.into()), Offset(digits.parse().ok()?)).is_none()
    };
    is_new.then_some(())
}

fn read_hex(text: &str) -> Option<Vec<u8>> {
    let pairs = text.as_bytes().chunks(2);
    pairs.map(|pair| <[u8; 2]>::try_from(pair).ok().and_then(|[high, low]| read_byte(high, low))).collect()
}

fn read_byte(high: u8, low: u8) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    Some(digit(high)? << 4 | digit(low)?)
}

/// Percent-encodes everything but letters, digits and `_-/.`, so that a name never holds a separator.
fn escape(name: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-/.".contains(&byte);
    name.bytes().fold(String::new(), |mut text, byte| {
        if plain(byte) {
            text.push(char::from(byte))
        } else {
            text.push_str(&format!("%{byte:02x}"))
        }
        text
    })
}

fn unescape(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        if byte == b'%' {
            let [high, low, after @ ..] = after else { return None };
            bytes.push(read_byte(*high, *low)?);
            rest = after;
        } else {
            bytes.push(byte);
            rest = after;
        }
    }
    String::from_utf8(bytes).ok()
}
