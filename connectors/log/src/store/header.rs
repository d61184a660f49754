//! The header of an entry: what the writer decided (number, offset, time) and what the caller said (kind, attributes).
//!
//! ```text
//! | version u8 | kind u8 | first offset varint | records varint | parts varint | time i64 | attributes ... |
//! ```
//!
//! Attributes are tag, length, value. A reader keeps those it does not know as they are, so that a field can be added
//! without a new version.

use super::wire::{Malformed, Reader, put_bytes, put_varint};
use super::{CommitTime, EntryNumber, Offset};
use bytes::Bytes;
use std::collections::BTreeMap;

const HEADER_VERSION: u8 = 1;

/// What an entry is. Kinds that this version does not know are read and passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryKind(pub u8);

impl EntryKind {
    /// Changes to datasets.
    pub const DATA: Self = Self(0);
    /// The Arrow schema of a dataset under a schema id. Written by the store, with no records.
    pub const SCHEMA: Self = Self(1);
    /// A definition: DDL, in `main`.
    pub const DEFINITION: Self = Self(2);
    /// A cut through all shards, in `main`.
    pub const EPOCH: Self = Self(3);
    /// Something another store is asked to decide.
    pub const REQUEST: Self = Self(4);
    /// What became of a request.
    pub const OUTCOME: Self = Self(5);
    /// A write that a constraint refused.
    pub const REJECTION: Self = Self(6);
}

/// A position over several shards: how far each had been read by what caused the entry.
pub type Cause = BTreeMap<String, Offset>;

/// The dataset that an entry derives, and the version of its definition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deriving {
    /// The derived dataset.
    pub dataset: u64,
    /// The version of the definition that derived the rows.
    pub version: u64,
}

/// What the caller says about an entry beside its parts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attributes {
    /// The client's name for the statement or transaction.
    pub request_id: Option<String>,
    /// Where the entry comes from: a catalog and its own offset, for example.
    pub origin: Option<String>,
    /// The position that the entry depends on: nobody applies it before that.
    pub cause: Cause,
    /// Set if the entry holds derived rows.
    pub deriving: Option<Deriving>,
    /// The client's own digest of what it sent.
    pub digest: Option<[u8; 32]>,
    /// Whose request it is.
    pub user: Option<String>,
    /// What the client was answered.
    pub outcome: Option<String>,
    /// Attributes of a newer version: tag and value.
    pub unknown: Vec<(u64, Bytes)>,
}

const REQUEST_ID: u64 = 1;
const ORIGIN: u64 = 2;
const CAUSE: u64 = 3;
const DERIVING: u64 = 4;
const DIGEST: u64 = 5;
const USER: u64 = 6;
const OUTCOME: u64 = 7;

impl Attributes {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let mut put = |tag, value: &[u8]| {
            put_varint(&mut out, tag);
            put_bytes(&mut out, value);
        };
        if let Some(request_id) = &self.request_id {
            put(REQUEST_ID, request_id.as_bytes());
        }
        if let Some(origin) = &self.origin {
            put(ORIGIN, origin.as_bytes());
        }
        if !self.cause.is_empty() {
            put(CAUSE, &encode_cause(&self.cause));
        }
        if let Some(deriving) = &self.deriving {
            let mut value = Vec::new();
            put_varint(&mut value, deriving.dataset);
            put_varint(&mut value, deriving.version);
            put(DERIVING, &value);
        }
        if let Some(digest) = &self.digest {
            put(DIGEST, digest);
        }
        if let Some(user) = &self.user {
            put(USER, user.as_bytes());
        }
        if let Some(outcome) = &self.outcome {
            put(OUTCOME, outcome.as_bytes());
        }
        for (tag, value) in &self.unknown {
            put(*tag, value);
        }
        out
    }

    fn decode(mut reader: Reader<'_>) -> Result<Self, Malformed> {
        let mut attributes = Self::default();
        while !reader.is_empty() {
            let tag = reader.varint()?;
            let mut value = Reader::new(reader.bytes()?);
            match tag {
                REQUEST_ID => attributes.request_id = Some(whole_text(value)?),
                ORIGIN => attributes.origin = Some(whole_text(value)?),
                CAUSE => attributes.cause = decode_cause(value)?,
                DERIVING => {
                    attributes.deriving = Some(Deriving { dataset: value.varint()?, version: value.varint()? });
                }
                DIGEST => attributes.digest = Some(value.array()?),
                USER => attributes.user = Some(whole_text(value)?),
                OUTCOME => attributes.outcome = Some(whole_text(value)?),
                _ => attributes.unknown.push((tag, Bytes::copy_from_slice(value.rest()))),
            }
        }
        Ok(attributes)
    }
}

fn whole_text(value: Reader<'_>) -> Result<String, Malformed> {
    std::str::from_utf8(value.rest()).map(str::to_string).map_err(|_| Malformed("a text is not UTF-8"))
}

fn encode_cause(cause: &Cause) -> Vec<u8> {
    let mut out = Vec::new();
    for (shard, offset) in cause {
        put_bytes(&mut out, shard.as_bytes());
        put_varint(&mut out, offset.0);
    }
    out
}

fn decode_cause(mut value: Reader<'_>) -> Result<Cause, Malformed> {
    let mut cause = Cause::new();
    while !value.is_empty() {
        let shard = value.text()?.to_string();
        cause.insert(shard, Offset(value.varint()?));
    }
    Ok(cause)
}

/// The header of an entry that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntryHeader {
    /// Its number in the shard.
    pub number: EntryNumber,
    /// What it is.
    pub kind: EntryKind,
    /// The offset of its first record, or of the next one if it has none.
    pub first_offset: Offset,
    /// How many records it has, over all its parts.
    pub record_count: u64,
    /// How many parts it has.
    pub part_count: u64,
    /// When it was committed.
    pub commit_time: CommitTime,
    /// What the caller said about it.
    pub attributes: Attributes,
}

impl EntryHeader {
    /// The offset after its last record.
    pub fn end_offset(&self) -> Offset {
        self.first_offset + self.record_count
    }

    /// Appends the header as it stands on disk, its length first. The attributes come encoded, as the caller's thread
    /// did.
    pub(crate) fn encode(fixed: &FixedHeader, attributes: &[u8], out: &mut Vec<u8>) {
        let mut head = Vec::with_capacity(40);
        head.extend_from_slice(&[HEADER_VERSION, fixed.kind.0]);
        put_varint(&mut head, fixed.first_offset.0);
        put_varint(&mut head, fixed.record_count);
        put_varint(&mut head, fixed.part_count);
        head.extend_from_slice(&fixed.commit_time.0.to_le_bytes());
        put_varint(out, (head.len() + attributes.len()) as u64);
        out.extend_from_slice(&head);
        out.extend_from_slice(attributes);
    }

    /// Takes the header off the front of the body of an entry.
    pub(crate) fn decode(reader: &mut Reader<'_>, number: EntryNumber) -> Result<Self, Malformed> {
        let mut header = Reader::new(reader.bytes()?);
        if header.u8()? != HEADER_VERSION {
            return Err(Malformed("the header of the entry is of a newer version"));
        }
        let header = Self {
            number,
            kind: EntryKind(header.u8()?),
            first_offset: Offset(header.varint()?),
            record_count: header.varint()?,
            part_count: header.varint()?,
            commit_time: CommitTime(header.i64()?),
            attributes: Attributes::decode(header)?,
        };
        match header.first_offset.0.checked_add(header.record_count) {
            Some(_) => Ok(header),
            None => Err(Malformed("the records of the entry end beyond 64 bits")),
        }
    }
}

/// What the writer fills in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FixedHeader {
    pub(crate) kind: EntryKind,
    pub(crate) first_offset: Offset,
    pub(crate) record_count: u64,
    pub(crate) part_count: u64,
    pub(crate) commit_time: CommitTime,
}
