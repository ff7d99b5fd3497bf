//! `voxgate operator`: who may watch and command.

use std::path::PathBuf;

use clap::{Subcommand, ValueEnum};

use crate::admin::{NewOperator, OperatorRow, Role};
use crate::domain::DeviceId;

use super::context::{Context, block_on};
use super::{password, table};

/// Add, list and remove operators: MQTT clients that may watch and command devices
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    Add(Add),
    List(List),
    Remove(Remove),
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
    /// Take the password from the first line of this file; - is standard input
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

/// Works on the gateway that runs, else on the store.
pub(super) fn run(command: Command, context: &mut Context<'_>) -> anyhow::Result<()> {
    block_on(async {
        let admin = context.gateway_or_store().await?;
        match command {
            Command::Add(args) => {
                let role = match args.role {
                    RoleArg::Viewer => Role::Viewer,
                    RoleArg::Operator => Role::Operator,
                    RoleArg::Admin => Role::Admin,
                };
                let password = args.password_file.as_deref().map(password::read).transpose()?;
                let new = NewOperator { name: args.name.to_string(), role, password };
                password::tell("operator", &admin.operator_add(new).await?, args.json, context)
            }
            Command::List(args) => list(&args, &admin.operator_list().await?, context),
            Command::Remove(args) => {
                admin.operator_remove(args.name.to_string()).await?;
                eprintln!("operator {} removed", args.name);
                Ok(())
            }
        }
    })
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
