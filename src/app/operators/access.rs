//! The operations on passwords and rules: changed one by one, or taken over from another broker.

use std::collections::HashSet;

use super::credential;
use super::records::{Records, credentials_error, store_error, topics_role};
use crate::admin::{
    AdminError, AdminErrorKind, Credential, ImportOutcome, ImportUser, NewPassword, NewRule, RuleRow, Secret,
};
use crate::domain::DeviceId;
use crate::door::credentials::Password;
use crate::door::rights::RuleId;
use crate::topics::{Access, Rule, Subject, Who};

/// A password as the credentials take it.
pub(super) fn password(chosen: Option<Secret>) -> Password {
    chosen.map_or(Password::Made, |chosen| Password::Chosen(chosen.0))
}

impl Records<'_> {
    pub(super) async fn device_password(&self, new: NewPassword) -> Result<Credential, AdminError> {
        let id = DeviceId::parse(&new.name).map_err(|e| invalid(e.to_string()))?;
        let changed = self.credentials.change_device(&id, password(new.password)).await;
        let secret = changed.map_err(|e| credentials_error(&e))?;
        Ok(credential(id.as_str(), secret.as_ref()))
    }

    pub(super) async fn operator_password(&self, new: NewPassword) -> Result<Credential, AdminError> {
        let changed = self.credentials.change_operator(&new.name, password(new.password)).await;
        let secret = changed.map_err(|e| credentials_error(&e))?;
        Ok(credential(&new.name, secret.as_ref()))
    }

    pub(super) async fn rule_add(&self, new: &NewRule) -> Result<RuleRow, AdminError> {
        let rule = rule(new).map_err(invalid)?;
        let added = self.rights.add_rules(std::slice::from_ref(&rule)).await.map_err(|e| store_error(&e))?;
        match added {
            0 => Err(AdminError::new(AdminErrorKind::Exists, format!("the rule {rule} exists already"))),
            _ => Ok(row(Some(&RuleId::of(&rule)), &rule)),
        }
    }

    pub(super) async fn rule_list(&self) -> Result<Vec<RuleRow>, AdminError> {
        let rules = self.rights.list_rules().await.map_err(|e| store_error(&e))?;
        Ok(rules.iter().map(|listed| row(listed.id.as_ref(), &listed.rule)).collect())
    }

    pub(super) async fn rule_remove(&self, id: &str) -> Result<(), AdminError> {
        let unknown = || {
            let text = format!("there is no rule {id} in the store; `voxgate rule list` shows them all");
            AdminError::new(AdminErrorKind::NotFound, text)
        };
        let id = RuleId::parse(id).ok_or_else(unknown)?;
        let removed = self.rights.remove_rule(&id).await.map_err(|e| store_error(&e))?;
        if removed { Ok(()) } else { Err(unknown()) }
    }

    pub(super) async fn import_users(
        &self,
        users: Vec<ImportUser>,
        dry: bool,
    ) -> Result<Vec<ImportOutcome>, AdminError> {
        let mut outcomes = Vec::with_capacity(users.len());
        for user in users {
            outcomes.push(match self.import_user(user, dry).await {
                Ok(outcome) => outcome,
                // what concerns one user only; the rest go on
                Err(error) if error.kind == AdminErrorKind::Invalid => ImportOutcome::Refused(error.message),
                Err(error) => return Err(error),
            });
        }
        Ok(outcomes)
    }

    async fn import_user(&self, user: ImportUser, dry: bool) -> Result<ImportOutcome, AdminError> {
        let id = DeviceId::parse(&user.name).map_err(|e| {
            invalid(format!("{e}; give it another name in the file (letters, digits and _ . : -, at most 64)"))
        })?;
        let hash = Password::Hashed(user.hash.0);
        hash.check().map_err(|e| credentials_error(&e))?;
        match (self.credentials.who(id.as_str()), user.role) {
            (Some(Who::Device(_)), None) | (Some(Who::Operator(_)), Some(_)) => return Ok(ImportOutcome::There),
            (Some(_), None) => {
                return Err(invalid(format!("{id} is an operator here; import it with --operator {id}")));
            }
            (Some(_), Some(_)) => return Err(invalid(format!("{id} is a device here; import it as one"))),
            (None, _) if self.credentials.knows(id.as_str()) => {
                return Err(invalid(format!("device {id} is revoked here; remove it first")));
            }
            (None, _) if dry => return Ok(ImportOutcome::Added),
            (None, None) => self.credentials.put_device(&id, hash, false).await,
            (None, Some(role)) => self.credentials.put_operator(id.as_str(), topics_role(role), hash).await,
        }
        .map_err(|e| credentials_error(&e))?;
        Ok(ImportOutcome::Added)
    }

    pub(super) async fn import_rules(&self, new: &[NewRule], dry: bool) -> Result<Vec<ImportOutcome>, AdminError> {
        let known = self.rights.list_rules().await.map_err(|e| store_error(&e))?;
        let mut known: HashSet<Rule> = known.into_iter().map(|listed| listed.rule).collect();
        let (mut outcomes, mut add) = (Vec::with_capacity(new.len()), Vec::new());
        for new in new {
            outcomes.push(match rule(new) {
                Err(why) => ImportOutcome::Refused(why),
                Ok(rule) if !known.insert(rule.clone()) => ImportOutcome::There,
                Ok(rule) => {
                    add.push(rule);
                    ImportOutcome::Added
                }
            });
        }
        if !dry {
            self.rights.add_rules(&add).await.map_err(|e| store_error(&e))?;
        }
        Ok(outcomes)
    }
}

fn rule(new: &NewRule) -> Result<Rule, String> {
    let subject = Subject::parse(&new.subject).map_err(|e| e.to_string())?;
    let access = match new.access.as_str() {
        "read" => Access::Read,
        "write" => Access::Write,
        "readwrite" => Access::Readwrite,
        "deny" => Access::Deny,
        other => return Err(format!("{other:?} is no access: write read, write, readwrite or deny")),
    };
    let rule = Rule { subject, access, filter: new.filter.clone() };
    rule.check().map_err(|e| format!("the filter {:?} {e}", new.filter))?;
    Ok(rule)
}

fn row(id: Option<&RuleId>, rule: &Rule) -> RuleRow {
    let (subject, access, filter) = (rule.subject.to_string(), rule.access.name().to_owned(), rule.filter.clone());
    RuleRow { id: id.map(ToString::to_string), rule: NewRule { subject, access, filter } }
}

fn invalid(message: impl Into<String>) -> AdminError {
    AdminError::new(AdminErrorKind::Invalid, message)
}
