//! The settings of the control socket.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::domain::Problem;

/// The local socket over which `voxgate status`, `device`, `session`, `lifelog` and `say` speak to the gateway.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Where the Unix socket is. Who may open it may do everything: keep it in a directory of the gateway's own.
    /// Default: `/run/voxgate/control.sock`.
    pub socket: PathBuf,
    /// The socket's file mode, octal. `0660` lets the gateway's group in. Default: `0660`.
    #[schemars(regex(pattern = r"^0[0-7]{3}$"))]
    pub mode: String,
}

impl Default for Settings {
    fn default() -> Self {
        Self { socket: PathBuf::from("/run/voxgate/control.sock"), mode: "0660".to_owned() }
    }
}

/// Longest path that fits `sockaddr_un`, its NUL left out.
const MAX_PATH: usize = 107;

impl Settings {
    /// What is wrong with them.
    pub fn check(&self, path: &str) -> Vec<Problem> {
        let mut problems = Vec::new();
        let length = self.socket.as_os_str().len();
        if length == 0 || length > MAX_PATH {
            problems.push(Problem::new(
                format!("{path}.socket"),
                format!("a socket's path has 1 to {MAX_PATH} bytes, this one has {length}"),
                "name a file in a short directory, as in \"/run/voxgate/control.sock\"",
            ));
        }
        if self.permissions().is_none_or(|mode| mode & 0o600 != 0o600) {
            problems.push(Problem::new(
                format!("{path}.mode"),
                format!("{:?} is no file mode that lets the gateway itself in", self.mode),
                "write four octal digits, as in \"0660\"",
            ));
        }
        problems
    }

    /// The mode as a number.
    pub(super) fn permissions(&self) -> Option<u32> {
        let octal = self.mode.strip_prefix('0').filter(|digits| digits.len() == 3)?;
        u32::from_str_radix(octal, 8).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mode_that_shuts_the_gateway_out_and_a_path_that_fits_no_socket_are_both_told() {
        let settings = Settings { socket: PathBuf::from("x".repeat(108)), mode: "0066".to_owned() };
        let keys: Vec<String> = settings.check("control").into_iter().map(|p| p.key).collect();
        assert_eq!(keys, ["control.socket", "control.mode"]);
        assert_eq!(Settings::default().check("control"), []);
    }
}
