//! `voxgate operator`: who may watch and command.

use std::path::PathBuf;

use clap::{Subcommand, ValueEnum};

use crate::admin::{NewOperator, OperatorRow, Role};
use crate::domain::DeviceId;

use super::context::{Context, block_on};
use super::{password, table};

/// Add, list and remove operators, change their passwords: MQTT clients that may watch and command devices
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    Add(Add),
    List(List),
    Remove(Remove),
    Password(Password),
    ResetKey(ResetKey),
    SigningKey(SigningKey),
}

/// Make an operator and a password
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  PASSWORD=$(voxgate operator add anna --role viewer)
  mosquitto_sub -u anna -P \"$PASSWORD\" -t 'device/#' -t 'gateway/#' -v")]
pub(super) struct Add {
    /// The name: letters, digits and _ . : -, at most 64
    // the same alphabet as a device id, because both are CONNECT user names
    name: DeviceId,
    /// What the operator may do
    #[arg(long, value_enum, default_value_t = RoleArg::Operator)]
    role: RoleArg,
    /// Take the password from the first line of this file; - is standard input. At least 12 characters
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// Print one JSON object: {user, secret}
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum RoleArg {
    /// Watch
    Viewer,
    /// Watch and command devices
    Operator,
    /// Everything
    Admin,
}

/// Show all operators
#[derive(Debug, clap::Args)]
pub(super) struct List {
    /// Print one JSON array of {name, role, created}
    #[arg(long)]
    json: bool,
}

/// Remove an operator
#[derive(Debug, clap::Args)]
pub(super) struct Remove {
    /// The name
    name: DeviceId,
}

/// Give an operator another password and end the operator's connections
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  voxgate operator password anna --rotate             prints the new password
  voxgate operator password anna --password-file -    takes one that a person chose, from standard input")]
pub(super) struct Password {
    #[command(flatten)]
    change: password::Change,
}

/// Make a new credentials.key in the place of one that is lost
///
/// Passwords that the gateway made were made with the old key: they are lost, of devices and operators, and each
/// needs a new one. Passwords that people chose stay. Only while no gateway runs.
#[derive(Debug, clap::Args)]
pub(super) struct ResetKey {
    /// Do it also when the key works: every password that the gateway made is lost
    #[arg(long)]
    force: bool,
}

/// Print the key that an operator signs requests to the control API with
///
/// For http.api.signature = "required". It is another one when the operator's password is changed.
#[derive(Debug, clap::Args)]
pub(super) struct SigningKey {
    /// The name
    name: DeviceId,
}

/// Works on the gateway that runs, else on the store.
pub(super) fn run(command: Command, context: &mut Context<'_>) -> anyhow::Result<()> {
    block_on(async {
        match command {
            Command::Add(args) => Box::pin(add(args, context)).await,
            Command::List(args) => {
                let operators = context.gateway_or_store().await?.operator_list().await?;
                list(&args, &operators, context)
            }
            Command::Remove(args) => {
                context.gateway_or_store().await?.operator_remove(args.name.to_string()).await?;
                eprintln!("operator {} removed", args.name);
                Ok(())
            }
            Command::Password(args) => {
                let (new, json) = args.change.read()?;
                let credential = context.gateway_or_store().await?.operator_password(new).await?;
                password::tell(("operator", "has another password"), &credential, json, context)
            }
            Command::SigningKey(args) => {
                let admin = context.gateway_or_store().await?;
                let key = admin.operator_signing_key(args.name.to_string()).await?;
                Ok(writeln!(context.out, "{}", key.0)?)
            }
            Command::ResetKey(args) => Box::pin(reset_key(&args, context)).await,
        }
    })
}

async fn add(args: Add, context: &mut Context<'_>) -> anyhow::Result<()> {
    let role = match args.role {
        RoleArg::Viewer => Role::Viewer,
        RoleArg::Operator => Role::Operator,
        RoleArg::Admin => Role::Admin,
    };
    let password = args.password_file.as_deref().map(password::read).transpose()?;
    let new = NewOperator { name: args.name.to_string(), role, password };
    let credential = context.gateway_or_store().await?.operator_add(new).await?;
    password::tell(("operator", "added"), &credential, args.json, context)
}

/// Says whose passwords are lost, and the commands that give new ones.
async fn reset_key(args: &ResetKey, context: &mut Context<'_>) -> anyhow::Result<()> {
    let store = context.store().await?;
    let dropped = store.reset_key(args.force).await?;
    store.close().await;
    let lost = dropped.devices.len() + dropped.operators.len();
    eprintln!("there is a new key; {lost} passwords are lost, {} that people chose stay", dropped.kept.len());
    if lost > 0 {
        eprintln!("give new ones with:");
    }
    for (what, names) in [("operator", &dropped.operators), ("device", &dropped.devices)] {
        for name in names {
            writeln!(context.out, "voxgate {what} password {name} --rotate")?;
        }
    }
    Ok(())
}

fn list(args: &List, operators: &[OperatorRow], context: &mut Context<'_>) -> anyhow::Result<()> {
    if args.json {
        return context.json(&operators);
    }
    let row = |o: &OperatorRow| vec![o.name.clone(), o.role.name().to_owned(), table::time(o.created, &context.zone)];
    let rows: Vec<Vec<String>> = operators.iter().map(row).collect();
    let empty = "no operators; make one with `voxgate operator add NAME`";
    Ok(table::write(context.out, &["name", "role", "created"], &rows, empty)?)
}
