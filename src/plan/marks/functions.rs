//! Casts of marked columns, as functions: the result of a function carries no mark.

use crate::plan::marks::uuids;
use arrow::array::{Array, ArrayRef, AsArray, FixedSizeBinaryArray, StringArray};
use arrow::compute::cast as cast_array;
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{DFSchema, Result, exec_err};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ExprSchemable, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility,
};
use polder_catalog::mark;
use polder_catalog::{Error, SqlState};
use std::sync::{Arc, LazyLock};
use uuid::Uuid;

static AS_TEXT: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| Arc::new(ScalarUDF::from(Conversion::new(Kind::AsText))));
static UUID_TEXT: LazyLock<Arc<ScalarUDF>> =
    LazyLock::new(|| Arc::new(ScalarUDF::from(Conversion::new(Kind::UuidText))));
static TEXT_UUID: LazyLock<Arc<ScalarUDF>> =
    LazyLock::new(|| Arc::new(ScalarUDF::from(Conversion::new(Kind::TextUuid))));

/// Whether a function is one of these, which may take marked columns.
pub(super) fn is_ours(function: &ScalarUDF) -> bool {
    [&AS_TEXT, &UUID_TEXT, &TEXT_UUID].into_iter().any(|ours| ours.name() == function.name())
}

/// A cast that DataFusion would get wrong: from or to a UUID, or off a mark.
pub(super) fn cast(expr: &Expr, target: &DataType, schema: &DFSchema) -> Result<Option<Expr>> {
    let Ok((_, field)) = expr.to_field(schema) else { return Ok(None) };
    let is_text = |data_type: &DataType| matches!(data_type, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View);
    if uuids::is_uuid(&field) && is_text(target) {
        return Ok(Some(uuid_text(expr.clone())));
    }
    if is_text(field.data_type()) && *target == uuids::BYTES {
        return Ok(Some(call(&TEXT_UUID, expr.clone())));
    }
    match mark::of(field.metadata()) {
        Some(_) if is_text(target) => Ok(Some(call(&AS_TEXT, expr.clone()))),
        Some((native, _)) => Err(super::refusal(expr, native, "cast")),
        None => Ok(None),
    }
}

/// A UUID as its usual text.
pub(super) fn uuid_text(expr: Expr) -> Expr {
    call(&UUID_TEXT, expr)
}

fn call(function: &Arc<ScalarUDF>, argument: Expr) -> Expr {
    Expr::ScalarFunction(ScalarFunction::new_udf(Arc::clone(function), vec![argument]))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Kind {
    AsText,
    UuidText,
    TextUuid,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Conversion {
    kind: Kind,
    signature: Signature,
}

impl Conversion {
    fn new(kind: Kind) -> Self {
        Self { kind, signature: Signature::any(1, Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for Conversion {
    fn name(&self) -> &'static str {
        match self.kind {
            Kind::AsText => "as_text",
            Kind::UuidText => "uuid_text",
            Kind::TextUuid => "text_uuid",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(match self.kind {
            Kind::AsText | Kind::UuidText => DataType::Utf8,
            Kind::TextUuid => uuids::BYTES,
        })
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let nullable = args.arg_fields.iter().any(|field| field.is_nullable());
        let field = Field::new(self.name(), self.return_type(&[])?, nullable);
        Ok(Arc::new(if self.kind == Kind::TextUuid { uuids::marked(field) } else { field }))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [argument] = &args.args[..] else { return exec_err!("{} takes one argument", self.name()) };
        let is_scalar = matches!(argument, ColumnarValue::Scalar(_));
        let array = argument.clone().into_array(if is_scalar { 1 } else { args.number_rows })?;
        let converted: ArrayRef = match self.kind {
            Kind::AsText => cast_array(&array, &DataType::Utf8)?,
            Kind::UuidText => Arc::new(print(array.as_fixed_size_binary())),
            Kind::TextUuid => Arc::new(read(cast_array(&array, &DataType::Utf8)?.as_string())?),
        };
        if is_scalar {
            return Ok(ColumnarValue::Scalar(datafusion::common::ScalarValue::try_from_array(&converted, 0)?));
        }
        Ok(ColumnarValue::Array(converted))
    }
}

fn print(uuids: &FixedSizeBinaryArray) -> StringArray {
    let text = |bytes: &[u8]| Uuid::from_slice(bytes).map(|uuid| uuid.hyphenated().to_string()).ok();
    uuids.iter().map(|bytes| bytes.and_then(text)).collect()
}

fn read(texts: &StringArray) -> Result<FixedSizeBinaryArray> {
    let mut uuids = Vec::with_capacity(texts.len());
    for text in texts {
        uuids.push(text.map(parse_uuid).transpose()?);
    }
    Ok(FixedSizeBinaryArray::try_from_sparse_iter_with_size(uuids.into_iter(), 16)?)
}

/// Reads a UUID in any of the forms that PostgreSQL reads: with or without hyphens and braces, in either case.
pub(super) fn parse_uuid(text: &str) -> Result<[u8; 16]> {
    let uuid = Uuid::parse_str(text.trim()).map_err(|_| {
        Error::fix(SqlState::TEXT, format!("'{text}' is not a UUID"))
            .with_hint("write it as a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11")
    })?;
    Ok(uuid.into_bytes())
}
