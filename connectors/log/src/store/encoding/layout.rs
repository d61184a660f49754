//! How the compact encoding sees a type: what its values look like as bytes, whatever they mean.

use arrow_schema::{DataType, Field};

/// The shape of the values of a column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Layout {
    Null,
    Bool,
    /// So many bytes each.
    Fixed(usize),
    /// Strings of bytes, with offsets of 32 or 64 bits in memory.
    Bytes {
        large: bool,
    },
    /// Strings of bytes that are views in memory.
    View,
    /// Lists and maps.
    List {
        large: bool,
        child: Box<Layout>,
    },
    FixedList {
        size: usize,
        child: Box<Layout>,
    },
    Struct(Vec<Layout>),
}

impl Layout {
    /// What a null slot takes in memory at most, in any one column of it.
    pub(crate) fn slot_bytes(&self) -> usize {
        match self {
            Self::Null | Self::Bool => 1,
            Self::Fixed(width) => *width,
            Self::Bytes { .. } | Self::View | Self::List { .. } => size_of::<i64>(),
            Self::FixedList { size, child } => size.saturating_mul(child.slot_bytes()),
            Self::Struct(fields) => fields.iter().map(Self::slot_bytes).max().unwrap_or(1),
        }
    }

    /// `None` for a type that the compact encoding does not know.
    pub(crate) fn of(data_type: &DataType) -> Option<Self> {
        let child = |field: &Field| Some(Box::new(Self::of(field.data_type())?));
        Some(match data_type {
            DataType::Null => Self::Null,
            DataType::Boolean => Self::Bool,
            DataType::FixedSizeBinary(width) => Self::Fixed(usize::try_from(*width).ok().filter(|width| *width > 0)?),
            DataType::Utf8 | DataType::Binary => Self::Bytes { large: false },
            DataType::LargeUtf8 | DataType::LargeBinary => Self::Bytes { large: true },
            DataType::Utf8View | DataType::BinaryView => Self::View,
            DataType::List(field) | DataType::Map(field, _) => Self::List { large: false, child: child(field)? },
            DataType::LargeList(field) => Self::List { large: true, child: child(field)? },
            DataType::FixedSizeList(field, size) => {
                let size = usize::try_from(*size).ok().filter(|size| *size > 0)?;
                Self::FixedList { size, child: child(field)? }
            }
            DataType::Struct(fields) if !fields.is_empty() => {
                Self::Struct(fields.iter().map(|field| Self::of(field.data_type())).collect::<Option<_>>()?)
            }
            other => Self::Fixed(other.primitive_width()?),
        })
    }
}
