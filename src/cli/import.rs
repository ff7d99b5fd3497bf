//! `voxgate import`: users and rules of another broker, devices of another server.
//!
//! Everything is tried before anything is done: first all chunks dry, then, when nothing is in the way, for good.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};
use clap::{Subcommand, ValueEnum};

use crate::admin::{Admin, ImportOutcome, ImportUser, NewRule, Role};

use super::context::{Context, block_on};

mod acl;
mod opencane;
mod passwords;
mod xiaozhi;

/// Users or rules in one request, which has at most 64 KiB.
const CHUNK: usize = 100;
/// Largest file, in bytes.
const LARGEST: u64 = 64 << 20;

/// Take over users and rules of another broker, or devices and settings of another server
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    Mosquitto(Mosquitto),
    XiaozhiServer(xiaozhi::XiaozhiServer),
    #[command(name = "opencane")]
    OpenCane(opencane::OpenCane),
}

/// Take over mosquitto's password_file and acl_file
///
/// Each user becomes a device of the same name, unless an option says otherwise; the password stays, and its hash is
/// replaced by argon2id at its first use. Lines of the acl_file become rules (`voxgate rule list`). What is there
/// already stays as it is, so this can be run again. When a line cannot be taken nothing is imported, and each such
/// line is named with what mends it; --partial imports the rest.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  voxgate import mosquitto --password-file /etc/mosquitto/passwd --dry-run
  voxgate import mosquitto --password-file passwd --acl-file acl --operator anna --viewer dashboard")]
pub(super) struct Mosquitto {
    /// The password_file
    #[arg(long, value_name = "FILE", required_unless_present = "acl_file")]
    password_file: Option<PathBuf>,
    /// The acl_file
    #[arg(long, value_name = "FILE")]
    acl_file: Option<PathBuf>,
    /// What users become that no other option names
    #[arg(long = "as", value_name = "WHAT", value_enum, default_value_t = As::Device)]
    others: As,
    /// A user that becomes a device (may be given more than once)
    #[arg(long, value_name = "NAME")]
    device: Vec<String>,
    /// A user that becomes an operator who watches (may be given more than once)
    #[arg(long, value_name = "NAME")]
    viewer: Vec<String>,
    /// A user that becomes an operator who watches and commands (may be given more than once)
    #[arg(long, value_name = "NAME")]
    operator: Vec<String>,
    /// A user that becomes an operator who may do everything (may be given more than once)
    #[arg(long, value_name = "NAME")]
    admin: Vec<String>,
    /// Only say what would be done
    #[arg(long)]
    dry_run: bool,
    /// Import also when some lines cannot be taken
    #[arg(long)]
    partial: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum As {
    /// A device
    Device,
    /// An operator who watches
    Viewer,
    /// An operator who watches and commands
    Operator,
    /// An operator who may do everything
    Admin,
}

/// Why a line is not taken.
#[derive(Debug, PartialEq, Eq)]
struct Trouble {
    line: usize,
    what: String,
    remedy: String,
}

/// One thing to import, and the words for it.
struct Item<T> {
    line: usize,
    what: String,
    value: T,
}

/// Works on the gateway that runs, else on the store.
pub(super) fn run(command: Command, context: &mut Context<'_>) -> anyhow::Result<()> {
    match command {
        Command::Mosquitto(args) => mosquitto(&args, context),
        Command::XiaozhiServer(args) => xiaozhi::run(&args, context),
        Command::OpenCane(args) => opencane::run(&args, context),
    }
}

fn mosquitto(args: &Mosquitto, context: &mut Context<'_>) -> anyhow::Result<()> {
    let (users, user_troubles) = users(args)?;
    let (rules, rule_troubles) = rules(args)?;
    block_on(async {
        let admin = context.gateway_or_store().await?;
        let mut troubles =
            vec![(args.password_file.as_deref(), user_troubles), (args.acl_file.as_deref(), rule_troubles)];
        let (tried_users, tried_rules) =
            (give_users(&*admin, &users, true).await?, give_rules(&*admin, &rules, true).await?);
        troubles[0].1.extend(refused(&users, &tried_users));
        troubles[1].1.extend(refused(&rules, &tried_rules));
        let complaints = complain(&mut troubles);
        if complaints > 0 && !args.partial {
            bail!(
                "{complaints} lines cannot be taken, and nothing was imported; mend them, or take the rest with --partial"
            );
        }
        let (users_done, rules_done) = if args.dry_run {
            (tried_users, tried_rules)
        } else {
            (give_users(&*admin, &users, false).await?, give_rules(&*admin, &rules, false).await?)
        };
        let mut told = Told { dry: args.dry_run, ..Told::default() };
        told.list(context, &users, &users_done)?;
        told.list(context, &rules, &rules_done)?;
        let would = if args.dry_run { "would be " } else { "" };
        writeln!(
            context.out,
            "{} {would}added, {} there already, {complaints} lines not taken",
            told.added, told.there
        )?;
        Ok(())
    })
}

fn users(args: &Mosquitto) -> anyhow::Result<(Vec<Item<ImportUser>>, Vec<Trouble>)> {
    let Some(path) = &args.password_file else { return Ok((Vec::new(), Vec::new())) };
    let (users, troubles) = passwords::read(&text(path)?);
    for name in [&args.device, &args.viewer, &args.operator, &args.admin].into_iter().flatten() {
        ensure!(users.iter().any(|user| user.name == *name), "{}: there is no user {name}", path.display());
    }
    let item = |user: passwords::User| {
        let becomes = becomes(args, &user.name);
        let (what, role) = match becomes {
            As::Device => ("device", None),
            As::Viewer => ("viewer", Some(Role::Viewer)),
            As::Operator => ("operator", Some(Role::Operator)),
            As::Admin => ("admin", Some(Role::Admin)),
        };
        let what = format!("{what} {}", user.name);
        Item { line: user.line, what, value: ImportUser { name: user.name, hash: user.hash, role } }
    };
    Ok((users.into_iter().map(item).collect(), troubles))
}

fn becomes(args: &Mosquitto, name: &str) -> As {
    let named = |names: &[String]| names.iter().any(|n| n == name);
    match () {
        () if named(&args.device) => As::Device,
        () if named(&args.viewer) => As::Viewer,
        () if named(&args.operator) => As::Operator,
        () if named(&args.admin) => As::Admin,
        () => args.others,
    }
}

fn rules(args: &Mosquitto) -> anyhow::Result<(Vec<Item<NewRule>>, Vec<Trouble>)> {
    let Some(path) = &args.acl_file else { return Ok((Vec::new(), Vec::new())) };
    let (lines, troubles) = acl::read(&text(path)?);
    let item = |line: acl::Line| {
        let what = format!("rule {} {} {}", line.rule.subject, line.rule.access, line.rule.filter);
        Item { line: line.line, what, value: line.rule }
    };
    Ok((lines.into_iter().map(item).collect(), troubles))
}

fn text(path: &Path) -> anyhow::Result<String> {
    let name = || path.display().to_string();
    ensure!(fs::metadata(path).with_context(name)?.len() <= LARGEST, "{}: larger than 64 MiB", path.display());
    fs::read_to_string(path).with_context(name)
}

async fn give_users(admin: &dyn Admin, users: &[Item<ImportUser>], dry: bool) -> anyhow::Result<Vec<ImportOutcome>> {
    let mut outcomes = Vec::with_capacity(users.len());
    for chunk in users.chunks(CHUNK) {
        outcomes.extend(admin.import_users(chunk.iter().map(|item| item.value.clone()).collect(), dry).await?);
    }
    Ok(outcomes)
}

async fn give_rules(admin: &dyn Admin, rules: &[Item<NewRule>], dry: bool) -> anyhow::Result<Vec<ImportOutcome>> {
    let mut outcomes = Vec::with_capacity(rules.len());
    for chunk in rules.chunks(CHUNK) {
        outcomes.extend(admin.import_rules(chunk.iter().map(|item| item.value.clone()).collect(), dry).await?);
    }
    Ok(outcomes)
}

fn refused<T>(items: &[Item<T>], outcomes: &[ImportOutcome]) -> Vec<Trouble> {
    let trouble = |(item, outcome): (&Item<T>, &ImportOutcome)| match outcome {
        ImportOutcome::Refused(why) => Some(Trouble { line: item.line, what: item.what.clone(), remedy: why.clone() }),
        ImportOutcome::Added | ImportOutcome::There => None,
    };
    items.iter().zip(outcomes).filter_map(trouble).collect()
}

/// Names every line that is not taken, on standard error; says how many.
fn complain(troubles: &mut [(Option<&Path>, Vec<Trouble>)]) -> usize {
    let mut complaints = 0;
    for (file, troubles) in troubles {
        troubles.sort_by_key(|trouble| trouble.line);
        for Trouble { line, what, remedy } in troubles {
            let file = file.map_or_else(String::new, |file| file.display().to_string());
            eprintln!("{file}:{line}: {what}: {remedy}");
            complaints += 1;
        }
    }
    complaints
}

#[derive(Default)]
struct Told {
    dry: bool,
    added: usize,
    there: usize,
}

impl Told {
    fn list<T>(
        &mut self,
        context: &mut Context<'_>,
        items: &[Item<T>],
        outcomes: &[ImportOutcome],
    ) -> anyhow::Result<()> {
        for (item, outcome) in items.iter().zip(outcomes) {
            let word = match outcome {
                ImportOutcome::Added if self.dry => "would be added",
                ImportOutcome::Added => "added",
                ImportOutcome::There => "is there already",
                ImportOutcome::Refused(_) => continue,
            };
            self.added += usize::from(*outcome == ImportOutcome::Added);
            self.there += usize::from(*outcome == ImportOutcome::There);
            writeln!(context.out, "{}: {word}", item.what)?;
        }
        Ok(())
    }
}
