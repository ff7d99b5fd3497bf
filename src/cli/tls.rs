//! `voxgate tls`: a CA and certificates to begin with.

use std::path::PathBuf;

use clap::Subcommand;

use super::context::Context;
use crate::app::authority::{Authority, CA};
use crate::domain::DeviceId;

/// Make a local CA, a certificate for the gateway, and others for clients
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    Create(Create),
    Client(Client),
}

/// Make a certificate for the gateway, signed by the folder's CA; a folder without one gets one
///
/// Writes ca.pem (what clients trust), ca.key, server.pem and server.key. Keys can be read by their owner only.
/// A running gateway takes over a new certificate by itself.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  voxgate tls create --name gateway.local --name 192.168.1.20 --out /etc/voxgate/tls
  mosquitto_sub -h gateway.local -p 8883 --cafile ca.pem -u operator -P ... -t 'device/#' -v")]
pub(super) struct Create {
    /// A name or address under which clients reach the gateway; may be given several times
    #[arg(long, value_name = "HOST", required = true)]
    name: Vec<String>,
    /// The folder
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// How long the certificate holds
    #[arg(long, default_value_t = 825)]
    days: u32,
    /// Make it anew where there is one; the CA stays
    #[arg(long)]
    replace: bool,
}

/// Make a certificate for a client: a device or an operator, by name
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  voxgate tls client kitchen --dir /etc/voxgate/tls
  mosquitto_pub -h gateway.local -p 8883 --cafile ca.pem --cert kitchen.pem --key kitchen.key -t device/kitchen/control ...")]
pub(super) struct Client {
    /// The device's id or the operator's name: the certificate's common name
    name: DeviceId,
    /// The folder that `voxgate tls create` has made
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    /// How long the certificate holds
    #[arg(long, default_value_t = 825)]
    days: u32,
    /// Make it anew where there is one
    #[arg(long)]
    replace: bool,
}

/// Asks no gateway.
pub(super) fn run(command: &Command, context: &mut Context<'_>) -> anyhow::Result<()> {
    let now = context.clock.wall();
    match command {
        Command::Create(args) => {
            let (authority, made) = Authority::in_folder(&args.out, now)?;
            let (certificate, key) =
                authority.server(&args.name, args.days)?.write(&args.out, "server", args.replace)?;
            let ca = args.out.join(CA);
            eprintln!("{} {}: give it to the clients", if made { "made" } else { "signed by" }, ca.display());
            let quoted = |path: PathBuf| toml::Value::String(path.display().to_string());
            let (certificate, key) = (quoted(certificate), quoted(key));
            writeln!(context.out, "[mqtt.tls]\nenabled = true\ncertificate = {certificate}\nkey = {key}")?;
        }
        Command::Client(args) => {
            anyhow::ensure!(
                args.dir.join(CA).exists(),
                "{} has no CA: make it with `voxgate tls create --out {}`",
                args.dir.display(),
                args.dir.display()
            );
            anyhow::ensure!(!["ca", "server"].contains(&args.name.as_str()), "this name would replace another file");
            let (authority, _) = Authority::in_folder(&args.dir, now)?;
            let pair = authority.client(args.name.as_str(), args.days)?;
            let (certificate, key) = pair.write(&args.dir, args.name.as_str(), args.replace)?;
            writeln!(context.out, "{}\n{}", certificate.display(), key.display())?;
        }
    }
    Ok(())
}
