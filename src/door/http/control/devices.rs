//! Whose devices are: register, bind, activate, revoke, ask.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::endpoint::{Ask, Endpoint, device};
use super::fault::Fault;
use crate::admin::{BindingQuery, BindingRow, BindingStatus, BindingStep, NewBinding, Role, Secret};

/// Most rows of one answer.
const MOST: usize = 1_000;

/// The endpoints.
pub(super) fn table() -> Vec<Endpoint> {
    vec![
        Endpoint::post(
            "/v1/device/register",
            Role::Admin,
            "Registers a device, or with force_rotate gives it another token; the token is told once, here",
            register,
        ),
        Endpoint::post(
            "/v1/device/bind",
            Role::Admin,
            "Says whose a device is, and with status activated lets it in",
            bind,
        ),
        Endpoint::post("/v1/device/activate", Role::Admin, "Lets a device in that is somebody's", activate),
        Endpoint::post("/v1/device/revoke", Role::Admin, "Shuts a device out and ends its connections", revoke),
        Endpoint::get("/v1/device/binding", Role::Viewer, "Whose devices are", bindings),
    ]
}

/// A device to register.
#[derive(Debug, Deserialize, JsonSchema)]
struct Register {
    /// Its id: letters, digits and _ . : -, at most 64.
    #[serde(alias = "deviceId")]
    #[schemars(length(min = 1, max = 64), regex(pattern = r"^[A-Za-z0-9_.:-]+$"))]
    device_id: String,
    /// A token that you chose, of 12 characters at least; none: one is made, and told in the answer.
    #[serde(default, alias = "deviceToken")]
    #[schemars(length(min = 12, max = 1024))]
    device_token: Option<String>,
    /// Gives a device that is registered another token; the one way back of a device that was revoked.
    #[serde(default, alias = "forceRotate")]
    force_rotate: bool,
    /// Noted with it, at most 8 KB; none: as before.
    #[serde(default)]
    metadata: Option<Map<String, Value>>,
}

/// A device, with its token if one was made.
#[derive(Debug, Serialize, JsonSchema)]
struct Registered {
    device: WithToken,
}

#[derive(Debug, Serialize, JsonSchema)]
struct WithToken {
    #[serde(flatten)]
    row: BindingRow,
    /// Told once.
    #[serde(skip_serializing_if = "Option::is_none")]
    device_token: Option<String>,
}

async fn register(ask: Ask<Register>) -> Result<Registered, Fault> {
    let Register { device_id, device_token, force_rotate, metadata } = ask.input;
    let token = device_token.filter(|token| !token.is_empty()).map(Secret);
    let new = NewBinding { device: device(&device_id)?, token, force_rotate, metadata };
    let crate::admin::Registered { device: row, token } = ask.api.admin.device_register(new).await?;
    Ok(Registered { device: WithToken { row, device_token: token.map(|token| token.0) } })
}

/// A device.
#[derive(Debug, Serialize, JsonSchema)]
struct Bound {
    device: BindingRow,
}

/// Whose a device shall be.
#[derive(Debug, Deserialize, JsonSchema)]
struct Bind {
    /// Which.
    #[serde(alias = "deviceId")]
    #[schemars(length(min = 1, max = 64), regex(pattern = r"^[A-Za-z0-9_.:-]+$"))]
    device_id: String,
    /// Whose, 1 to 128 bytes.
    #[serde(alias = "userId")]
    #[schemars(length(min = 1, max = 128))]
    user_id: String,
    /// bound, or activated: it may come in at once.
    #[serde(default)]
    status: BindStatus,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum BindStatus {
    #[default]
    Bound,
    Activated,
}

async fn bind(ask: Ask<Bind>) -> Result<Bound, Fault> {
    let Bind { device_id, user_id, status } = ask.input;
    let step = BindingStep::Bind { user: user_id, activate: status == BindStatus::Activated };
    Ok(Bound { device: ask.api.admin.device_step(device(&device_id)?, step).await? })
}

/// A device to let in.
#[derive(Debug, Deserialize, JsonSchema)]
struct Activate {
    /// Which.
    #[serde(alias = "deviceId")]
    #[schemars(length(min = 1, max = 64), regex(pattern = r"^[A-Za-z0-9_.:-]+$"))]
    device_id: String,
    /// Whose it is, when it is nobody's yet.
    #[serde(default, alias = "userId")]
    user_id: Option<String>,
}

async fn activate(ask: Ask<Activate>) -> Result<Bound, Fault> {
    let step = BindingStep::Activate { user: ask.input.user_id.filter(|user| !user.is_empty()) };
    Ok(Bound { device: ask.api.admin.device_step(device(&ask.input.device_id)?, step).await? })
}

/// A device to shut out.
#[derive(Debug, Deserialize, JsonSchema)]
struct Revoke {
    /// Which.
    #[serde(alias = "deviceId")]
    #[schemars(length(min = 1, max = 64), regex(pattern = r"^[A-Za-z0-9_.:-]+$"))]
    device_id: String,
    /// Why, for the record, at most 128 bytes.
    #[serde(default, alias = "revokeReason")]
    #[schemars(length(max = 128))]
    reason: String,
}

async fn revoke(ask: Ask<Revoke>) -> Result<Bound, Fault> {
    let step = BindingStep::Revoke { reason: ask.input.reason };
    Ok(Bound { device: ask.api.admin.device_step(device(&ask.input.device_id)?, step).await? })
}

/// Which devices.
#[derive(Debug, Deserialize, JsonSchema)]
struct Bindings {
    /// This one; the rest is not looked at then.
    #[serde(default, alias = "deviceId")]
    device_id: Option<String>,
    /// That have come so far.
    #[serde(default)]
    status: Option<BindingStatus>,
    /// Of this user.
    #[serde(default, alias = "userId")]
    user_id: Option<String>,
    /// Hides the middle of what looks like a secret in the metadata; for viewers always.
    #[serde(default, alias = "maskSensitive")]
    mask_sensitive: Option<bool>,
    /// At most so many, 1 to 1000 [default: 100].
    #[serde(default)]
    limit: Option<u32>,
    /// Passes over so many.
    #[serde(default)]
    offset: Option<u32>,
}

/// Devices, by id.
#[derive(Debug, Serialize, JsonSchema)]
struct List {
    /// How many there are in this answer.
    count: usize,
    items: Vec<BindingRow>,
}

async fn bindings(ask: Ask<Bindings>) -> Result<List, Fault> {
    let Bindings { device_id, status, user_id, mask_sensitive, limit, offset } = ask.input;
    let query = BindingQuery {
        device: device_id.filter(|id| !id.is_empty()).map(|id| device(&id)).transpose()?,
        status,
        user: user_id.filter(|user| !user.is_empty()),
        offset: offset.unwrap_or_default() as usize,
        limit: (limit.unwrap_or(100) as usize).clamp(1, MOST),
    };
    let mut items = ask.api.admin.device_bindings(query).await?;
    if mask_sensitive.unwrap_or_default() || ask.caller.role == Role::Viewer {
        for row in &mut items {
            mask(&mut row.metadata);
        }
    }
    Ok(List { count: items.len(), items })
}

/// Hides the middle of every value whose name says that it is a secret.
fn mask(metadata: &mut Map<String, Value>) {
    const SECRET: [&str; 7] =
        ["token", "device_token", "api_key", "authorization", "password", "secret", "access_token"];
    for (name, value) in metadata.iter_mut() {
        match value {
            Value::Object(inner) => mask(inner),
            value if SECRET.contains(&name.to_ascii_lowercase().as_str()) => *value = Value::from(masked(value)),
            _ => {}
        }
    }
}

fn masked(value: &Value) -> String {
    let text: Vec<char> = value.as_str().unwrap_or_default().chars().collect();
    match text.len() {
        0..=7 => "*".repeat(text.len().max(4)),
        length => {
            let stars = "*".repeat(length - 4);
            let (first, last): (String, String) = (text[..2].iter().collect(), text[length - 2..].iter().collect());
            format!("{first}{stars}{last}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_looks_like_a_secret_is_masked_at_any_depth_and_the_rest_is_not() {
        let mut metadata = Map::new();
        metadata.insert("Token".into(), "abcdefghij".into());
        metadata.insert("site".into(), serde_json::json!({"password": "short", "room": "kitchen"}));
        mask(&mut metadata);
        assert_eq!(metadata["Token"], "ab******ij");
        assert_eq!(metadata["site"], serde_json::json!({"password": "*****", "room": "kitchen"}));
    }
}
