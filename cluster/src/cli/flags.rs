//! The flags that are settings, `--section.key VALUE`, apart from the rest of the command line.
//!
//! They are taken out before `clap` sees them: free-form tables have no fixed set of flags, and
//! what is wrong with a setting is reported with what is wrong in the file and the environment.

use std::ffi::OsString;

use crate::settings::Problem;

/// A command line in two parts.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Split {
    /// What `clap` reads, program name included.
    pub rest: Vec<OsString>,
    /// Settings: names without `--`, and values.
    pub flags: Vec<(String, String)>,
    pub problems: Vec<Problem>,
}

/// Takes the settings out of a command line. A setting has a dot in its name; its value is the
/// next argument, or follows `=`.
pub(crate) fn split(args: impl IntoIterator<Item = OsString>) -> Split {
    let mut split = Split::default();
    let mut args = args.into_iter().peekable();
    split.rest.extend(args.next());
    while let Some(arg) = args.next() {
        let text = arg.to_string_lossy();
        let Some(name) = text.strip_prefix("--").filter(|_| is_setting(&text)) else {
            let last = text == "--";
            split.rest.push(arg);
            if last {
                split.rest.extend(args.by_ref());
            }
            continue;
        };
        if let Some((name, value)) = name.split_once('=') {
            split.add(name.into(), OsString::from(value), arg.to_str().is_some());
            continue;
        }
        // What starts with `--` is the next flag; a value that does so is given with `=`.
        let name = name.to_owned();
        match args.next_if(|next| !next.to_string_lossy().starts_with("--")) {
            Some(value) => split.add(name, value, true),
            None => split.problems.push(Problem::NoValue { place: format!("flag `--{name}`") }),
        }
    }
    split
}

fn is_setting(arg: &str) -> bool {
    let name = arg.split('=').next().unwrap_or_default();
    name.starts_with("--") && name.contains('.')
}

impl Split {
    fn add(&mut self, name: String, value: OsString, valid: bool) {
        match value.into_string() {
            Ok(value) if valid => self.flags.push((name, value)),
            _ => {
                let (place, reason) = (format!("flag `--{name}`"), "is not UTF-8".into());
                self.problems.push(Problem::Refused { place, key: name, reason });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(args: &[&str]) -> (Vec<String>, Vec<(String, String)>, Vec<String>) {
        let split = split(args.iter().map(OsString::from));
        let rest = split.rest.iter().map(|a| a.to_string_lossy().into_owned()).collect();
        (rest, split.flags, split.problems.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn settings_are_taken_out_wherever_they_stand() {
        let args =
            ["g", "--a.b", "1", "run", "--config", "x.toml", "--a.c=-2", "--a.d", "-3", "--h"];
        let (rest, flags, problems) = of(&args);
        assert_eq!(rest, ["g", "run", "--config", "x.toml", "--h"]);
        let flags: Vec<_> = flags.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        assert_eq!(flags, [("a.b", "1"), ("a.c", "-2"), ("a.d", "-3")]);
        assert!(problems.is_empty());
    }

    #[test]
    fn a_setting_without_a_value_is_named() {
        let (rest, flags, problems) = of(&["g", "run", "--a.b", "--a.c", "1", "--a.d"]);
        assert_eq!(rest, ["g", "run"]);
        assert_eq!(flags, [("a.c".into(), "1".into())]);
        assert_eq!(problems, ["flag `--a.b`: needs a value", "flag `--a.d`: needs a value"]);
    }

    #[test]
    fn what_follows_two_dashes_is_left_alone() {
        let (rest, flags, _) = of(&["g", "--", "--a.b", "1"]);
        assert_eq!(rest, ["g", "--", "--a.b", "1"]);
        assert!(flags.is_empty());
    }

    #[test]
    fn a_file_name_with_a_dot_is_no_setting() {
        let (rest, flags, _) = of(&["g", "run", "--config=a.toml", "b.c"]);
        assert_eq!(rest, ["g", "run", "--config=a.toml", "b.c"]);
        assert!(flags.is_empty());
    }
}
