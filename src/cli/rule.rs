//! `voxgate rule`: who else may read or publish what, and who may not.

use clap::{Subcommand, ValueEnum};

use crate::admin::{NewRule, RuleRow};

use super::context::{Context, block_on};
use super::table;

/// Add, list and remove rules: who else may read or publish what, and who may not
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    Add(Add),
    List(List),
    Remove(Remove),
}

/// Add a rule; it counts at once
///
/// Rules widen or narrow what role and topic table give; a denial wins over everything. No rule gives anybody what a
/// device or the gateway says.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  voxgate rule add user:anna readwrite 'lights/#'
  voxgate rule add role:device readwrite 'home/%u/#'   each device below its own name
  voxgate rule add role:viewer deny 'device/+/audio'")]
pub(super) struct Add {
    /// Whom: everyone, anonymous, user:NAME, role:device, role:viewer, role:operator or role:admin
    subject: String,
    /// What it may
    access: Access,
    /// The topics, as an MQTT filter; a level %u is the client's user name, a level %c its client id
    filter: String,
    /// Print one JSON object: {id, subject, access, filter}
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Access {
    /// Subscribe
    Read,
    /// Publish
    Write,
    /// Both
    Readwrite,
    /// Neither, whatever else allows it
    Deny,
}

/// Show all rules; those without an id stand in the configuration
#[derive(Debug, clap::Args)]
pub(super) struct List {
    /// Print one JSON array of {id, subject, access, filter}
    #[arg(long)]
    json: bool,
}

/// Remove a rule; that counts at once
#[derive(Debug, clap::Args)]
pub(super) struct Remove {
    /// Its id, as `voxgate rule list` shows it
    id: String,
}

/// Works on the gateway that runs, else on the store.
pub(super) fn run(command: Command, context: &mut Context<'_>) -> anyhow::Result<()> {
    block_on(async {
        let admin = context.gateway_or_store().await?;
        match command {
            Command::Add(Add { subject, access, filter, json }) => {
                let access = match access {
                    Access::Read => "read",
                    Access::Write => "write",
                    Access::Readwrite => "readwrite",
                    Access::Deny => "deny",
                };
                let added = admin.rule_add(NewRule { subject, access: access.to_owned(), filter }).await?;
                if json {
                    return context.json(&added);
                }
                writeln!(context.out, "{}", added.id.unwrap_or_default())?;
                Ok(())
            }
            Command::List(args) => list(&args, &admin.rule_list().await?, context),
            Command::Remove(args) => {
                admin.rule_remove(args.id.clone()).await?;
                eprintln!("rule {} removed", args.id);
                Ok(())
            }
        }
    })
}

fn list(args: &List, rules: &[RuleRow], context: &mut Context<'_>) -> anyhow::Result<()> {
    if args.json {
        return context.json(&rules);
    }
    let row = |row: &RuleRow| {
        let id = row.id.clone().unwrap_or_else(|| "-".to_owned());
        vec![id, row.rule.subject.clone(), row.rule.access.clone(), row.rule.filter.clone()]
    };
    let rows: Vec<Vec<String>> = rules.iter().map(row).collect();
    let empty = "no rules; add one with `voxgate rule add`";
    Ok(table::write(context.out, &["id", "subject", "access", "filter"], &rows, empty)?)
}
