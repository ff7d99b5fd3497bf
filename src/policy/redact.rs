//! Secrets by the names of their keys, taken out of what is shown.
//!
//! Devices and tools put what they like into their messages; what is logged of them or shown to operators goes through
//! here first. It goes by names alone: a secret in a text that is said is not found.

use serde_json::Value;

/// What stands in the place of a secret.
pub const REDACTED: &str = "[redacted]";

/// Names that are secrets, without marks and in small letters.
const SECRET: [&str; 23] = [
    "token",
    "devicetoken",
    "authtoken",
    "accesstoken",
    "refreshtoken",
    "apitoken",
    "bearertoken",
    "idtoken",
    "sessiontoken",
    "xauthtoken",
    "apikey",
    "privatekey",
    "secretkey",
    "authorization",
    "password",
    "passwd",
    "passphrase",
    "wifipassword",
    "psk",
    "secret",
    "clientsecret",
    "cookie",
    "setcookie",
];
/// Names that end so are secrets too.
const ENDINGS: [&str; 4] = ["password", "secret", "apikey", "authtoken"];
/// Deeper than this nothing is shown.
const DEEPEST: usize = 32;

/// Takes out the values of keys that name secrets, however deep. Numbers and switches stay: `max_tokens`, `has_password`.
pub fn redact(value: &mut Value) {
    redact_to(value, DEEPEST);
}

fn redact_to(value: &mut Value, deeper: usize) {
    match value {
        Value::Object(_) | Value::Array(_) if deeper == 0 => *value = REDACTED.into(),
        Value::Object(entries) => {
            for (key, value) in entries.iter_mut() {
                match value {
                    Value::String(text) if !text.is_empty() && is_secret(key) => *value = REDACTED.into(),
                    Value::Object(_) | Value::Array(_) => redact_to(value, deeper - 1),
                    _ => {}
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| redact_to(item, deeper - 1)),
        _ => {}
    }
}

fn is_secret(key: &str) -> bool {
    let bare: String = key.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect();
    SECRET.contains(&bare.as_str()) || ENDINGS.iter().any(|ending| bare.ends_with(ending))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn secrets_are_taken_out_however_their_keys_are_written_and_however_deep() {
        let mut value = json!({
            "deviceToken": "abc", "X-Auth-Token": "abc", "api_key": "abc", "Wifi Password": "abc", "text": "token",
            "list": [{"mqtt": {"PASSWORD": "abc", "user": "me"}}],
        });
        redact(&mut value);
        assert!(!value.to_string().contains("abc"), "{value}");
        assert_eq!((&value["text"], &value["list"][0]["mqtt"]["user"]), (&json!("token"), &json!("me")));
    }

    #[test]
    fn what_only_sounds_like_a_secret_stays() {
        let before =
            json!({"max_tokens": 64, "first_token": 12.5, "tokens": "three", "has_password": true, "secret": ""});
        let mut value = before.clone();
        redact(&mut value);
        assert_eq!(value, before);
    }

    #[test]
    fn a_bottomless_value_ends() {
        let mut value = json!({"token": "abc"});
        for _ in 0..100 {
            value = json!([value]);
        }
        redact(&mut value);
        assert!(!value.to_string().contains("abc"));
    }
}
