//! The reference of the commands is what the program says of itself.

use crate::{polder, root};
use std::fmt::Write;
use std::process::Command;

const PAGE: &str = "docs/reference/commands.md";
const UPDATE: &str = "POLDER_UPDATE";

/// Commands in the order of `polder help`.
fn commands() -> Vec<String> {
    let help = help(&[]);
    let (_, list) = help.split_once("Commands:\n").expect("polder --help lists the commands");
    let list = list.split("\n\n").next().unwrap_or_default();
    let names = list.lines().filter_map(|line| line.strip_prefix("  ")?.split_whitespace().next());
    names.filter(|name| *name != "help").map(String::from).collect()
}

fn help(command: &[&str]) -> String {
    let output = Command::new(polder()).args(command).arg("--help").output().expect("run polder");
    assert!(output.status.success(), "polder {command:?} --help: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("the help is UTF-8");
    text.lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
}

/// A command that is not documented, or documented otherwise, cannot land.
#[test]
fn the_reference_is_what_the_program_says() {
    let commands = commands();
    assert!(commands.iter().any(|name| name == "sql"), "{commands:?}");
    let mut page = String::from(
        "# Commands\n\n<!-- Written by the tests from the program: POLDER_UPDATE=1 scripts/test --test process reference -->\n",
    );
    let _ = write!(page, "\n```text\n{}\n```\n", help(&[]));
    for name in commands {
        let _ = write!(page, "\n## polder {name}\n\n```text\n{}\n```\n", help(&[&name]));
    }
    let file = root().join(PAGE);
    if std::env::var_os(UPDATE).is_some() {
        std::fs::write(&file, &page).expect("write the page");
    }
    let committed = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(committed == page, "{PAGE} is stale: run {UPDATE}=1 scripts/test --test process reference");
}
