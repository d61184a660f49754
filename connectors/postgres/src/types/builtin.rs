//! The built-in types whose binary form we read. All others travel as text.

use super::Wire;

/// A built-in type, by the meaning of its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Base {
    Bool,
    Int2,
    Int4,
    Int8,
    Float4,
    Float8,
    Numeric,
    Text,
    Varchar,
    /// `char(n)`: blank-padded to its length, and read with its blanks.
    Bpchar,
    Name,
    Bytea,
    Date,
    Time,
    Timestamp,
    Timestamptz,
    Interval,
    Uuid,
    /// `json`, whose bytes are its text. `jsonb` is not here: it is selected as text.
    Json,
    Oid,
    Xid,
    Cid,
    Xid8,
}

/// Oid, name and meaning, as `pg_type.dat` fixes them for ever.
const BASES: &[(u32, &str, Base)] = &[
    (16, "bool", Base::Bool),
    (17, "bytea", Base::Bytea),
    (19, "name", Base::Name),
    (20, "int8", Base::Int8),
    (21, "int2", Base::Int2),
    (23, "int4", Base::Int4),
    (25, "text", Base::Text),
    (26, "oid", Base::Oid),
    (28, "xid", Base::Xid),
    (29, "cid", Base::Cid),
    (114, "json", Base::Json),
    (700, "float4", Base::Float4),
    (701, "float8", Base::Float8),
    (1042, "bpchar", Base::Bpchar),
    (1043, "varchar", Base::Varchar),
    (1082, "date", Base::Date),
    (1083, "time", Base::Time),
    (1114, "timestamp", Base::Timestamp),
    (1184, "timestamptz", Base::Timestamptz),
    (1186, "interval", Base::Interval),
    (1700, "numeric", Base::Numeric),
    (2950, "uuid", Base::Uuid),
    (5069, "xid8", Base::Xid8),
];

impl Base {
    /// The base type with this oid.
    pub(crate) fn of_oid(oid: u32) -> Option<Self> {
        BASES.iter().find(|(known, ..)| *known == oid).map(|(.., base)| *base)
    }

    /// Whether values of the type are strings to PostgreSQL.
    pub(crate) fn is_text(self) -> bool {
        matches!(self, Self::Text | Self::Varchar | Self::Bpchar | Self::Name)
    }

    /// Whether values of the type travel in this form.
    pub(crate) fn sends(self, wire: &Wire) -> bool {
        match wire {
            Wire::Bool => self == Self::Bool,
            Wire::Int2 => self == Self::Int2,
            Wire::Int4 => self == Self::Int4,
            Wire::Int8 => self == Self::Int8,
            Wire::UInt4 => matches!(self, Self::Oid | Self::Xid | Self::Cid),
            Wire::UInt8 => self == Self::Xid8,
            Wire::Float4 => self == Self::Float4,
            Wire::Float8 => self == Self::Float8,
            Wire::Numeric { .. } => self == Self::Numeric,
            Wire::Text => self.is_text() || self == Self::Json,
            Wire::Bytea => self == Self::Bytea,
            Wire::Date => self == Self::Date,
            Wire::Time => self == Self::Time,
            Wire::Timestamp => matches!(self, Self::Timestamp | Self::Timestamptz),
            Wire::Interval => self == Self::Interval,
            Wire::Uuid => self == Self::Uuid,
            Wire::Array(_) | Wire::Composite(_) => false,
        }
    }
}
