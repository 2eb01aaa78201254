//! The SQL function through which a service is called.

use serde::{Deserialize, Serialize};

use crate::snowflake::ident::{Ident, IdentError, literal, path};

/// Where the container takes a function's rows.
const ROUTE: &str = "/predict";
/// The name of the service's endpoint.
pub(super) const ENDPOINT: &str = "api";

/// A function: its name, arguments and answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Raw", into = "Raw")]
pub(super) struct Function {
    pub(super) name: Ident,
    pub(super) arguments: Vec<Argument>,
    pub(super) returns: DataType,
    /// 0 leaves it to Snowflake.
    pub(super) batch: u32,
}

/// An argument.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Argument {
    pub(super) name: Ident,
    pub(super) kind: DataType,
}

/// How a function is written down in a mark.
#[derive(Clone, Serialize, Deserialize)]
struct Raw {
    name: String,
    arguments: Vec<(String, String)>,
    returns: String,
    #[serde(default)]
    batch: u32,
}

/// A type of SQL: a known word, and perhaps numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct DataType {
    /// Snowflake's own word for it: `NUMBER` for INT.
    base: &'static str,
    numbers: Vec<u32>,
}

/// Why a text is no type.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum FunctionError {
    #[error("\"{0}\" is no type that a function can have here: {known}", known = known_types())]
    Type(String),
    #[error("{0}")]
    Name(#[from] IdentError),
}

/// A word, Snowflake's own word, how many numbers may follow, and their greatest.
const TYPES: &[(&str, &str, &[u32])] = &[
    ("NUMBER", "NUMBER", &[38, 37]),
    ("DECIMAL", "NUMBER", &[38, 37]),
    ("NUMERIC", "NUMBER", &[38, 37]),
    ("INT", "NUMBER", &[]),
    ("INTEGER", "NUMBER", &[]),
    ("BIGINT", "NUMBER", &[]),
    ("FLOAT", "FLOAT", &[]),
    ("DOUBLE", "FLOAT", &[]),
    ("REAL", "FLOAT", &[]),
    ("VARCHAR", "VARCHAR", &[134_217_728]),
    ("STRING", "VARCHAR", &[134_217_728]),
    ("TEXT", "VARCHAR", &[134_217_728]),
    ("BOOLEAN", "BOOLEAN", &[]),
    ("DATE", "DATE", &[]),
    ("TIME", "TIME", &[9]),
    ("TIMESTAMP_LTZ", "TIMESTAMP_LTZ", &[9]),
    ("TIMESTAMP_NTZ", "TIMESTAMP_NTZ", &[9]),
    ("TIMESTAMP_TZ", "TIMESTAMP_TZ", &[9]),
    ("VARIANT", "VARIANT", &[]),
    ("OBJECT", "OBJECT", &[]),
    ("ARRAY", "ARRAY", &[]),
];

fn known_types() -> String {
    TYPES.iter().map(|(word, _, _)| *word).collect::<Vec<_>>().join(", ")
}

impl DataType {
    pub(super) fn parse(text: &str) -> Result<Self, FunctionError> {
        let wrong = || FunctionError::Type(text.chars().filter(|c| !c.is_control()).take(60).collect());
        let upper = text.trim().to_ascii_uppercase();
        let (word, inside) = match upper.split_once('(') {
            Some((word, rest)) => (word.trim_end(), Some(rest.strip_suffix(')').ok_or_else(wrong)?)),
            None => (upper.as_str(), None),
        };
        let (_, base, greatest) = TYPES.iter().find(|(known, _, _)| *known == word).ok_or_else(wrong)?;
        let mut numbers = Vec::new();
        for (n, number) in inside.into_iter().flat_map(|inside| inside.split(',')).enumerate() {
            let greatest = greatest.get(n).ok_or_else(wrong)?;
            let number = number.trim();
            let read = number.parse::<u32>().ok().filter(|_| number.bytes().all(|byte| byte.is_ascii_digit()));
            numbers.push(read.filter(|read| read <= greatest).ok_or_else(wrong)?);
        }
        // Digits after the point are some of all.
        if *base == "NUMBER" && numbers.get(1).is_some_and(|scale| *scale > numbers[0]) {
            return Err(wrong());
        }
        Ok(Self { base, numbers })
    }

    /// Without numbers: what tells functions of one name apart.
    pub(super) fn base(&self) -> &'static str {
        self.base
    }

    pub(super) fn sql(&self) -> String {
        if self.numbers.is_empty() {
            return self.base.to_owned();
        }
        let numbers: Vec<_> = self.numbers.iter().map(u32::to_string).collect();
        format!("{}({})", self.base, numbers.join(", "))
    }

    /// A question mark that is bound to a text, as a value of this type.
    fn bound(&self) -> String {
        match self.base {
            "VARIANT" => "PARSE_JSON(?)".to_owned(),
            "OBJECT" | "ARRAY" => format!("PARSE_JSON(?)::{}", self.base),
            "VARCHAR" => "?".to_owned(),
            _ => format!("?::{}", self.sql()),
        }
    }

    /// Whether values of this type are JSON in texts.
    pub(super) fn is_json(&self) -> bool {
        matches!(self.base, "VARIANT" | "OBJECT" | "ARRAY")
    }
}

/// Where a function is.
#[derive(Clone, Copy)]
pub(super) struct In<'a> {
    pub(super) database: &'a Ident,
    pub(super) schema: &'a Ident,
}

impl Function {
    /// Its whole name.
    pub(super) fn path(&self, at: In<'_>) -> String {
        path(&[at.database, at.schema, &self.name])
    }

    /// Its whole name and the types of its arguments: what names it alone.
    pub(super) fn signature(&self, at: In<'_>) -> String {
        format!("{}({})", self.path(at), self.types())
    }

    /// The types of its arguments, as Snowflake tells them.
    pub(super) fn types(&self) -> String {
        self.arguments.iter().map(|one| one.kind.base()).collect::<Vec<_>>().join(", ")
    }

    /// The statement that makes it, or replaces it.
    pub(super) fn create(&self, at: In<'_>, service: &Ident, comment: &str) -> String {
        let arguments = self.arguments.iter().map(|one| format!("{} {}", one.name.sql(), one.kind.sql()));
        let batch = if self.batch == 0 { String::new() } else { format!(" MAX_BATCH_ROWS = {}", self.batch) };
        format!(
            "CREATE OR REPLACE FUNCTION {}({}) RETURNS {} SERVICE = {} ENDPOINT = {ENDPOINT} COMMENT = {}{batch} AS {}",
            self.path(at),
            arguments.collect::<Vec<_>>().join(", "),
            self.returns.sql(),
            path(&[at.database, at.schema, service]),
            literal(comment),
            literal(ROUTE),
        )
    }

    /// The statement that gives it another comment.
    pub(super) fn comment(&self, at: In<'_>, comment: &str) -> String {
        format!("ALTER FUNCTION {} SET COMMENT = {}", self.signature(at), literal(comment))
    }

    /// The statement that calls it so many times, with a question mark for each argument; each call's value is a column.
    pub(super) fn select(&self, at: In<'_>, times: usize) -> String {
        let arguments: Vec<_> = self.arguments.iter().map(|one| one.kind.bound()).collect();
        let call = format!("{}({})", self.path(at), arguments.join(", "));
        format!("SELECT {}", vec![call; times].join(", "))
    }
}

impl From<Function> for Raw {
    fn from(function: Function) -> Self {
        let argument = |one: &Argument| (one.name.as_str().to_owned(), one.kind.sql());
        Self {
            name: function.name.as_str().to_owned(),
            arguments: function.arguments.iter().map(argument).collect(),
            returns: function.returns.sql(),
            batch: function.batch,
        }
    }
}

impl TryFrom<Raw> for Function {
    type Error = FunctionError;

    fn try_from(raw: Raw) -> Result<Self, FunctionError> {
        let argument = |(name, kind): &(String, String)| {
            Ok::<_, FunctionError>(Argument { name: Ident::exact(name)?, kind: DataType::parse(kind)? })
        };
        Ok(Self {
            name: Ident::exact(&raw.name)?,
            arguments: raw.arguments.iter().map(argument).collect::<Result<_, _>>()?,
            returns: DataType::parse(&raw.returns)?,
            batch: raw.batch,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_words_that_we_know() {
        for (typed, sql) in [
            ("int", "NUMBER"),
            (" number( 10 , 2 ) ", "NUMBER(10, 2)"),
            ("string", "VARCHAR"),
            ("varchar(20)", "VARCHAR(20)"),
            ("Variant", "VARIANT"),
        ] {
            assert_eq!(DataType::parse(typed).map(|kind| kind.sql()), Ok(sql.to_owned()), "{typed}");
        }
        for typed in [
            "",
            "VARCHAR) RETURNS VARIANT AS 'x'; --",
            "NUMBER(1,2,3)",
            "NUMBER(39)",
            "NUMBER(-1)",
            "NUMBER(10,20)",
            "NUMBER(+1)",
            "NUMBER(1",
            "NUMBER()",
            "FLOAT(2)",
            "TIMESTAMP",
            "\"VARCHAR\"",
            "VARCHAR'",
        ] {
            assert!(DataType::parse(typed).is_err(), "{typed}");
        }
    }

    #[test]
    fn hostile_names_stay_names() {
        let name = |text: &str| Ident::exact(text).unwrap();
        let function = Function {
            name: name("f\"; DROP TABLE x; --"),
            arguments: vec![
                Argument { name: name("a\" FLOAT) --"), kind: DataType::parse("FLOAT").unwrap() },
                Argument { name: name("b"), kind: DataType::parse("VARIANT").unwrap() },
            ],
            returns: DataType::parse("VARIANT").unwrap(),
            batch: 10,
        };
        let (database, schema, service) = (name("D"), name("s'"), name("S"));
        let at = In { database: &database, schema: &schema };
        assert_eq!(
            function.create(at, &service, "it's \\"),
            "CREATE OR REPLACE FUNCTION \"D\".\"s'\".\"f\"\"; DROP TABLE x; --\"(\"a\"\" FLOAT) --\" FLOAT, \"b\" VARIANT) \
             RETURNS VARIANT SERVICE = \"D\".\"s'\".\"S\" ENDPOINT = api COMMENT = 'it''s \\\\' MAX_BATCH_ROWS = 10 AS '/predict'"
        );
        assert_eq!(function.select(at, 1), "SELECT \"D\".\"s'\".\"f\"\"; DROP TABLE x; --\"(?::FLOAT, PARSE_JSON(?))");
        let written = serde_json::to_string(&function).unwrap();
        assert_eq!(serde_json::from_str::<Function>(&written).unwrap(), function);
        assert!(serde_json::from_str::<Function>(&written.replace("VARIANT", "X); DROP")).is_err());
    }
}
