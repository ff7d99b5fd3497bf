//! `[sos]`: what a device says when somebody called for help, and who is told.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::domain::{Problem, Span};

/// Calls for help.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// What is said at once when a device sends `sos`: made ahead, so that no provider is asked; until it is made, the
    /// default in English. It should promise nothing that is not sure. Default "Your call for help has been received.".
    pub spoken: String,
    /// Where calls for help are told, as an HTTP POST of a JSON object: an `http://` or `https://` address. Default none:
    /// nobody outside of the gateway is told.
    pub url: Option<String>,
    /// A file with a token that is shown there (`Authorization: Bearer`). Default none.
    pub token_file: Option<PathBuf>,
    /// The service has so long to answer. Default "10s".
    pub timeout: Span,
    /// A call that could not be told is tried again after this time, then after twice as long, and so on. Default "1s".
    pub retry_first: Span,
    /// The longest time between two tries. They end a day after the call. Default "2m".
    pub retry_most: Span,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            spoken: "Your call for help has been received.".into(),
            url: None,
            token_file: None,
            timeout: Span::secs(10),
            retry_first: Span::secs(1),
            retry_most: Span::secs(120),
        }
    }
}

impl Settings {
    /// What is wrong with these settings.
    pub fn check(&self, path: &str) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut add = |key: &str, what: String, remedy: &str| {
            problems.push(Problem::new(format!("{path}.{key}"), what, remedy));
        };
        if self.spoken.trim().is_empty() {
            add("spoken", "is empty: nobody would know that the call was heard".into(), "write one short sentence");
        }
        let web = |url: &String| url.starts_with("http://") || url.starts_with("https://");
        if self.url.as_ref().is_some_and(|url| !web(url)) {
            // the address may hold a key
            add("url", "is no http or https address".into(), "write it as in \"https://alarm.example/sos\"");
        }
        if let Some(file) = self.token_file.as_ref().filter(|file| !file.is_file()) {
            add("token_file", format!("there is no file {}", file.display()), "name a file with the token");
        }
        for (key, span) in [("timeout", self.timeout), ("retry_first", self.retry_first)] {
            if span.0.is_zero() || span > Span::secs(600) {
                add(key, format!("{span} is out of range"), "use \"1ms\" to \"10m\"");
            }
        }
        if self.retry_most < self.retry_first {
            add("retry_most", format!("{} is less than retry_first", self.retry_most), "use \"2m\"");
        }
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_leave_a_call_unheard_is_told() {
        let settings = Settings {
            spoken: " ".into(),
            url: Some("alarm.example".into()),
            token_file: Some("/nowhere/token".into()),
            timeout: Span::ms(0),
            retry_most: Span::ms(1),
            ..Settings::default()
        };
        let keys: Vec<String> = settings.check("sos").into_iter().map(|problem| problem.key).collect();
        assert_eq!(keys, ["spoken", "url", "token_file", "timeout", "retry_most"].map(|key| format!("sos.{key}")));
        assert_eq!(Settings::default().check("sos"), []);
    }
}
