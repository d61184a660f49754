//! Backslash commands: what psql's users type without thinking.

use crate::cli::Screen;
use crate::render::{Expanded, Format};
use clap::ValueEnum;
use polder_catalog::{Error, Result, SqlState};

/// What `\?` prints.
pub(super) const HELP: &str = "\
\\d            list tables
\\d NAME       describe a table
\\dt [LIKE]    list tables, as in \\dt ord% or \\dt ord*
\\dn [CATALOG] list schemas
\\l            list catalogs
\\x [on|off|auto]
              write rows one line per column; auto does so where a table would not fit
\\format [table|csv|json|ndjson]
              how rows are written
\\timing [on|off]
              tell how long each statement took
\\q            leave, as Ctrl-D does
Ctrl-C cancels a running query, or takes back what was typed. Tab completes names.";

/// What can be switched in the shell, beside the screen.
#[derive(Debug, Default)]
pub(super) struct Settings {
    pub(super) timing: bool,
}

/// One backslash command.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Command {
    Quit,
    Help,
    /// Stands for this statement.
    Run(String),
    Set(Change),
}

/// A switch; without a value it is turned over.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Change {
    Timing(Option<bool>),
    Expanded(Option<Expanded>),
    Format(Option<Format>),
}

/// Reads a command.
///
/// # Errors
/// 42601 with a hint, for a command or an argument that does not exist.
pub(super) fn parse(text: &str) -> Result<Command> {
    // psql also takes `\d;` and `\q ;`.
    let text = text.trim_end_matches([';', ' ', '\t', '\n']);
    let (name, argument) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    let argument = Some(argument.trim()).filter(|argument| !argument.is_empty());
    Ok(match (name, argument) {
        ("\\q" | "\\quit", _) => Command::Quit,
        ("\\?" | "\\h" | "\\help", _) => Command::Help,
        ("\\l", _) => Command::Run("SHOW CATALOGS".to_string()),
        ("\\dn", None) => Command::Run("SHOW SCHEMAS".to_string()),
        ("\\dn", Some(catalog)) => Command::Run(format!("SHOW SCHEMAS FROM {catalog}")),
        ("\\d" | "\\dt", None) => Command::Run("SHOW TABLES".to_string()),
        ("\\d", Some(name)) => Command::Run(format!("DESCRIBE {name}")),
        ("\\dt", Some(pattern)) => Command::Run(show_tables(pattern)),
        ("\\timing", value) => Command::Set(Change::Timing(value.map(switch).transpose()?)),
        ("\\x", value) => Command::Set(Change::Expanded(value.map(expanded).transpose()?)),
        ("\\format", value) => Command::Set(Change::Format(value.map(format).transpose()?)),
        _ => {
            return Err(Error::fix(SqlState::SYNTAX, format!("there is no command {name}"))
                .with_hint("type \\? for the list of commands"));
        }
    })
}

/// psql's `*` and `?` are LIKE's `%` and `_`.
fn show_tables(pattern: &str) -> String {
    let pattern = pattern.replace('*', "%").replace('?', "_").replace('\'', "''");
    format!("SHOW TABLES LIKE '{pattern}'")
}

fn switch(value: &str) -> Result<bool> {
    match value {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err(unknown_value(value, "on or off")),
    }
}

fn expanded(value: &str) -> Result<Expanded> {
    match value {
        "on" => Ok(Expanded::On),
        "off" => Ok(Expanded::Off),
        "auto" => Ok(Expanded::Auto),
        _ => Err(unknown_value(value, "on, off or auto")),
    }
}

fn format(value: &str) -> Result<Format> {
    Format::from_str(value, true).map_err(|_| unknown_value(value, "table, csv, json or ndjson"))
}

fn unknown_value(value: &str, values: &str) -> Error {
    Error::fix(SqlState::PARAMETER, format!("there is no value \"{value}\" here")).with_hint(format!("it is {values}"))
}

impl Change {
    /// Makes the change; tells what holds now.
    pub(super) fn apply(self, settings: &mut Settings, screen: &mut Screen) -> String {
        match self {
            Self::Timing(value) => {
                settings.timing = value.unwrap_or(!settings.timing);
                format!("Timing is {}.", if settings.timing { "on" } else { "off" })
            }
            Self::Expanded(value) => {
                let turned = if screen.layout.expanded == Expanded::On { Expanded::Off } else { Expanded::On };
                screen.layout.expanded = value.unwrap_or(turned);
                let now = match screen.layout.expanded {
                    Expanded::On => "on",
                    Expanded::Off => "off",
                    Expanded::Auto => "used where a table would not fit",
                };
                format!("Expanded display is {now}.")
            }
            Self::Format(value) => {
                screen.format = value.unwrap_or_default();
                let name = screen.format.to_possible_value().map(|value| value.get_name().to_string());
                format!("Output format is {}.", name.unwrap_or_default())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Change, Command, Expanded, parse};

    #[test]
    fn commands_stand_for_statements() {
        let statement = |text: &str| match parse(text).unwrap() {
            Command::Run(statement) => statement,
            other => panic!("{other:?}"),
        };
        assert_eq!(statement("\\d"), "SHOW TABLES");
        assert_eq!(statement("\\d shop.public.\"Orders\" ;"), "DESCRIBE shop.public.\"Orders\"");
        assert_eq!(statement("\\dt it's*"), "SHOW TABLES LIKE 'it''s%'");
        assert_eq!(statement("\\l"), "SHOW CATALOGS");
    }

    #[test]
    fn switches_take_a_value_or_turn_over() {
        assert_eq!(parse("\\timing").unwrap(), Command::Set(Change::Timing(None)));
        assert_eq!(parse("\\x auto").unwrap(), Command::Set(Change::Expanded(Some(Expanded::Auto))));
        let error = parse("\\x maybe").unwrap_err();
        assert_eq!(error.hint(), Some("it is on, off or auto"));
    }

    #[test]
    fn an_unknown_command_points_to_the_help() {
        let error = parse("\\frobnicate now").unwrap_err();
        assert_eq!(error.message(), "there is no command \\frobnicate");
        assert_eq!(error.hint(), Some("type \\? for the list of commands"));
    }
}
