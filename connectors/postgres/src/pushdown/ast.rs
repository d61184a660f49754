//! The SQL that we send, as a tree: closed, and just what the translators build.
//!
//! sqlparser's tree can say everything and its `Display` prints some of it wrongly (a quote after a backslash is not
//! doubled), so the tree is our own: what it cannot express is never sent, and [`print`](mod@super::print) covers all
//! of it. Values enter as [`Literal`]s and names as [`Name`]s; no variant holds SQL text.

use arrow::datatypes::i256;

/// An identifier, without its quotes. It holds no NUL byte, which PostgreSQL can neither store nor receive.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Name(String);

impl Name {
    /// A name, unless it holds a NUL byte.
    pub(crate) fn new(name: impl Into<String>) -> Option<Self> {
        let name = name.into();
        (!name.contains('\0')).then_some(Self(name))
    }

    /// A name that the server told.
    pub(crate) fn of_server(name: &str) -> Self {
        Self::new(name).expect("a name from the server holds no NUL byte")
    }

    /// The alias of the `index`-th column of a derived table.
    pub(crate) fn column(index: usize) -> Self {
        Self(format!("c{index}"))
    }

    /// The alias of the `index`-th table of a query.
    pub(crate) fn table(index: usize) -> Self {
        Self(format!("t{index}"))
    }

    /// The name as given.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// The characters of a text literal. They hold no NUL byte.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Text(String);

impl Text {
    /// A text, unless it holds a NUL byte.
    pub(crate) fn new(text: impl Into<String>) -> Option<Self> {
        let text = text.into();
        (!text.contains('\0')).then_some(Self(text))
    }

    /// A text that we wrote ourselves.
    pub(crate) fn known(text: impl Into<String>) -> Self {
        Self::new(text).expect("our own text holds no NUL byte")
    }

    /// The characters.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// A constant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Literal {
    /// `NULL`.
    Null,
    /// `TRUE` or `FALSE`.
    Boolean(bool),
    /// Digits: PostgreSQL reads them as `int4` where they fit, else `int8`.
    Integer(i64),
    /// Digits times a power of ten, as PostgreSQL's `numeric`.
    Decimal {
        /// All digits.
        unscaled: i256,
        /// How many of them follow the point; negative for trailing zeros.
        scale: i8,
    },
    /// Characters between quotes: a text, or any type by a cast around it.
    Text(Text),
}

/// A type to cast to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Type {
    Bool,
    Int2,
    Int4,
    Int8,
    Float4,
    Float8,
    /// `numeric`, of any precision.
    Numeric,
    Text,
    TextArray,
    Bytea,
    Uuid,
    Date,
    Time,
    Timestamp,
    Timestamptz,
    /// `tid`, the place of a row in its table.
    Tid,
}

/// An operator between two operands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operator {
    Eq,
    NotEq,
    Lt,
    LtEq,
    Gt,
    GtEq,
    IsDistinctFrom,
    IsNotDistinctFrom,
    Plus,
    Minus,
    Multiply,
    Divide,
    Modulo,
    Concat,
    Like,
    NotLike,
}

/// A test that is never NULL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Test {
    Null,
    NotNull,
    True,
    NotTrue,
    False,
    NotFalse,
    Unknown,
    NotUnknown,
}

/// An expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Expr {
    /// `"table"."column"`.
    Column {
        table: Option<Name>,
        column: Name,
    },
    /// The place of a row, a system column that no user's column can shadow.
    Ctid,
    Literal(Literal),
    Cast(Box<Expr>, Type),
    /// `COLLATE "C"`: the order and equality of bytes.
    CollateC(Box<Expr>),
    Not(Box<Expr>),
    Negative(Box<Expr>),
    Is(Box<Expr>, Test),
    Binary {
        left: Box<Expr>,
        operator: Operator,
        right: Box<Expr>,
    },
    /// At least two operands.
    And(Vec<Expr>),
    /// At least two operands.
    Or(Vec<Expr>),
    /// At least one item.
    InList {
        operand: Box<Expr>,
        items: Vec<Expr>,
        negated: bool,
    },
    /// At least one branch.
    Case {
        operand: Option<Box<Expr>>,
        branches: Vec<(Expr, Expr)>,
        otherwise: Option<Box<Expr>>,
    },
    /// A function of `pg_catalog`, by a name out of our own tables.
    Call {
        function: &'static str,
        arguments: Vec<Expr>,
    },
    /// `EXTRACT(field FROM operand)`.
    Extract {
        field: &'static str,
        operand: Box<Expr>,
    },
    /// An aggregate of `pg_catalog`; without an argument it is `count(*)`.
    Aggregate {
        function: &'static str,
        distinct: bool,
        argument: Option<Box<Expr>>,
        filter: Option<Box<Expr>>,
    },
}

impl Expr {
    /// A column of the one table in scope.
    pub(crate) fn column(name: Name) -> Self {
        Self::Column { table: None, column: name }
    }

    /// An operator between two operands.
    pub(crate) fn binary(self, operator: Operator, right: Self) -> Self {
        Self::Binary { left: Box::new(self), operator, right: Box::new(right) }
    }

    /// A cast.
    pub(crate) fn cast(self, to: Type) -> Self {
        Self::Cast(Box::new(self), to)
    }

    /// A test that is never NULL.
    pub(crate) fn is(self, test: Test) -> Self {
        Self::Is(Box::new(self), test)
    }

    /// A function call.
    pub(crate) fn call(function: &'static str, arguments: Vec<Self>) -> Self {
        Self::Call { function, arguments }
    }

    /// A text of our own between quotes, cast to `to`.
    pub(crate) fn typed(text: impl Into<String>, to: Type) -> Self {
        Self::Literal(Literal::Text(Text::known(text))).cast(to)
    }

    /// Bytes order and equality, where the collation of the text could say otherwise.
    pub(crate) fn collate_c(self) -> Self {
        Self::CollateC(Box::new(self))
    }

    /// All of these, without nesting; `None` if there are none.
    pub(crate) fn all(operands: impl IntoIterator<Item = Self>) -> Option<Self> {
        let mut flat = Vec::new();
        for operand in operands {
            match operand {
                Self::And(inner) => flat.extend(inner),
                other => flat.push(other),
            }
        }
        if flat.len() > 1 { Some(Self::And(flat)) } else { flat.pop() }
    }

    /// Any of these, without nesting; `None` if there are none.
    pub(crate) fn any(operands: impl IntoIterator<Item = Self>) -> Option<Self> {
        let mut flat = Vec::new();
        for operand in operands {
            match operand {
                Self::Or(inner) => flat.extend(inner),
                other => flat.push(other),
            }
        }
        if flat.len() > 1 { Some(Self::Or(flat)) } else { flat.pop() }
    }
}

/// A column of a result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Item {
    /// What it holds.
    pub(crate) expr: Expr,
    /// Its name in an outer query; `None` at the outermost, whose columns are read by position.
    pub(crate) alias: Option<Name>,
}

/// Where rows come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum From {
    /// A table, view, or anything else in `pg_class` with rows.
    Table { schema: Name, table: Name, alias: Option<Name> },
    /// A query in parentheses.
    Query { query: Box<Query>, alias: Name },
    /// A join; its condition is total, so its rows do not depend on the order of evaluation.
    Join { left: Box<From>, right: Box<From>, on: Expr },
}

/// A key of ORDER BY.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OrderBy {
    pub(crate) expr: Expr,
    pub(crate) descending: bool,
    pub(crate) nulls_first: bool,
}

/// One SELECT.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Query {
    /// No item at all is a query whose rows are only counted.
    pub(crate) items: Vec<Item>,
    pub(crate) from: From,
    pub(crate) filter: Option<Expr>,
    /// `None` without aggregates; an empty list makes one group of all rows.
    pub(crate) group_by: Option<Vec<Expr>>,
    pub(crate) order_by: Vec<OrderBy>,
    pub(crate) limit: Option<u64>,
}

impl Query {
    /// All rows of `from`.
    pub(crate) fn new(items: Vec<Item>, from: From) -> Self {
        Self { items, from, filter: None, group_by: None, order_by: Vec::new(), limit: None }
    }

    /// Keeps the columns at these places, in their order. What is grouped and sorted by need not be selected.
    pub(crate) fn select(&mut self, columns: &[usize]) {
        self.items = columns.iter().map(|index| self.items[*index].clone()).collect();
    }

    /// Narrows the rows further. Only before anything that counts or cuts them.
    pub(crate) fn restrict(&mut self, condition: Expr) {
        debug_assert!(self.group_by.is_none() && self.limit.is_none(), "a condition after LIMIT filters other rows");
        self.filter = Expr::all(self.filter.take().into_iter().chain([condition]));
    }
}
