//! The manual: every option, out of the files of defaults.

use clap::error::{ContextKind, ContextValue};
use clap::{Arg, Command};

use crate::exit::Exit;
use crate::settings::{Key, Kind, Schema, Section, variable};

/// The options as `clap` shows them in help. It never parses them: see [`super::flags`].
pub(crate) fn options(command: Command, schema: &Schema) -> Command {
    let sections = schema.sections().iter();
    let args = sections.flat_map(|s| s.keys.iter().map(|key| option(s, key)));
    command.args(args.collect::<Vec<_>>())
}

fn option(section: &Section, key: &Key) -> Arg {
    let flag = match key.kind {
        Kind::Map => format!("{}.NAME", key.path),
        _ => key.path.clone(),
    };
    Arg::new(key.path.clone())
        .long(flag)
        .value_name(placeholder(key))
        .help_heading(heading(section))
        .help(brief(key))
        .long_help(manual(key))
}

fn heading(section: &Section) -> String {
    let about = section.doc.summary();
    let about = about.trim_end_matches('.');
    if about.is_empty() {
        format!("[{}]", section.path)
    } else {
        format!("[{}] {about}", section.path)
    }
}

fn placeholder(key: &Key) -> String {
    match key.choices() {
        [] if key.path.ends_with("_ms") => "MS".into(),
        [] if key.path.ends_with("file") => "FILE".into(),
        [] => key.kind.placeholder(),
        choices => choices.join("|"),
    }
}

fn default(key: &Key) -> Option<String> {
    key.default_text().map(|default| match default.as_str() {
        "" => "[default: empty]".into(),
        shown => format!("[default: {shown}]"),
    })
}

/// For `-h`: a sentence.
fn brief(key: &Key) -> String {
    let summary = key.doc.summary();
    let summary = summary.trim_end_matches('.');
    default(key).map_or_else(|| summary.into(), |default| format!("{summary} {default}"))
}

/// For `--help`: the comment of the file of defaults.
fn manual(key: &Key) -> String {
    let mut manual = key.doc.paragraphs().join("\n\n");
    // The choices stand in the usage line already.
    let notes = key.notes().into_iter().filter(|_| key.choices().is_empty());
    for line in notes.chain(default(key)) {
        manual.push('\n');
        manual.push_str(&line);
    }
    manual
}

/// Adds the setting that an unknown flag was meant to be: `--threads` is `--workers.threads`.
pub(crate) fn with_setting(mut error: clap::Error, schema: &Schema) -> clap::Error {
    let Some(ContextValue::String(wrong)) = error.get(ContextKind::InvalidArg) else {
        return error;
    };
    let Some(name) = wrong.strip_prefix("--") else { return error };
    let meant = schema.keys().find(|key| key.name() == name.replace('-', "_"));
    if let Some(key) = meant {
        let tip = format!("a setting is given with its section: '--{} VALUE'", key.path);
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip.into()]));
    }
    error
}

/// What stands under the options.
pub(crate) fn after(schema: &Schema) -> String {
    let example = schema.keys().next().map_or("workers.threads", |key| key.path.as_str());
    let variable = variable(example);
    let (section, name) = example.split_once('.').unwrap_or(("workers", "threads"));
    format!(
        "Settings: the defaults, then the file given by --config (TOML, `{name} = …` under \
         `[{section}]`), then environment variables such as {variable}, then flags such as \
         --{example}; later ones win. `config` prints the outcome and where each value comes from, \
         `config --defaults` a file to start from.\n\n{}",
        exit_codes()
    )
}

/// The exit codes, as help shows them.
pub(crate) fn exit_codes() -> String {
    format!("Exit codes:\n{}", Exit::table())
}
