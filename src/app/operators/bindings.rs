//! The operations that say whose a device is, and the keys that operators sign with.

use super::records::{MOST_DEVICES, Records, credentials_error, store_error};
use crate::admin::{
    AdminError, AdminErrorKind, BindingQuery, BindingRow, BindingStatus, BindingStep, NewBinding, Registered, Secret,
};
use crate::domain::{DeviceId, Wall};
use crate::door::credentials::Step;
use crate::store::records::{self, Status, devices};

/// Most devices that one listing gives unless it is told how many.
const LISTED: usize = 100;

impl Records<'_> {
    pub(super) async fn device_register(&self, new: NewBinding) -> Result<Registered, AdminError> {
        let NewBinding { device, token, force_rotate, metadata } = new;
        let token = token.map(|token| token.0);
        let registered = self.credentials.register(&device, token, force_rotate, metadata).await;
        let (record, secret) = registered.map_err(|e| credentials_error(&e))?;
        let token = secret.map(|secret| Secret(secret.reveal().to_owned()));
        Ok(Registered { device: row(&record), token })
    }

    pub(super) async fn device_step(&self, device: &DeviceId, step: BindingStep) -> Result<BindingRow, AdminError> {
        let step = match step {
            BindingStep::Bind { user, activate } => Step::Bind(user, activate),
            BindingStep::Activate { user } => Step::Activate(user),
            BindingStep::Revoke { reason } => Step::Revoke(reason),
        };
        self.credentials.step(device, step).await.map(|record| row(&record)).map_err(|e| credentials_error(&e))
    }

    pub(super) async fn device_bindings(&self, query: &BindingQuery) -> Result<Vec<BindingRow>, AdminError> {
        if let Some(device) = &query.device {
            let record = devices::get(self.store, device).await.map_err(|e| store_error(&e))?;
            return Ok(record.iter().map(row).collect());
        }
        let all = devices::list(self.store, MOST_DEVICES).await.map_err(|e| store_error(&e))?;
        let wanted = |row: &BindingRow| {
            query.status.is_none_or(|status| row.status == status)
                && query.user.as_ref().is_none_or(|user| row.user_id == *user)
        };
        let limit = if query.limit == 0 { LISTED } else { query.limit };
        Ok(all.iter().map(row).filter(wanted).skip(query.offset).take(limit).collect())
    }

    pub(super) fn operator_signing_key(&self, name: &str) -> Result<Secret, AdminError> {
        let key = self.credentials.signing_key(name).map(|(key, _)| Secret(key.reveal().to_owned()));
        key.ok_or_else(|| {
            let text = format!("there is no operator {name} whose password was made or chosen here");
            AdminError::new(AdminErrorKind::NotFound, text)
        })
    }
}

/// A device as operators see it.
pub(super) fn row(device: &records::Device) -> BindingRow {
    let standing = device.standing();
    let ms = |at: Option<Wall>| at.map_or(0, |at| at.0);
    BindingRow {
        device_id: device.id.to_string(),
        status: match standing.status {
            Status::Registered => BindingStatus::Registered,
            Status::Bound => BindingStatus::Bound,
            Status::Activated => BindingStatus::Activated,
            Status::Revoked => BindingStatus::Revoked,
        },
        user_id: standing.user.unwrap_or_default(),
        created_at_ms: device.created.0,
        updated_at_ms: standing.updated.0,
        activated_at_ms: ms(standing.activated),
        revoked_at_ms: ms(standing.revoked),
        revoke_reason: standing.reason.unwrap_or_default(),
        metadata: standing.metadata,
    }
}
