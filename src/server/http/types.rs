//! JSON to parameters.

use datafusion::scalar::ScalarValue;
use polder_catalog::{Error, Result, SqlState};
use serde_json::Value;

/// The value of a parameter. Texts are cast to the type that their place needs, so a decimal or a 64-bit integer beyond what
/// a client's JSON can carry, a timestamp or a UUID is sent as text.
///
/// # Errors
/// 22023 for arrays and objects.
pub(super) fn parameter(value: &Value) -> Result<ScalarValue> {
    Ok(match value {
        Value::Null => ScalarValue::Null,
        Value::Bool(value) => ScalarValue::Boolean(Some(*value)),
        Value::String(text) => ScalarValue::Utf8(Some(text.clone())),
        Value::Number(number) => match (number.as_i64(), number.as_u64(), number.as_f64()) {
            (Some(integer), ..) => ScalarValue::Int64(Some(integer)),
            (_, Some(integer), _) => ScalarValue::UInt64(Some(integer)),
            (.., float) => ScalarValue::Float64(float),
        },
        Value::Array(_) | Value::Object(_) => {
            return Err(Error::fix(SqlState::PARAMETER, "a parameter is a text, a number, a boolean or null")
                .with_hint("send arrays and objects as text, and cast them: $1::jsonb"));
        }
    })
}
