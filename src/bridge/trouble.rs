//! Why a bridge is not connected, in words for an operator.

/// See the module.
#[derive(Debug, thiserror::Error)]
pub(super) enum Trouble {
    /// Its name has no address, nobody listens there, or nothing answered in time.
    #[error("cannot be reached: {0}")]
    Unreachable(String),
    /// TLS does not come about.
    #[error("tls: {0}")]
    Tls(String),
    /// The other broker does not speak this version of MQTT.
    #[error("refuses mqtt 3.1.1")]
    Version,
    /// The other broker does not let us in.
    #[error("refuses: {0}")]
    Refused(&'static str),
    /// The connection ended.
    #[error("closed the connection{0}")]
    Closed(&'static str),
    /// What came is no MQTT, or breaks its rules.
    #[error("breaks the protocol: {0}")]
    Protocol(String),
    /// Nothing came for too long.
    #[error("says nothing any more")]
    Silent,
    /// Our own store could not take what came: it is not acknowledged, and comes again.
    #[error("sent what could not be stored here")]
    NotStored,
    /// A fault of ours.
    #[error("met a fault of this gateway's")]
    Fault,
}

impl Trouble {
    /// One of the metrics' results.
    pub fn result(&self) -> &'static str {
        match self {
            Trouble::Unreachable(_) => "unreachable",
            Trouble::Tls(_) => "tls",
            Trouble::Version => "version",
            Trouble::Refused(_) => "refused",
            Trouble::Closed(_) => "closed",
            Trouble::Silent => "silent",
            Trouble::Protocol(_) | Trouble::NotStored | Trouble::Fault => "protocol",
        }
    }

    /// What mends it.
    pub fn remedy(&self) -> &'static str {
        match self {
            Trouble::Unreachable(_) => "look at the other broker, its host, port and the network between",
            Trouble::Tls(_) => "look at the bridge's tls table and the other broker's certificate",
            Trouble::Version => "use a broker that speaks mqtt 3.1.1",
            Trouble::Refused(_) => "look at the bridge's username, password and client_id, and the other broker's log",
            Trouble::NotStored => "look at the gateway's disk",
            Trouble::Closed(_) | Trouble::Protocol(_) | Trouble::Silent | Trouble::Fault => {
                "look at the other broker's log"
            }
        }
    }
}

impl From<std::io::Error> for Trouble {
    fn from(error: std::io::Error) -> Self {
        match error.kind() {
            std::io::ErrorKind::InvalidData => Trouble::Tls(error.to_string()),
            _ => Trouble::Closed(""),
        }
    }
}
