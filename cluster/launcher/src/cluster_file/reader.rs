//! Takes the keys of a cluster file out of its TOML, and collects what is wrong.

use std::path::{Path, PathBuf};

use toml_edit::{Item, Key, Table, TableLike, Value};

/// The keys that exist.
static KEYS: [(&str, &[&str]); 8] = [
    ("job", &["name", "binary", "config", "models", "native", "threads", "processes"]),
    ("hosts", &["list", "terraform", "command"]),
    ("ssh", &["user", "port", "key", "known_hosts", "config", "sudo"]),
    ("ports", &["cluster", "http", "http_bind"]),
    ("secrets", &[]),
    ("certs", &["folder"]),
    ("place", &["folder", "writable"]),
    ("limits", &["memory", "open_files", "restart_wait_ms_min", "restart_wait_ms_max"]),
];

/// Below this likeness (1 is equal) a suggestion would puzzle more than help.
const LIKE_MIN: f64 = 0.6;

pub(super) struct Reader<'a> {
    /// As messages call the file.
    pub name: String,
    pub text: &'a str,
    pub root: &'a Table,
    /// The folder that paths are relative to.
    pub folder: &'a Path,
    pub problems: Vec<String>,
}

impl<'a> Reader<'a> {
    /// The sections and keys that do not exist.
    pub fn unknown(&mut self) {
        for (section, item) in self.root.iter() {
            let place = self.root.get_key_value(section).map_or(0, |(key, _)| line(self.text, key));
            let Some((_, keys)) = KEYS.iter().find(|(name, _)| *name == section) else {
                let hint = hint(section, KEYS.iter().map(|(name, _)| (*name).to_string()));
                self.problem(place, format!("unknown section `{section}`{hint}"));
                continue;
            };
            let Some(table) = item.as_table_like() else {
                self.problem(place, format!("`{section}` is no table, expected `[{section}]`"));
                continue;
            };
            for (key, _) in
                table.iter().filter(|(key, _)| section != "secrets" && !keys.contains(key))
            {
                let place = table.get_key_value(key).map_or(0, |(key, _)| line(self.text, key));
                let all =
                    KEYS.iter().flat_map(|(s, keys)| keys.iter().map(move |k| format!("{s}.{k}")));
                let hint = hint(&format!("{section}.{key}"), all);
                self.problem(place, format!("unknown key `{section}.{key}`{hint}"));
            }
        }
    }

    /// The table of a section.
    pub fn section(&self, name: &str) -> Option<&'a dyn TableLike> {
        self.root.get(name).and_then(Item::as_table_like)
    }

    /// A key as `section.key`, with its line.
    pub fn item(&self, key: &str) -> Option<(usize, &'a Item)> {
        let (section, name) = key.split_once('.')?;
        let (written, item) = self.section(section)?.get_key_value(name)?;
        Some((line(self.text, written), item))
    }

    pub fn problem(&mut self, line: usize, what: String) {
        self.problems.push(match line {
            0 => format!("{}: {what}", self.name),
            line => format!("{}:{line}: {what}", self.name),
        });
    }

    /// A problem with the value of a key.
    pub fn refuse(&mut self, key: &str, what: impl std::fmt::Display) {
        let place = self.item(key).map_or(0, |(line, _)| line);
        self.problem(place, format!("`{key}`: {what}"));
    }

    fn expected<T>(&mut self, key: &str, expected: &str, value: Option<T>) -> Option<T> {
        if value.is_none() {
            let found = self.item(key).map_or("nothing", |(_, item)| item.type_name());
            self.refuse(key, format!("found {found}, expected {expected}"));
        }
        value
    }

    pub fn string(&mut self, key: &str) -> Option<String> {
        let (_, item) = self.item(key)?;
        self.expected(key, "a text that is not empty", item.as_str().filter(|t| !t.is_empty()))
            .map(str::to_owned)
    }

    /// A text of letters, digits and some other characters, which begins with one of the former.
    pub fn word(&mut self, key: &str, others: &str) -> Option<String> {
        let text = self.string(key)?;
        if is_word(&text, others) {
            return Some(text);
        }
        let allowed = others.chars().map(|c| format!("`{c}`")).collect::<Vec<_>>().join(", ");
        self.refuse(
            key,
            format!(
                "found `{text}`, expected up to 63 letters, digits and {allowed}, a letter or digit first"
            ),
        );
        None
    }

    pub fn number(&mut self, key: &str, range: std::ops::RangeInclusive<i64>) -> Option<i64> {
        let (_, item) = self.item(key)?;
        let expected = format!("a number from {} to {}", range.start(), range.end());
        match item.as_integer() {
            Some(number) if !range.contains(&number) => {
                self.refuse(key, format!("found {number}, expected {expected}"));
                None
            }
            number => self.expected(key, &expected, number),
        }
    }

    pub fn flag(&mut self, key: &str) -> Option<bool> {
        let (_, item) = self.item(key)?;
        self.expected(key, "true or false", item.as_bool())
    }

    /// A path below the file's folder, or an absolute one; `~/` is the user's home.
    pub fn path(&mut self, key: &str) -> Option<PathBuf> {
        self.string(key).map(|text| self.below(&text))
    }

    pub fn strings(&mut self, key: &str) -> Vec<String> {
        let Some((_, item)) = self.item(key) else { return Vec::new() };
        let texts =
            item.as_array().map(|array| array.iter().map(Value::as_str).collect::<Vec<_>>());
        let all = texts.and_then(|texts| texts.into_iter().collect::<Option<Vec<_>>>());
        let all = self.expected(key, "a list of texts", all).unwrap_or_default();
        all.into_iter().map(str::to_owned).collect()
    }

    pub fn below(&self, text: &str) -> PathBuf {
        match (text.strip_prefix("~/"), std::env::home_dir()) {
            (Some(rest), Some(home)) => home.join(rest),
            _ => self.folder.join(text),
        }
    }

    /// An absolute path on a host. It stands in unit files and shell commands: its characters are few.
    pub fn host_path(&mut self, key: &str, text: String) -> Option<PathBuf> {
        let plain = |c: char| c.is_ascii_alphanumeric() || "/._-".contains(c);
        let path = PathBuf::from(&text);
        let real = path.components().all(|part| !matches!(part, std::path::Component::ParentDir));
        if text.starts_with('/') && text.len() > 1 && text.chars().all(plain) && real {
            return Some(path);
        }
        self.refuse(
            key,
            format!(
                "found `{text}`, expected an absolute path of letters, digits, `.`, `_` and `-`"
            ),
        );
        None
    }
}

/// Whether a text is letters, digits and these other characters, and begins with one of the former.
pub(super) fn is_word(text: &str, others: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || others.contains(c);
    let begins = text.starts_with(|c: char| c.is_ascii_alphanumeric());
    begins && text.len() <= 63 && text.chars().all(plain)
}

/// The line of a key, from 1.
fn line(text: &str, key: &Key) -> usize {
    let start = key.span().map_or(0, |span| span.start);
    text.as_bytes()[..start.min(text.len())].iter().filter(|b| **b == b'\n').count() + 1
}

/// The end of a message about an unknown name: the nearest valid one, or those of its section.
fn hint(wrong: &str, valid: impl Iterator<Item = String>) -> String {
    let valid: Vec<_> = valid.collect();
    let like = |name: &str| strsim::normalized_damerau_levenshtein(wrong, name);
    let best = valid.iter().max_by(|a, b| like(a).total_cmp(&like(b)));
    if let Some(best) = best.filter(|best| like(best) >= LIKE_MIN) {
        return format!(", did you mean `{best}`?");
    }
    let section = wrong.split_once('.').map(|(section, _)| format!("{section}."));
    let near = valid.iter().filter(|name| section.as_ref().is_none_or(|s| name.starts_with(s)));
    let near: Vec<_> = near.map(|name| format!("`{name}`")).collect();
    format!(", expected one of {}", near.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_explains_every_key() {
        let example = include_str!("../../examples/cluster.toml");
        let lines: Vec<_> = example.lines().collect();
        for (section, keys) in &KEYS {
            assert!(lines.contains(&format!("[{section}]").as_str()), "{section}");
            for key in *keys {
                let set = [format!("{key} = "), format!("# {key} = ")];
                let at = lines.iter().position(|line| set.iter().any(|s| line.starts_with(s)));
                let at = at.unwrap_or_else(|| panic!("no {section}.{key}"));
                assert!(lines[at - 1].starts_with("# "), "{section}.{key} is not explained");
            }
        }
    }
}
