//! SQL type names whose meaning is PostgreSQL's rather than DataFusion's.

use crate::plan::marks::uuid_field;
use arrow::datatypes::{DataType, Field, FieldRef, TimeUnit};
use datafusion::common::Result;
use datafusion::logical_expr::planner::TypePlanner;
use datafusion::sql::sqlparser::ast::{DataType as SqlType, TimezoneInfo};
use polder_catalog::mark::{self, Comparison};
use std::sync::Arc;

/// `UUID` is sixteen bytes with a name; `TIMESTAMP` counts microseconds, since nanoseconds end in the year 2262;
/// `JSON` is marked text.
#[derive(Debug)]
pub(crate) struct SqlTypes;

impl TypePlanner for SqlTypes {
    fn plan_type_field(&self, sql_type: &SqlType) -> Result<Option<FieldRef>> {
        let field = match sql_type {
            SqlType::Uuid => uuid_field(""),
            SqlType::Timestamp(None | Some(6), zone) => {
                let zone = match zone {
                    TimezoneInfo::None | TimezoneInfo::WithoutTimeZone => None,
                    TimezoneInfo::WithTimeZone | TimezoneInfo::Tz => Some("UTC".into()),
                };
                Field::new("", DataType::Timestamp(TimeUnit::Microsecond, zone), true)
            }
            // Text, whose equality is not that of the document.
            SqlType::JSON | SqlType::JSONB => {
                mark::marked(Field::new("", DataType::Utf8, true), "json", Comparison::None)
            }
            _ => return Ok(None),
        };
        Ok(Some(Arc::new(field)))
    }
}
