//! What kind of value an option takes, how text becomes one, and how a value is shown.

use config::{Value, ValueKind};

/// What kind of value an option takes: that of its default.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `true` or `false`.
    Bool,
    /// A whole number that fits 64 bits with a sign.
    Integer,
    /// A number; a whole one is taken too.
    Float,
    /// Text.
    Text,
    /// A list of values of one kind. In a variable or flag: `a,b`, or TOML's `["a", "b"]`.
    List(Box<Kind>),
    /// A table whose keys are free; its values are texts, numbers or booleans.
    Map,
}

impl Kind {
    /// The kind of a default, or nothing where it has none we take.
    pub(crate) fn of(default: &ValueKind) -> Option<Kind> {
        Some(match default {
            ValueKind::Boolean(_) => Kind::Bool,
            ValueKind::I64(_) => Kind::Integer,
            ValueKind::Float(_) => Kind::Float,
            ValueKind::String(_) => Kind::Text,
            ValueKind::Table(t) if t.is_empty() => Kind::Map,
            ValueKind::Array(items) => {
                let first = items.first().map_or(Some(Kind::Text), |v| Kind::of(&v.kind))?;
                match first {
                    Kind::List(_) | Kind::Map => return None,
                    scalar => Kind::List(Box::new(scalar)),
                }
            }
            _ => return None,
        })
    }

    /// What is expected, for error messages.
    pub(crate) fn expected(&self) -> String {
        match self {
            Kind::Bool => "`true` or `false`".into(),
            Kind::Integer => "a whole number".into(),
            Kind::Float => "a number".into(),
            Kind::Text => "a text".into(),
            Kind::List(of) => format!("a list, each item {}", of.expected()),
            Kind::Map => "a table".into(),
        }
    }

    /// The value as this kind, or nothing. A whole number passes as a number.
    pub(crate) fn take(&self, value: ValueKind) -> Option<ValueKind> {
        match (self, value) {
            (Kind::Bool, v @ ValueKind::Boolean(_))
            | (Kind::Integer, v @ ValueKind::I64(_))
            | (Kind::Float, v @ ValueKind::Float(_))
            | (Kind::Text, v @ ValueKind::String(_)) => Some(v),
            (Kind::Float, ValueKind::I64(whole)) => Some(ValueKind::Float(whole as f64)),
            (Kind::List(of), ValueKind::Array(items)) => {
                let taken = items.into_iter().map(|v| {
                    let origin = v.origin().map(str::to_owned);
                    Some(Value::new(origin.as_ref(), of.take(v.kind)?))
                });
                Some(ValueKind::Array(taken.collect::<Option<_>>()?))
            }
            _ => None,
        }
    }

    /// The value that a variable's or flag's text stands for, or nothing.
    pub(crate) fn parse(&self, text: &str) -> Option<ValueKind> {
        match self {
            Kind::Bool => text.trim().parse().ok().map(ValueKind::Boolean),
            Kind::Integer => text.trim().replace('_', "").parse().ok().map(ValueKind::I64),
            Kind::Float => text.trim().replace('_', "").parse().ok().map(ValueKind::Float),
            Kind::Text => Some(ValueKind::String(text.into())),
            Kind::List(_) if text.trim_start().starts_with('[') => {
                let value: toml_edit::Value = text.trim().parse().ok()?;
                self.take(plain(&value)?)
            }
            Kind::List(_) if text.trim().is_empty() => Some(ValueKind::Array(Vec::new())),
            Kind::List(of) => {
                let items = text.split(',').map(|t| Some(Value::new(None, of.parse(t.trim())?)));
                Some(ValueKind::Array(items.collect::<Option<_>>()?))
            }
            Kind::Map => None,
        }
    }

    /// What stands for the value in a usage line.
    pub(crate) fn placeholder(&self) -> String {
        match self {
            Kind::Bool => "true|false".into(),
            Kind::Integer | Kind::Float => "N".into(),
            Kind::Text | Kind::Map => "TEXT".into(),
            Kind::List(of) => format!("{},…", of.placeholder()),
        }
    }
}

/// A TOML value as a setting, or nothing for what is no setting: dates and tables.
pub(crate) fn plain(value: &toml_edit::Value) -> Option<ValueKind> {
    Some(match value {
        toml_edit::Value::Boolean(v) => ValueKind::Boolean(*v.value()),
        toml_edit::Value::Integer(v) => ValueKind::I64(*v.value()),
        toml_edit::Value::Float(v) => ValueKind::Float(*v.value()),
        toml_edit::Value::String(v) => ValueKind::String(v.value().clone()),
        toml_edit::Value::Array(items) => {
            let items = items.iter().map(|v| Some(Value::new(None, plain(v)?)));
            ValueKind::Array(items.collect::<Option<_>>()?)
        }
        toml_edit::Value::InlineTable(t) if t.is_empty() => ValueKind::Table(Default::default()),
        toml_edit::Value::InlineTable(_) | toml_edit::Value::Datetime(_) => return None,
    })
}

/// A setting as TOML writes it.
pub(crate) fn toml(value: &ValueKind) -> String {
    match value {
        ValueKind::Boolean(v) => v.to_string(),
        ValueKind::I64(v) => v.to_string(),
        ValueKind::Float(v) => toml_edit::Value::from(*v).to_string(),
        ValueKind::String(v) => toml_edit::Value::from(v.as_str()).to_string(),
        ValueKind::Array(items) => {
            let items: Vec<_> = items.iter().map(|v| toml(&v.kind)).collect();
            format!("[{}]", items.join(", "))
        }
        _ => "{}".into(),
    }
}

/// A setting as a variable or flag gives it.
pub(crate) fn text(value: &ValueKind) -> String {
    match value {
        ValueKind::String(text) => text.clone(),
        ValueKind::Array(items) => {
            items.iter().map(|item| text(&item.kind)).collect::<Vec<_>>().join(",")
        }
        other => toml(other),
    }
}

/// A setting as an error message shows what was found.
pub(crate) fn found(value: &ValueKind) -> String {
    match value {
        ValueKind::String(v) => format!("the text {}", quoted(v)),
        ValueKind::Array(_) => format!("the list {}", quoted(&toml(value))),
        ValueKind::Table(_) => "a table".into(),
        ValueKind::Nil => "a date".into(),
        other => format!("`{}`", toml(other)),
    }
}

/// Text in backticks, at most 60 characters of it.
pub(crate) fn quoted(text: &str) -> String {
    let mut shown: String = text.chars().take(60).flat_map(char::escape_debug).collect();
    if text.chars().nth(60).is_some() {
        shown.push('…');
    }
    format!("`{shown}`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read_with_commas_or_as_toml() {
        let list = Kind::of(&ValueKind::Array(vec![Value::new(None, 1_i64)])).unwrap();
        assert_eq!(list, Kind::List(Box::new(Kind::Integer)));
        assert_eq!(toml(&list.parse("1, 2,3").unwrap()), "[1, 2, 3]");
        assert_eq!(toml(&list.parse("[1, 2]").unwrap()), "[1, 2]");
        assert_eq!(toml(&list.parse("").unwrap()), "[]");
        assert!(list.parse("1,a").is_none());
        assert!(list.parse("[1, \"a\"]").is_none());
        assert_eq!(list.expected(), "a list, each item a whole number");
    }

    #[test]
    fn numbers_may_carry_underscores_and_floats_may_be_whole() {
        assert_eq!(Kind::Integer.parse("8_388_608"), Some(ValueKind::I64(8_388_608)));
        assert_eq!(Kind::Float.take(ValueKind::I64(2)), Some(ValueKind::Float(2.0)));
        assert_eq!(Kind::Integer.take(ValueKind::Float(2.0)), None);
        assert_eq!(toml(&ValueKind::Float(2.0)), "2.0");
    }

    #[test]
    fn long_or_odd_text_is_cut_and_escaped() {
        assert_eq!(quoted("a\nb"), "`a\\nb`");
        assert_eq!(quoted(&"x".repeat(61)), format!("`{}…`", "x".repeat(60)));
    }
}
