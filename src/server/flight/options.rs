//! Session options, the way in which drivers set what SQL sets by SET. arrow-flight lacks these messages; they are as in
//! Flight.proto of Arrow 18.

use super::Server;
use super::call::Call;
use polder_catalog::{Result, SqlState};
use prost::{Enumeration, Message, Oneof};
use std::collections::HashMap;

#[derive(Clone, PartialEq, Message)]
pub(super) struct SetSessionOptionsRequest {
    #[prost(map = "string, message", tag = "1")]
    pub(super) session_options: HashMap<String, SessionOptionValue>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct SetSessionOptionsResult {
    #[prost(map = "string, message", tag = "1")]
    pub(super) errors: HashMap<String, OptionError>,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct OptionError {
    #[prost(enumeration = "OptionErrorValue", tag = "1")]
    pub(super) value: i32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Enumeration)]
#[repr(i32)]
pub(super) enum OptionErrorValue {
    Unspecified = 0,
    InvalidName = 1,
    InvalidValue = 2,
    Error = 3,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct GetSessionOptionsResult {
    #[prost(map = "string, message", tag = "1")]
    pub(super) session_options: HashMap<String, SessionOptionValue>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct SessionOptionValue {
    #[prost(oneof = "OptionValue", tags = "1, 2, 3, 4, 5")]
    pub(super) option_value: Option<OptionValue>,
}

#[derive(Clone, PartialEq, Oneof)]
pub(super) enum OptionValue {
    #[prost(string, tag = "1")]
    Text(String),
    #[prost(bool, tag = "2")]
    Boolean(bool),
    #[prost(sfixed64, tag = "3")]
    Integer(i64),
    #[prost(double, tag = "4")]
    Float(f64),
    #[prost(message, tag = "5")]
    List(TextList),
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct TextList {
    #[prost(string, repeated, tag = "1")]
    pub(super) values: Vec<String>,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct CloseSessionResult {
    #[prost(enumeration = "CloseStatus", tag = "1")]
    pub(super) status: i32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Enumeration)]
#[repr(i32)]
pub(super) enum CloseStatus {
    Unspecified = 0,
    Closed = 1,
    Closing = 2,
    NotCloseable = 3,
}

/// Sets what can be set, and tells of what cannot. From now on the session is kept.
pub(super) fn set(server: &Server, call: &Call, request: SetSessionOptionsRequest) -> Result<SetSessionOptionsResult> {
    let mut errors = HashMap::new();
    for (name, value) in request.session_options {
        if let Err(value) = set_one(call, &name, value.option_value) {
            errors.insert(name, OptionError { value: value.into() });
        }
    }
    call.keep(server)?;
    Ok(SetSessionOptionsResult { errors })
}

/// A value that is not set is reset.
fn set_one(call: &Call, name: &str, value: Option<OptionValue>) -> Result<(), OptionErrorValue> {
    let value = match value {
        None => None,
        Some(OptionValue::Text(text)) => Some(text),
        Some(OptionValue::Boolean(value)) => Some(if value { "on" } else { "off" }.to_string()),
        Some(OptionValue::Integer(value)) => Some(value.to_string()),
        Some(OptionValue::Float(value)) => Some(value.to_string()),
        Some(OptionValue::List(_)) => return Err(OptionErrorValue::InvalidValue),
    };
    let changed = call.session.change_settings(|settings| match &value {
        Some(value) => settings.set(name, value),
        None => settings.reset(name),
    });
    changed.map_err(|error| match error.state() {
        SqlState::NO_OBJECT => OptionErrorValue::InvalidName,
        SqlState::PARAMETER => OptionErrorValue::InvalidValue,
        _ => OptionErrorValue::Error,
    })
}

/// All settings of the session.
pub(super) fn get(call: &Call) -> Result<GetSessionOptionsResult> {
    let settings = call.session.settings().show("all")?;
    let option =
        |[name, value, _]: [String; 3]| (name, SessionOptionValue { option_value: Some(OptionValue::Text(value)) });
    Ok(GetSessionOptionsResult { session_options: settings.into_iter().map(option).collect() })
}

/// Forgets the session.
pub(super) fn close(server: &Server, call: &Call) -> CloseSessionResult {
    let closed = call.session_id.as_ref().is_some_and(|id| server.sessions.take(id.as_bytes()).is_ok());
    let status = if closed { CloseStatus::Closed } else { CloseStatus::NotCloseable };
    CloseSessionResult { status: status.into() }
}
