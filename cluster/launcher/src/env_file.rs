//! Files of variables, as systemd's `EnvironmentFile=` and `tideflow supervise` read them.

use std::collections::BTreeMap;
use std::fmt::Write;

/// The variables as text: `NAME="value"` a line. A value has no line ends: whoever takes one in
/// sees to that.
pub fn write(variables: &BTreeMap<String, String>) -> String {
    let mut text = String::new();
    for (name, value) in variables {
        let mut quoted = String::new();
        for c in value.chars() {
            if matches!(c, '"' | '\\' | '$' | '`') {
                quoted.push('\\');
            }
            quoted.push(c);
        }
        let _ = writeln!(text, "{name}=\"{quoted}\"");
    }
    text
}

/// The variables of a text that [`write()`] has made, or a person: quotes may be left out, and lines
/// that start with `#` are skipped.
pub fn read(text: &str) -> BTreeMap<String, String> {
    let lines = text.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#'));
    let parts = lines.filter_map(|line| line.split_once('='));
    parts.map(|(name, value)| (name.trim().into(), unquoted(value.trim()))).collect()
}

fn unquoted(value: &str) -> String {
    let Some(inner) = value.strip_prefix('"').and_then(|v| v.strip_suffix('"')) else {
        return value.into();
    };
    let (mut plain, mut chars) = (String::new(), inner.chars());
    while let Some(c) = chars.next() {
        match c {
            '\\' => plain.extend(chars.next()),
            c => plain.push(c),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden_what_is_written_is_read_again() {
        let values = [("A", "plain"), ("B", r#"a "b" \ $c `d` 'e'"#), ("C", "")];
        let variables: BTreeMap<_, _> =
            values.into_iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
        let text = write(&variables);
        assert_eq!(text, "A=\"plain\"\nB=\"a \\\"b\\\" \\\\ \\$c \\`d\\` 'e'\"\nC=\"\"\n");
        assert_eq!(read(&text), variables);
        assert_eq!(read("# no\n X = y z \n")["X"], "y z");
    }
}
