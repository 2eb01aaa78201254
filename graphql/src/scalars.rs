//! Scalars of our own.

use async_graphql::{InputValueError, InputValueResult, Scalar, ScalarType, Value};
use jiff::Timestamp;

/// A moment in UTC after RFC 3339, to the microsecond, such as `2026-11-22T01:25:05.123456Z`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DateTime(pub(crate) i64);

/// A moment in UTC after RFC 3339, to the microsecond, such as `2026-11-22T01:25:05.123456Z`.
#[Scalar(name = "DateTime", specified_by_url = "https://www.rfc-editor.org/rfc/rfc3339")]
impl ScalarType for DateTime {
    fn parse(value: Value) -> InputValueResult<Self> {
        let Value::String(text) = &value else { return Err(InputValueError::expected_type(value)) };
        let moment: Timestamp = text.parse().map_err(|_| {
            InputValueError::custom(
                "This is no moment after RFC 3339, such as 2026-11-22T01:25:05Z, or it is later than 9999-12-30.",
            )
        })?;
        Ok(Self(moment.as_microsecond()))
    }

    fn to_value(&self) -> Value {
        // Outside of what RFC 3339 can say: years before -9999 and after 9999.
        Timestamp::from_microsecond(self.0).map_or(Value::Null, |moment| Value::String(moment.to_string()))
    }
}

/// A whole number that may be larger than Int; never beyond 2^53, so that every client can hold it exactly. A text of digits is taken, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Long(pub(crate) i64);

/// A whole number that may be larger than Int; never beyond 2^53, so that every client can hold it exactly. A text of digits is taken, too.
#[Scalar(name = "Long")]
impl ScalarType for Long {
    fn parse(value: Value) -> InputValueResult<Self> {
        let number = match &value {
            Value::Number(number) => number.as_i64(),
            Value::String(text) => text.parse().ok(),
            _ => None,
        };
        let number = number.filter(|number| number.unsigned_abs() <= 1 << 53);
        number.map(Self).ok_or_else(|| InputValueError::expected_type(value))
    }

    fn to_value(&self) -> Value {
        Value::from(self.0)
    }
}

impl From<i64> for Long {
    fn from(number: i64) -> Self {
        Self(number)
    }
}

impl From<u64> for Long {
    fn from(number: u64) -> Self {
        Self(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

impl From<i64> for DateTime {
    fn from(micros: i64) -> Self {
        Self(micros)
    }
}

impl Long {
    /// For settings that are never negative: a negative number is refused by the field's own range check.
    pub(crate) fn to_u64(self) -> u64 {
        u64::try_from(self.0).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read_and_written() {
        let written = DateTime(1_795_310_705_123_456).to_value();
        assert_eq!(written, Value::from("2026-11-22T01:25:05.123456Z"));
        assert!(matches!(DateTime::parse(written), Ok(DateTime(1_795_310_705_123_456))));
        assert!(matches!(DateTime::parse("2026-11-22T02:25:05+01:00".into()), Ok(DateTime(1_795_310_705_000_000))));
        assert!(DateTime::parse("yesterday".into()).is_err());
        assert!(DateTime::parse(1.into()).is_err());
        assert_eq!(DateTime(i64::MAX).to_value(), Value::Null);
    }

    #[test]
    fn long_numbers_are_read_and_written() {
        assert_eq!(Long(1 << 40).to_value(), Value::from(1_099_511_627_776_i64));
        assert!(matches!(Long::parse("42".into()), Ok(Long(42))));
        assert!(Long::parse(1.5.into()).is_err());
        assert!(Long::parse("4x".into()).is_err());
        assert!(Long::parse(9_007_199_254_740_993_i64.into()).is_err());
    }
}
