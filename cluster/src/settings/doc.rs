//! The comments of a file of defaults: the manual of each option, and its markers.

use config::ValueKind;
use toml_edit::RawString;

use super::schema::SchemaError;

/// The comment above an option.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Doc {
    lines: Vec<String>,
}

impl Doc {
    /// The block of comment lines that ends right above an option; one further up is no part of it.
    pub(crate) fn above(prefix: Option<&RawString>) -> Doc {
        let text = prefix.and_then(RawString::as_str).unwrap_or_default();
        let mut lines = Vec::new();
        for line in text.lines().map(str::trim) {
            match line.strip_prefix('#') {
                Some(comment) => lines.push(comment.strip_prefix(' ').unwrap_or(comment).into()),
                None => lines.clear(),
            }
        }
        Doc { lines }
    }

    /// Takes the lines that start with `@` out of the comment.
    pub(crate) fn take_markers(&mut self, key: &str) -> Result<Rule, SchemaError> {
        let mut rule = Rule::default();
        let (markers, lines) =
            std::mem::take(&mut self.lines).into_iter().partition(|l: &String| l.starts_with('@'));
        self.lines = lines;
        for marker in markers {
            rule.read(&marker)
                .ok_or_else(|| SchemaError::Marker { key: key.into(), marker: marker.clone() })?;
        }
        Ok(rule)
    }

    /// Whether there is nothing to read.
    pub fn is_empty(&self) -> bool {
        self.lines.iter().all(|l| l.trim().is_empty())
    }

    /// The first sentence.
    pub fn summary(&self) -> String {
        let first = self.paragraphs().into_iter().next().unwrap_or_default();
        match first.find(". ") {
            Some(end) => first[..=end].into(),
            None => first,
        }
    }

    /// The paragraphs, each on one line. An empty comment line parts them.
    pub fn paragraphs(&self) -> Vec<String> {
        let parts = self.lines.split(|l| l.trim().is_empty());
        parts.map(|p| p.join(" ")).filter(|p| !p.is_empty()).collect()
    }

    /// The lines as they stand in the file, each with its `# `.
    pub(crate) fn comment(&self) -> String {
        self.lines.iter().map(|l| format!("# {l}").trim_end().to_owned() + "\n").collect()
    }
}

/// What the markers of an option ask.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Rule {
    pub secret: bool,
    /// Whether each process of a job may have its own.
    pub own: bool,
    pub choices: Vec<String>,
    pub min: Option<f64>,
    pub max: Option<f64>,
}

impl Rule {
    fn read(&mut self, marker: &str) -> Option<()> {
        let (name, rest) = marker.split_once(' ').unwrap_or((marker, ""));
        match name {
            "@secret" if rest.is_empty() => self.secret = true,
            "@own" if rest.is_empty() => self.own = true,
            "@choices" => self.choices = rest.split('|').map(|c| c.trim().into()).collect(),
            "@min" => self.min = Some(rest.trim().parse().ok()?),
            "@max" => self.max = Some(rest.trim().parse().ok()?),
            _ => return None,
        }
        Some(())
    }

    /// What is expected instead, when the rule refuses the value.
    pub(crate) fn refuses(&self, value: &ValueKind) -> Option<String> {
        let number = match value {
            ValueKind::I64(v) => *v as f64,
            ValueKind::Float(v) => *v,
            ValueKind::String(text) => {
                let refused = !self.choices.is_empty() && !self.choices.contains(text);
                return refused.then(|| one_of(self.choices.iter().map(String::as_str)));
            }
            _ => return None,
        };
        // Written so that NaN is refused.
        let fits = self.min.is_none_or(|min| number >= min)
            && self.max.is_none_or(|max| number <= max)
            && !number.is_nan();
        if fits {
            return None;
        }
        Some(match (self.min, self.max) {
            (Some(min), Some(max)) => format!("{min} to {max}"),
            (Some(min), None) => format!("{min} or more"),
            (None, Some(max)) => format!("{max} or less"),
            (None, None) => "a number".into(),
        })
    }

    /// The limits in words, for the manual.
    pub(crate) fn limits(&self) -> Option<String> {
        match (self.min, self.max) {
            (Some(min), Some(max)) => Some(format!("{min} to {max}")),
            (Some(min), None) => Some(format!("{min} or more")),
            (None, Some(max)) => Some(format!("{max} or less")),
            (None, None) => None,
        }
    }
}

/// Names as a person lists them: `a`, `b` or `c`.
pub(crate) fn one_of<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let mut names: Vec<_> = names.map(|n| format!("`{n}`")).collect();
    match names.pop() {
        Some(last) if names.is_empty() => last,
        Some(last) => format!("{} or {last}", names.join(", ")),
        None => "nothing".into(),
    }
}
