//! `docs/cli.md`, from the same definition that parses.

use std::fmt::Write as _;

use clap::{Command, CommandFactory};

use super::Cli;

const HEAD: &str = "\
# Command line

One program, `voxgate`. Commands that read take `--json` and then print JSON whose fields are added to, never renamed or
removed. `device`, `operator` and `lifelog list` work on the gateway that runs, else on its store; `session`, `status`,
`say`, `abort` and `lifelog tail` need one that runs.

Generated from the code by `UPDATE_DOCS=1 cargo test --test docs`: do not edit.
";

/// The text of `docs/cli.md`.
pub fn reference() -> String {
    // a width of its own: the terminal's would make the text differ from machine to machine
    let mut root = Cli::command().term_width(100);
    root.build();
    let mut out = HEAD.to_owned();
    section(&mut out, &root, "");
    out
}

fn section(out: &mut String, command: &Command, path: &str) {
    let path = format!("{path} {}", command.get_name()).trim().to_owned();
    let help = command.clone().term_width(100).render_long_help().to_string();
    let lines: Vec<&str> = help.lines().map(str::trim_end).collect();
    // writing to a text cannot fail
    let _ = write!(out, "\n## `{path}`\n\n```text\n{}\n```\n", lines.join("\n").trim_end());
    for inner in command.get_subcommands().filter(|inner| inner.get_name() != "help" && !inner.is_hide_set()) {
        section(out, inner, &path);
    }
}
